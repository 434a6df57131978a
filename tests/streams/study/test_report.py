"""The page: complete, small, and at peace without a network; seen in a real browser."""

import re
import subprocess
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest

from models.train import book
from models.train.dataset import read_labels
from streams.errors import DipperError
from streams.limits import DAY_MS
from streams.study.compare import compare
from streams.study.fairness import fairness
from streams.study.grid import Cell
from streams.study.money import Economics, parse_economics
from streams.study.page import render
from streams.study.sections import report_figures
from streams.study.swaps import swap_in_rate, swap_sets

POLICIES = Path(__file__).resolve().parents[3] / "examples" / "policies"
SECTIONS = (
    "swaps", "cut-off", "where", "quality", "stability", "vintages", "profit", "rules", "reasons",
    "budgets", "fairness", "cases", "notes",
)  # fmt: skip


@pytest.fixture(scope="module")
def page(log: tuple[Path, Path], stricter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the report of the example against the stricter deployment."""
    changed = compare(log[0], POLICIES, stricter, labels=read_labels(log[1]))
    figures = report_figures(
        changed, names=("old <b>", "new"), economics=Economics(), groups=("region", "age_years:40"),
        events=str(log[0]), cells=(Cell(50_000), Cell(100_000)),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(figures))
    return path


def test_figures_add_up(page: Path) -> None:
    """Every cut, band and outcome counts the same approvals as the head of the page."""
    data = orjson.loads(re.findall(r'id="data">(.*?)</script>', page.read_text())[0])
    for side, rate in (("a", "approval_rate_before"), ("b", "approval_rate_after")):
        approved = data["totals"][side]["approved"]
        assert approved == round(data["summary"][rate] * data["summary"]["requests"])
        for name, rows in data["cuts"].items():
            assert sum(row[side]["approved"] for row in rows if row[side]) == approved, name
        assert sum(row["approved"] for row in data["bands"][side]) == approved
        assert data["outcomes"][side]["approved"] == approved
    assert sum(bin_[0] for bin_ in data["slider"]["bins"]) <= data["summary"]["requests"]
    assert 0 < len(data["cases"]) <= 10
    assert all(case["a"] and case["b"] and case["cause"] for case in data["cases"])
    for rule in data["rules"]["b"]:
        assert rule["only"] <= rule["first"] <= rule["any"] <= rule["judged"]


def test_the_page_asks_no_network(page: Path) -> None:
    """No address stands in the page but the name of SVG, and its own policy forbids requests."""
    text = page.read_text()
    assert set(re.findall(r"https?://[\w./]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in text
    assert len(text) < 1_000_000


def test_a_browser_draws_every_section(page: Path, browser: str, tmp_path: Path) -> None:
    """In a real browser every section, table and chart is there, names are text, nothing failed."""
    common = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000"]
    done = subprocess.run(
        [*common, "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    drawn = done.stdout
    assert 'data-ready="yes"' in drawn
    for name in SECTIONS:
        assert f'<section id="{name}">' in drawn, name
    assert drawn.count("<svg") > 12
    assert drawn.count("<table") > 15
    assert "old &lt;b&gt;" in drawn
    assert "[object" not in drawn
    assert "NaN" not in drawn.split("<script")[0]
    shot = tmp_path / "shot.png"
    subprocess.run(
        [*common, "--window-size=1240,2400", f"--screenshot={shot}", page.as_uri()],
        capture_output=True, timeout=90, check=True,
    )  # fmt: skip
    # A blank page of this size is a few kilobytes.
    assert shot.stat().st_size > 80_000


def _loan(loan: str, step: str, at_days: float, **fields: int) -> dict[str, object]:
    empty = dict.fromkeys(("interest_cents", "fee_cents", "penalty_cents", "due_at"))
    base = {"applicant": "p", "loan": loan, "decision": None, "issuer": "x", "principal_cents": 0}
    return {**base, **empty, "step": step, "at": int(at_days * DAY_MS), **fields}


def test_vintages_leave_the_immature_blank() -> None:
    """A loan paid in time never counts, one 35 days late is 30+ from that month on, and no cell
    stands that the log does not reach.
    """
    rows = [
        _loan("a", "disbursed", 0, principal_cents=100),
        _loan("a", "due", 0, principal_cents=100, due_at=30 * DAY_MS),
        _loan("a", "payment", 29, principal_cents=100),
        _loan("b", "disbursed", 0, principal_cents=300),
        _loan("b", "due", 0, principal_cents=300, due_at=30 * DAY_MS),
        _loan("b", "payment", 65, principal_cents=300),
        _loan("c", "disbursed", 80, principal_cents=50),
        _loan("c", "due", 80, principal_cents=50, due_at=110 * DAY_MS),
    ]
    found = book.make_book(pl.DataFrame(rows, infer_schema_length=None), 100 * DAY_MS)
    assert found is not None
    first, second = book.vintages(found, 30)
    assert (first["loans"], first["share"]) == (2, [0.0, 0.5, 0.5])
    assert first["balance"] == [0.0, 0.75, 0.75]
    assert second["share"] == []
    assert book.vintages(found, 90)[0]["share"] == [0.0, 0.0, 0.0]
    assert book.first_payment_default(found) == {"loans": 2, "late": 1}
    # b is a day behind at the end of its first month, 31 days at that of its second, then clear.
    assert book.roll_rates(found) == [
        [0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0],
    ]  # fmt: skip


def test_swap_in_interval_widens_with_distance() -> None:
    """Where PDs are true, the estimate is near the truth, and the interval grows beyond the known;
    too few outcomes give none.
    """
    rng = np.random.default_rng(4)
    pd = rng.uniform(0.02, 0.10, 4_000)
    known = pl.DataFrame(
        {"a_approved": True, "b_approved": True, "b_pd_ppm": (pd * 1e6).astype(int),
         "bad": (rng.random(4_000) < pd).astype(int)}
    )  # fmt: skip
    widths = []
    for risk in (0.05, 0.25):
        swapped = pl.DataFrame(
            {"a_approved": False, "b_approved": True, "b_pd_ppm": [int(risk * 1e6)] * 500,
             "bad": pl.Series([None] * 500, dtype=pl.Int64)}
        )  # fmt: skip
        told = swap_in_rate(pl.concat([known, swapped]))
        assert told is not None
        assert told["low"] < risk < told["high"]
        widths.append(told["high"] - told["low"])
        assert swap_sets(pl.concat([known, swapped]))["only_new"]["bad_rate"] is None
    assert widths[0] < widths[1]
    assert swap_in_rate(pl.concat([known.head(20), swapped])) is None


def test_impact_ratio_is_that_of_the_best_served() -> None:
    """A group approved half as often has the ratio 0.5, with an interval around it."""
    rows = pl.DataFrame(
        {"b_approved": [True] * 80 + [False] * 20 + [True] * 40 + [False] * 60,
         "b_apr_bps": [1000] * 80 + [None] * 20 + [1200] * 40 + [None] * 60}
    )  # fmt: skip
    told = fairness(rows, pl.Series(["x"] * 100 + ["y"] * 100), "b_")
    assert told[0]["reference"]
    assert told[1]["ratio"] == pytest.approx(0.5)
    assert told[1]["ratio_low"] < 0.5 < told[1]["ratio_high"] < 0.8
    assert told[1]["apr_difference"] == pytest.approx(200)


def test_economics_are_read_strictly() -> None:
    """Named basis points replace the defaults; anything else is refused."""
    assert parse_economics("lgd_bps=4500").lgd_bps == 4_500
    for wrong in ("lgd=1", "lgd_bps=-3", "lgd_bps"):
        with pytest.raises(DipperError, match="--economics"):
            parse_economics(wrong)
