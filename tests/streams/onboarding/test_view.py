"""Isolation: what an institution sees of a decision, and that no rival reaches its verdicts."""

import re
import shutil
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from streams.cli import app
from streams.config import load_deployment
from streams.errors import DipperError
from streams.onboarding.view import read_decisions, view
from streams.replay import ReplayResult, replay
from streams.topology import OUT_DECISION
from tests.deployment import make_deployment
from tests.streams.lives import LIMITS, write_lives

RIVALS = ("forge", "harbor", "meadow", "north")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's five institutions."""
    return make_deployment(tmp_path_factory.mktemp("view") / "config", LIMITS)


@pytest.fixture(scope="module")
def events(config: Path) -> Path:
    """A day of requests and what becomes of them."""
    path = config.parent / "events.jsonl"
    write_lives(path, load_deployment(config))
    return path


@pytest.fixture(scope="module")
def result(config: Path, events: Path) -> ReplayResult:
    """The same, decided."""
    return replay(events, config)


def _decisions(result: ReplayResult) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in result.read(OUT_DECISION).splitlines()]


def test_it_sees_its_own_and_no_name_of_a_rival(result: ReplayResult) -> None:
    """Of each decision in which it was asked it sees its own verdict, and its terms alone."""
    decisions = _decisions(result)
    seen = [(one, view(one, "dawn")) for one in decisions]
    asked = [(one, own) for one, own in seen if own is not None]
    assert 0 < len(asked) < len(decisions)
    for one, own in asked:
        (verdict,) = [each for each in one["candidates"] if each["institution"] == "dawn"]
        assert own["policy"] == verdict["policy"]
        assert own["funded"] == (one.get("institution") == "dawn")
        assert ("amount_cents" in own) == own["funded"]
        said = orjson.dumps({k: v for k, v in own.items() if k not in {"applicant", "request"}})
        for rival in RIVALS:
            assert f'"{rival}"'.encode() not in said
        assert not {"candidates", "manifest", "offset", "partition"} & own.keys()
    assert {own["funded"] for _, own in asked} == {True, False}


@given(data=st.data())
def test_rivals_change_nothing_that_it_sees(result: ReplayResult, data: st.DataObject) -> None:
    """Whatever rivals answered, whoever of them was chosen, and at what price: the view is the
    same.
    """
    decisions = [one for one in _decisions(result) if view(one, "dawn") is not None]
    one = data.draw(st.sampled_from(decisions))
    own = [each for each in one["candidates"] if each["institution"] == "dawn"]
    rival = st.fixed_dictionaries(
        {
            "institution": st.sampled_from(RIVALS),
            "policy": st.text("0123456789abcdef", min_size=16, max_size=16),
            "outcome": st.sampled_from(["approved", "credit", "fraud", "capacity"]),
            "reasons": st.lists(st.sampled_from(["velocity", "over_indebted"]), max_size=2),
            "pd_ppm": st.integers(0, 10**6),
            "apr_bps": st.integers(0, 9_999),
        }
    )
    candidates = data.draw(st.permutations([*own, *data.draw(st.lists(rival, max_size=4))]))
    other = {**one, "candidates": candidates, "manifest": "0" * 64, "offset": 1, "reasons": []}
    if one.get("institution") != "dawn":
        chosen = data.draw(st.sampled_from([None, *RIVALS]))
        for name in ("institution", "amount_cents", "rate_bps", "fee_cents", "apr_bps"):
            other.pop(name, None)
        other["outcome"] = "credit"
        if chosen is not None:
            other |= {"institution": chosen, "amount_cents": 7, "outcome": "approved"}
    assert view(other, "dawn") == view(one, "dawn")


def test_fraud_is_told_to_no_institution() -> None:
    """A verdict of fraud, and a code of fraud beside others, are `not_verified`."""
    candidate = {
        "institution": "dawn", "policy": "p", "outcome": "fraud", "pd_ppm": 1, "apr_bps": 0,
        "reasons": ["device_risk", "velocity", "over_indebted"],
    }  # fmt: skip
    seen = view({"id": "d", "outcome": "fraud", "candidates": [candidate]}, "dawn")
    assert seen is not None
    assert seen["outcome"] == "not_verified"
    assert seen["reasons"] == ["not_verified", "over_indebted"]


@pytest.mark.parametrize("change", ["stricter", "dearer", "gone", "poor"])
def test_no_rival_reaches_its_verdicts(
    config: Path, events: Path, result: ReplayResult, tmp_path: Path, change: str
) -> None:
    """Rivals that refuse all, ask other prices, are not there or have no money: on each applicant's
    first request, before any offer stands, the institution's own verdicts are the same to the bit.
    """
    other = tmp_path / "config"
    shutil.copytree(config, other)
    for rival in RIVALS:
        folder = other / "institutions" / rival
        if change == "gone" and rival != "north":  # a channel is bound to it
            shutil.rmtree(folder)
        elif change == "poor":
            path = folder / "institution.toml"
            path.write_text(re.sub(r"_cents = [\d_]+", "_cents = 0", path.read_text()))
        else:
            _alter(folder, change)
    own = [_first_verdicts(each) for each in (result, replay(events, other))]
    assert own[0].height > 20
    assert own[0].equals(own[1])


def _alter(folder: Path, change: str) -> None:
    for path in folder.glob("*.toml"):
        if path.name not in {"institution.toml", "fees.toml"}:
            text = path.read_text().partition("[[cases]]")[0]
            if change == "stricter":
                text = re.sub(r"cut_off_pd_ppm = [\d_]+", "cut_off_pd_ppm = 1", text)
            path.write_text(text)
    for path in folder.glob("*.csv") if change == "dearer" else ():
        head, *rows = path.read_text().splitlines()
        place = head.split(",").index("rate_bps")
        cells = [row.split(",") for row in rows]
        for row in cells:
            row[place] = str(int(row[place]) + 100)
        path.write_text("\n".join([head, *(",".join(row) for row in cells)]) + "\n")


def _first_verdicts(result: ReplayResult) -> pl.DataFrame:
    """Return dawn's candidates on each applicant's first request, whatever ids they are behind."""
    first = result.decisions.group_by("applicant", maintain_order=True).first()
    rows = result.candidates.filter(pl.col("institution") == "dawn").drop("rank")
    return (
        first.select("applicant", "request", decision="id")
        .join(rows, on="decision", how="inner", maintain_order="left")
        .sort("applicant", "policy")
    )


def test_a_bound_channel_routes_to_its_institution_alone(result: ReplayResult) -> None:
    """On the card channel of one bank nobody else is asked, and nobody else lends."""
    bound = [one for one in _decisions(result) if one.get("channel") == "north_card"]
    assert bound
    for one in bound:
        assert {each["institution"] for each in one["candidates"]} <= {"north"}
        assert one.get("institution") in {None, "north"}


def test_the_command_prints_its_views(result: ReplayResult, tmp_path: Path) -> None:
    """From a file of decisions come the institution's views, a line each; junk is one sentence."""
    path = tmp_path / "decisions.jsonl"
    path.write_bytes(result.read(OUT_DECISION))
    done = CliRunner().invoke(app, ["institution", "view", "north", "--decisions", str(path)])
    assert done.exit_code == 0, done.output
    told = [orjson.loads(line) for line in done.stdout.splitlines()]
    expected = [view(one, "north") for one in _decisions(result)]
    assert told == [each for each in expected if each is not None]
    path.write_bytes(b"{}\njunk\n")
    with pytest.raises(DipperError, match=r"decisions\.jsonl:2 is no decision"):
        list(read_decisions(str(path)))
