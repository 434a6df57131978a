"""A cell of a what-if grid decides as a replay of the policy that it stands for."""

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import orjson
import polars as pl
import pytest
from typer.testing import CliRunner

from streams.cli import app
from streams.errors import DipperError
from streams.replay import replay
from streams.study.compare import Comparison, compare
from streams.study.grid import Cell, Ground, Tried, parse_cells, try_cell, what_if
from streams.study.money import Economics
from tests.streams.study.conftest import POLICIES


@pytest.fixture(scope="module")
def own(log: tuple[Path, Path]) -> Comparison:
    """Set the example beside itself."""
    return compare(log[0], POLICIES, POLICIES)


def _edited(folder: Path, name: str, edit: Callable[[str], str], base: Path = POLICIES) -> Path:
    """Copy a deployment and edit those of its institutions' files; at least one differs. Their
    cases, which tell what the policies were, go.
    """
    shutil.copytree(base, folder)
    changed = 0
    for path in sorted((folder / "institutions").rglob(name)):
        text = path.read_text()
        path.write_text(edit(text))
        changed += path.read_text() != text
    assert changed
    for path in (folder / "institutions").rglob("*.toml"):
        path.write_text(path.read_text().partition("[[cases]]")[0])
    return folder


def _dearer(text: str, bps: int) -> str:
    """Add basis points to the yearly rate of every band of a table."""
    rows = list(csv.DictReader(text.splitlines()))
    if not rows or "rate_bps" not in rows[0]:
        return text
    lines = [",".join(rows[0])]
    for row in rows:
        row["rate_bps"] = str(max(0, int(row["rate_bps"].replace("_", "")) + bps))
        lines.append(",".join(row.values()))
    return "\n".join(lines) + "\n"


def _equal(ground: Ground, tried: Tried, other: Path, log: Path) -> pl.DataFrame:
    """Check that a cell decides what a replay of `other` does; return the replay's decisions."""
    decisions = replay(log, other).decisions
    assert ground.panel.ids["id"].equals(decisions["id"])
    approved = decisions["outcome"] == "approved"
    assert approved.any()
    assert approved.to_list() == tried.approved.tolist()
    offers = decisions.filter(approved)
    names = ground.deployment.institution_ids
    verdicts = tried.verdicts[tried.approved]
    assert offers["institution"].to_list() == [names[each] for each in verdicts["institution"]]
    for name in ("amount_cents", "rate_bps", "apr_bps", "fee_cents", "instalment_cents"):
        assert offers[name].to_list() == verdicts[name].tolist(), name
    short = (decisions["outcome"] == "capacity").to_list()
    assert not any(less and not more for less, more in zip(short, tried.no_money, strict=True))
    return decisions


def _lasting(folder: Path) -> Path:
    """Copy the example deployment, with offers that stand longer than the log lasts."""
    hours = re.compile(r"(?m)^offer_hours *= *\d+")
    return _edited(folder / "base", "*.toml", lambda text: hours.sub("offer_hours = 720", text))


@pytest.mark.parametrize("bps", [-150, 200])
def test_a_price_is_a_replay_at_that_price(
    own: Comparison, log: tuple[Path, Path], tmp_path: Path, bps: int
) -> None:
    """Where every rate moves, who is approved, by whom and at what cost is what a replay says."""
    other = _edited(tmp_path / "config", "*.csv", lambda text: _dearer(text, bps))
    ground = own.ground()
    moved = _equal(ground, try_cell(ground, Cell(rate_bps=bps)), other, log[0])
    was = own.rows["a_institution"], own.rows["a_apr_bps"]
    assert not moved["apr_bps"].equals(was[1].alias("apr_bps"))


def test_a_cut_off_is_a_replay_with_that_cut_off(
    own: Comparison, log: tuple[Path, Path], tmp_path: Path
) -> None:
    """One cut-off in the place of all gives the decisions of policies that name it."""
    cut = re.compile(r"(?m)^cut_off_pd_ppm *= *[\d_]+")
    other = _edited(
        tmp_path / "config", "*.toml", lambda text: cut.sub("cut_off_pd_ppm = 60_000", text)
    )
    ground = own.ground()
    _equal(ground, try_cell(ground, Cell(cut_off_ppm=60_000)), other, log[0])


@pytest.mark.parametrize("cap_bps", [2, 10])
def test_caps_are_a_replay_under_those_caps(
    log: tuple[Path, Path], tmp_path: Path, cap_bps: int
) -> None:
    """Where budgets bind and no offer runs out within the log, money goes where a replay's goes;
    what is not asked of money stays as it is.
    """
    base = _lasting(tmp_path)
    cents = re.compile(r"(?m)^((?:outstanding|commitment)_cents) *= *([\d_]+)")
    other = _edited(
        tmp_path / "other", "institution.toml",
        lambda text: cents.sub(
            lambda found: f"{found[1]} = {int(found[2].replace('_', '')) * cap_bps // 10_000}", text
        ),
        base,
    )  # fmt: skip
    ground = compare(log[0], base, base).ground()
    whole = try_cell(ground, Cell(cap_bps=10_000))
    assert whole.approved.tolist() == (ground.panel.judged.chosen >= 0).tolist()
    tried = try_cell(ground, Cell(cap_bps=cap_bps))
    decisions = _equal(ground, tried, other, log[0])
    assert (decisions["outcome"] == "capacity").any()


def test_a_grid_is_each_with_each(own: Comparison) -> None:
    """Rows stand by cut-off, price and cap, counts add up, and a cell that changes nothing tells
    what the comparison does.
    """
    cells = parse_cells(("50_000,1000000", "rate_bps=-100,0", "cap_bps=10000"))
    told = what_if(own.ground(), own.rows, cells, Economics())
    assert [tuple(row[name] for name in Cell._fields) for row in told] == [tuple(c) for c in cells]
    approved = int(own.rows["a_approved"].sum())
    for row in told:
        assert row["approved"] == approved + row["swap_in"] - row["swap_out"]
    cheap, as_is = told[2:]
    assert cheap["approved"] >= as_is["approved"]
    assert cheap["apr_bps"] < as_is["apr_bps"]
    (same,) = what_if(own.ground(), own.rows, [Cell()], Economics())
    assert (same["swap_in"], same["swap_out"], same["approved"]) == (0, 0, approved)
    assert same["lent_cents"] > 0


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (("5%",), "not whole numbers"),
        (("2000000",), "cut_off_ppm is from 0 to 1,000,000"),
        (("shoe=1",), "names are cut_off_ppm, rate_bps, cap_bps"),
        (("cap_bps=-1",), "cap_bps is from 0"),
        (("rate_bps=",), "each rate_bps"),
        ((",".join(map(str, range(51))), "rate_bps=0,1"), "at most 100"),
    ],
)
def test_what_is_no_cell_is_refused(texts: tuple[str, ...], sentence: str) -> None:
    """A name, a number or a count that cannot be is told in one sentence."""
    with pytest.raises(DipperError, match=sentence):
        parse_cells(texts)


def test_the_command_tries_prices_and_caps(log: tuple[Path, Path]) -> None:
    """`--what-if`, said twice, prints a row for each with each."""
    arguments = ["--policy", str(POLICIES), "--against", str(POLICIES), "--summary", "json"]
    arguments += ["--what-if", "rate_bps=0,100", "--what-if", "cap_bps=1,10000", "--quiet"]
    done = CliRunner().invoke(app, ["replay", str(log[0]), *arguments])
    assert done.exit_code == 0, done.output
    told = orjson.loads(done.stdout.splitlines()[-1])["what_if"]
    assert [(row["rate_bps"], row["cap_bps"]) for row in told] == [
        (0, 1), (0, 10_000), (100, 1), (100, 10_000),
    ]  # fmt: skip
    assert told[0]["no_money"] > told[1]["no_money"] == 0


def test_money_comes_back_when_offers_run_out(log: tuple[Path, Path], tmp_path: Path) -> None:
    """Under caps that bind, offers that run out free money for later ones; a replay frees it at its
    next tick, so others may get it, but about as many.
    """
    cents = re.compile(r"(?m)^((?:outstanding|commitment)_cents) *= *([\d_]+)")
    other = _edited(
        tmp_path / "other", "institution.toml",
        lambda text: cents.sub(
            lambda found: f"{found[1]} = {int(found[2].replace('_', '')) * 2 // 10_000}", text
        ),
    )  # fmt: skip
    ground = compare(log[0], POLICIES, POLICIES).ground()
    tried = try_cell(ground, Cell(cap_bps=2))
    approved = int((replay(log[0], other).decisions["outcome"] == "approved").sum())
    held = try_cell(compare(log[0], POLICIES, _lasting(tmp_path)).ground(), Cell(cap_bps=2))
    assert abs(tried.approved.sum() - approved) < 0.02 * approved
    assert held.approved.sum() < 0.95 * approved
