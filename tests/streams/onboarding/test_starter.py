"""A new institution's folder: written, checked, tested, decided with."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from streams.cli import app
from streams.config import load_deployment
from streams.errors import DipperError
from streams.onboarding.look import look
from streams.onboarding.starter import init_institution
from streams.replay import replay

REQUEST = (
    b'{"type":"tick","at":1800000000000}\n'
    b'{"type":"application","id":"r1","applicant":"p1","at":1800000000000,"product":"cash_line",'
    b'"channel":"dawn_card","amount_cents":300000,"tenor_days":30,"age_years":35,'
    b'"income_cents":900000}\n'
)


def test_what_init_writes_passes_its_own_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`institution init`, `check` and `test` succeed one after the other in an empty folder."""
    monkeypatch.chdir(tmp_path)
    said = ""
    for command in ("init", "check", "test"):
        result = CliRunner().invoke(app, ["institution", command, "dawn"])
        assert result.exit_code == 0, result.output
        said = result.output
    assert "2 policies, 10 cases, 0 failed" in said


def test_the_starter_decides(tmp_path: Path) -> None:
    """A first request on the institution's own channel is approved by the institution."""
    folder = tmp_path / "dawn"
    init_institution("dawn", folder)
    events = tmp_path / "events.jsonl"
    events.write_bytes(REQUEST)
    decisions = replay(events, folder).decisions.to_dicts()
    assert [(each["outcome"], each["institution"]) for each in decisions] == [("approved", "dawn")]


def test_a_simulated_log_fits_a_fresh_institution(tmp_path: Path) -> None:
    """`simulate --config` asks only for products and on channels that there are: of a fresh folder
    no record is refused, its own channel is asked, and some are approved.
    """
    folder, events = tmp_path / "dawn", tmp_path / "events.jsonl"
    init_institution("dawn", folder)
    args = ["simulate", "--config", str(folder), "--out", str(events), "--applicants", "200"]
    result = CliRunner().invoke(app, [*args, "--days", "3", "--request-share", "0.2"])
    assert result.exit_code == 0, result.output
    assert b'"dawn_card"' in events.read_bytes()
    found = replay(events, folder)
    assert not found.refused
    assert "approved" in found.decisions["outcome"].to_list()


def test_two_institutions_have_two_keys(tmp_path: Path) -> None:
    """Ids of decisions are keyed by deployment: the same request has another id in each."""
    keys = set()
    for name in ("dawn", "dusk"):
        init_institution(name, tmp_path / name)
        keys.add(load_deployment(tmp_path / name).platform.decision_key)
    assert len(keys) == 2


@pytest.mark.parametrize("name", ["Dawn", "1st", "a b", "", "../dawn"])
def test_a_name_that_is_no_id_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A name that could not be an id is refused with a sentence, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DipperError, match="no name for an institution"):
        init_institution(name, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_what_stands_is_not_overwritten(tmp_path: Path) -> None:
    """A folder that stands is refused and left as it is."""
    (tmp_path / "dawn").mkdir()
    with pytest.raises(DipperError, match="stands already"):
        init_institution("dawn", tmp_path / "dawn")
    assert not list((tmp_path / "dawn").iterdir())


def test_a_look_names_file_line_and_remedy(tmp_path: Path) -> None:
    """A gap between two bands is refused with the line of the table where it opens."""
    folder = tmp_path / "dawn"
    init_institution("dawn", folder)
    table = folder / "institutions" / "dawn" / "cash_line.csv"
    table.write_text(table.read_text().replace("30001,", "40000,"))
    with pytest.raises(DipperError, match=r"cash_line\.csv:3.*30001"):
        list(look(folder))
