"""The report beside decisions that were written before."""

import re
import subprocess
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest

from models.train.dataset import read_labels
from streams.errors import DipperError
from streams.replay import replay
from streams.study.compare import Mode, compare, label_remarks
from streams.study.grid import Cell
from streams.study.money import Economics
from streams.study.recorded import read_recorded
from streams.study.run import Question, study, study_beside
from streams.study.sections import report_figures
from streams.study.written import Beside, answers_written, scoped_beside, set_beside
from tests.streams.study.conftest import POLICIES

TOLD = (
    "approved", "outcome", "institution", "pd_ppm", "reason", "amount_cents", "rate_bps",
    "apr_bps", "fee_cents", "instalment_cents", "method",
)  # fmt: skip


@pytest.fixture(scope="module")
def written(log: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the decisions of the example deployment."""
    folder = tmp_path_factory.mktemp("written")
    replay(log[0], POLICIES, out=folder)
    return folder / "decisions.jsonl"


@pytest.fixture(scope="module")
def asked(log: tuple[Path, Path], stricter: Path, written: Path) -> tuple[Question, Beside, Any]:
    """Ask for the report of the stricter deployment beside them."""
    question = Question(
        source=str(log[0]), policy=stricter, against=str(written), labels=log[1],
        report=written.with_name("report.html"), groups=("region",), what_if=("50000,100000",),
    )  # fmt: skip
    return question, *study_beside(question)


def _page(path: Path | None) -> Any:
    assert path is not None
    return orjson.loads(re.findall(r'id="data">(.*?)</script>', path.read_text())[0])


def test_decisions_tell_what_evidence_tells(log: tuple[Path, Path], written: Path) -> None:
    """Under one deployment what is read from decisions is what is read from the evidence."""
    beside = set_beside(read_recorded(str(written), ""), replay(log[0], POLICIES), str(log[0]))
    rows = beside.rows
    assert rows.height == beside.result.decisions.height
    assert rows["same"].all()
    for name in TOLD:
        assert rows[f"a_{name}"].equals(rows[f"b_{name}"].alias(f"a_{name}")), name
    assert 0 < rows["a_approved"].sum() < rows.height


def test_the_page_has_the_figures_of_two_policies(
    log: tuple[Path, Path], stricter: Path, asked: tuple[Question, Beside, Any]
) -> None:
    """What the page says beside written decisions is what it says of the policy that wrote them,
    living beside the other; what decisions do not hold is absent, with its sentence.
    """
    page = _page(asked[0].report)
    both = compare(log[0], POLICIES, stricter, mode=Mode.CLOSED, labels=read_labels(log[1]))
    whole = orjson.loads(
        orjson.dumps(
            report_figures(
                both, names=("a", "b"), economics=Economics(), groups=("region",),
                events=str(log[0]), cells=(Cell(50_000), Cell(100_000)),
            ),
            option=orjson.OPT_NON_STR_KEYS,
        )
    )  # fmt: skip
    for name in ("window", "cuts", "reasons", "outcomes", "slider", "book", "fairness"):
        assert _rounded(page[name]) == _rounded(whole[name]), name
    assert _rounded(page["totals"]) == _rounded(whole["totals"])
    # Curves and tenths break ties of the PD by the order of rows; these figures have no such tie.
    for side, name in product(("a", "b"), ("rows", "bads", "mean_pd", "auc", "brier")):
        assert _rounded(page["quality"][side][name]) == _rounded(whole["quality"][side][name])
    assert page["rules"]["b"] == whole["rules"]["b"]
    for name in ("swap", "bad_rates", "different", "what_if", "approval_rate_before"):
        assert page["summary"][name] == whole["summary"][name], name
    assert page["summary"]["swap"]["only_old"] > 0
    assert page["rules"]["a"] is None
    assert {row["band"] for row in page["bands"]["a"]} == {None}
    assert {"profit", "rules", "budgets", "cases"} <= set(page["lacking"])
    assert "take-up is held constant" in page["mode"]
    assert page["summary"]["mode"] == Mode.CLOSED
    case = page["cases"][0]
    assert case["a"]
    assert case["b"]
    assert any(each["chosen"] for each in case["a"]) == (case["a_outcome"] == "approved")


def _rounded(value: Any) -> Any:
    """Sums of floats differ in their last bits with the order of rows."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return value


def test_a_scope_keeps_what_it_names(asked: tuple[Question, Beside, Any]) -> None:
    """A scope by day, product, institution and feature keeps those requests beside written
    decisions too, and an unknown or empty one is refused.
    """
    beside = asked[1]
    rows = beside.rows
    day = rows["at"].min()
    assert isinstance(day, int)
    cut = datetime.fromtimestamp(day / 1_000, UTC).date() + timedelta(days=4)
    parts = [scoped_beside(beside, (f"{name}={cut}",)).rows for name in ("from", "to")]
    assert sum(part.height for part in parts) == rows.height
    assert min(part.height for part in parts) > 0
    dawn = scoped_beside(beside, ("product=cash_line", "institution=dawn")).rows
    assert set(dawn["product"]) == {"cash_line"}
    assert 0 < dawn.height < rows.height
    names = next(a for a in beside.panel.deployment.catalog.attributes if a.name == "region").values
    regions = [scoped_beside(beside, (f"region={name}",)).rows for name in names]
    column = beside.panel.deployment.catalog.columns["region"]
    known = ~np.isnan(beside.panel.rows["features"][:, column])
    assert sum(part.height for part in regions) == known.sum() > 0
    for wrong, sentence in (
        ("product=none", "no request is in it"),
        ("shoe=1", "no such name"),
        ("region=moon", "known are"),
    ):
        with pytest.raises(DipperError, match=sentence):
            scoped_beside(beside, (wrong,))


def test_labels_of_another_log_are_told(
    log: tuple[Path, Path], written: Path, tmp_path: Path
) -> None:
    """Labels that meet no request are counted, and where none meets one it is asked why; beside
    another policy and beside written decisions alike.
    """
    lines = log[1].read_text().splitlines()
    other = tmp_path / "labels.csv"
    other.write_text("\n".join([lines[0], *("x" + line for line in lines[1:])]) + "\n")
    told = f"{len(lines) - 1:,} of {len(lines) - 1:,} labels meet no request of this log; none does"
    for against in (str(written), str(POLICIES)):
        question = Question(source=str(log[0]), policy=POLICIES, against=against, labels=other)
        beside = against == str(written)
        remarks = study_beside(question)[0].remarks if beside else study(question)["remarks"]
        assert any(remark.startswith(told) for remark in remarks), remarks
    labels = read_labels(log[1])
    rows = pl.DataFrame({"applicant": labels["applicant"], "request": labels["id"]})
    assert label_remarks(rows, labels) == []
    assert label_remarks(rows[1:], labels)[0].endswith("they say nothing")


def test_requests_of_one_side_only(
    log: tuple[Path, Path], written: Path, tmp_path: Path, asked: tuple[Question, Beside, Any]
) -> None:
    """A request that only one side decided is told as such: the page holds it, and no features are
    made up for one that the log does not have.
    """
    lines = [orjson.loads(line) for line in written.read_bytes().splitlines()]
    gone = lines.pop()
    best = max((line for line in lines if line["outcome"] == "approved"),
               key=lambda line: int(line["amount_cents"]))  # fmt: skip
    foreign = {**best, "id": "f" * 32, "request": "foreign", "amount_cents": 10**12}
    path = tmp_path / "decisions.jsonl"
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in [*lines, foreign]))
    report = tmp_path / "report.html"
    beside, told = study_beside(
        Question(
            source=str(log[0]), policy=POLICIES, against=str(path), report=report,
            groups=("region",),
        )
    )  # fmt: skip
    assert told["verdicts"] == {"data": 2}
    alone = beside.rows.filter(pl.col("place").is_null())
    assert alone["request"].to_list() == ["foreign"]
    assert beside.rows.filter(pl.col("a_id").is_null())["request"].to_list() == [gone["request"]]
    page = _page(report)
    assert page["versions"][0] == f"manifest {best['manifest'][:16]}"
    case = next(each for each in page["cases"] if each["request"] == "foreign")
    assert (case["b"], case["features"]) == ([], {})
    assert case["a"]


def test_no_decisions_are_no_answers(written: Path) -> None:
    """A file without a decision gives the same columns, and no row."""
    whole = read_recorded(str(written), "")
    assert answers_written(whole.clear()).schema == answers_written(whole).schema


def test_a_browser_draws_it(asked: tuple[Question, Beside, Any], browser: str) -> None:
    """In a real browser the page is drawn to its end, and says what decisions lack."""
    assert asked[0].report is not None
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu"]
    command += ["--virtual-time-budget=4000", "--dump-dom", asked[0].report.as_uri()]
    drawn = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    body = drawn.split("<script")[0]
    assert 'data-ready="yes"' in drawn
    assert body.count("soft lacking") == 4
    for wrong in ("NaN", "[object", ">null<", "undefined"):
        assert wrong not in body, wrong
