"""The superlender converter: every row told once, in the order of knowing, nothing from the
future.
"""

import gzip
from collections import defaultdict
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from examples.superlender import convert
from features.catalog import load_catalog
from models.policy.loader import load_policies
from models.policy.platform import load_institutions, load_platform
from streams.config import columns_of
from streams.limits import AHEAD_MS_MAX, LATE_MS_MAX

CONFIG = Path(convert.__file__).parent / "config"


@pytest.fixture(scope="module")
def data(data_dir: Path) -> Path:
    """Give the folder of the superlender files, or skip where there is none."""
    return data_dir / "superlender"


@pytest.fixture(scope="module")
def converted(
    data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[convert.Converted, Path]:
    """Convert the real files once."""
    out = tmp_path_factory.mktemp("superlender")
    return convert.convert(data, out), out


@pytest.fixture(scope="module")
def lines(converted: tuple[convert.Converted, Path]) -> list[dict[str, Any]]:
    """Return all lines of the log, ticks among them."""
    data = gzip.decompress((converted[1] / "events.jsonl.gz").read_bytes())
    return [orjson.loads(line) for line in data.splitlines()]


def test_row_counts(converted: tuple[convert.Converted, Path], lines: list[dict[str, Any]]) -> None:
    """Every current loan is one application and one label, every earlier one six events or more."""
    done = converted[0]
    assert done.applications == done.labels == 4_368
    assert done.bad == 952
    steps: defaultdict[str, int] = defaultdict(int)
    for event in lines:
        steps[event.get("step", event["type"])] += 1
    assert steps["disbursed"] == steps["closed"] == steps["signal"] == 18_183
    assert steps["payment"] == 2 * 18_183
    assert steps["due"] == 18_183 + 993 + 2 * 30  # 60 days: two instalments, 90 days: three
    assert done.events + done.ticks == len(lines) == sum(steps.values())
    assert done.ticks == steps["tick"]


def test_order_of_knowing(lines: list[dict[str, Any]]) -> None:
    """Events stand in order of time, each within the bounds that its partition's time sets."""
    tick, before = 0, 0
    for event in lines:
        if event["type"] == "tick":
            assert event["at"] > tick
            tick = event["at"]
            continue
        assert before <= event["at"]
        assert tick - LATE_MS_MAX <= event["at"] <= tick + AHEAD_MS_MAX
        before = event["at"]


def test_no_outcome_of_a_current_loan(
    converted: tuple[convert.Converted, Path], lines: list[dict[str, Any]]
) -> None:
    """Of a current loan the log holds its application and nothing else; its label comes later."""
    labels = pl.read_csv(converted[1] / "labels.csv", schema_overrides={"id": pl.String})
    known_at = dict(zip(labels["id"], labels["known_at"], strict=True))
    applied = {e["id"]: e["at"] for e in lines if e["type"] == "application"}
    assert applied.keys() == known_at.keys()
    assert all(known_at[id] > at for id, at in applied.items())
    assert not applied.keys() & {e["loan"] for e in lines if e["type"] == "loan"}
    allowed = {
        "type", "id", "applicant", "at", "product", "channel", "amount_cents", "tenor_days",
        "loan_number", "referred", "age_years", "bank", "account_type", "employment", "education",
    }  # fmt: skip
    assert {name for e in lines if e["type"] == "application" for name in e} == allowed


def test_each_event_is_dated_by_the_data(data: Path, lines: list[dict[str, Any]]) -> None:
    """What is told of a loan bears the time at which the lender knew it, against the raw file."""
    raw = pl.read_csv(data / "trainprevloans.csv.gz", infer_schema=False)
    column = {"disbursed": "creationdate", "due": "creationdate", "closed": "closeddate"}
    dates = {
        row["systemloanid"]: {
            name: int(
                pl.Series([row[name]]).str.to_datetime("%Y-%m-%d %H:%M:%S%.f").dt.epoch("ms")[0]
            )
            for name in ("creationdate", "closeddate", "firstrepaiddate", "firstduedate")
        }
        for row in raw.sample(200, seed=1).iter_rows(named=True)
    }
    seen = 0
    for event in lines:
        if event["type"] == "loan" and event["loan"] in dates:
            seen += 1
            dated = dates[event["loan"]]
            name = column.get(event["step"])
            if name is None:
                name = "firstrepaiddate" if event["id"].endswith("-first") else "closeddate"
            assert event["at"] == dated[name]
            if event["id"].endswith("due-0"):
                assert event["due_at"] == dated["firstduedate"]
    assert seen >= 200 * 5


def test_loans_add_up(lines: list[dict[str, Any]]) -> None:
    """Dues and payments of a loan add up to its principal, and payments come in two parts."""
    money: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for event in lines:
        if event["type"] == "loan" and event["step"] in {"disbursed", "due", "payment"}:
            money[event["loan"]][event["step"]] += event["principal_cents"]
            money[event["loan"]][event["step"] + "+"] += event.get("interest_cents", 0)
            assert event["principal_cents"] >= 0
            assert event.get("interest_cents", 0) >= 0
    for parts in money.values():
        assert parts["disbursed"] == parts["due"] == parts["payment"] > 0
        assert parts["due+"] == parts["payment+"]


def test_every_name_is_declared(lines: list[dict[str, Any]]) -> None:
    """The deployment's catalog declares all attributes, their values and the signal."""
    catalog = load_catalog(CONFIG / "catalog.toml")
    declared = {attribute.name: attribute for attribute in catalog.attributes}
    fixed = {"type", "id", "applicant", "at", "product", "channel", "amount_cents", "tenor_days"}
    for event in lines:
        if event["type"] == "application":
            for name in event.keys() - fixed:
                values = declared[name].values
                assert not values or event[name] in values
    assert "superlender_first_payment_days_late" in catalog.columns


def test_other_data_are_refused(data: Path, tmp_path: Path) -> None:
    """A folder without the files, or with other rows, is refused with a sentence."""
    with pytest.raises(convert.DataError, match="not there"):
        convert.convert(tmp_path, tmp_path / "out")
    for name in ("trainprevloans", "trainperf", "traindemographics"):
        frame = pl.read_csv(data / f"{name}.csv.gz", infer_schema=False).head(10)
        path = tmp_path / f"{name}.csv.gz"
        path.write_bytes(gzip.compress(frame.write_csv().encode()))
    with pytest.raises(convert.DataError, match="18183 expected"):
        convert.convert(tmp_path, tmp_path / "out")
    assert convert.main([str(tmp_path), str(tmp_path / "out")]) == 2


def test_config_loads() -> None:
    """Three lenders' policies load with the catalog, and every case they state holds."""
    platform = load_platform(CONFIG)
    institutions = load_institutions(CONFIG, platform)
    columns = columns_of(load_catalog(CONFIG / "catalog.toml"))
    policies = load_policies(CONFIG, platform, institutions, columns, {"consumer": 0})
    assert [info.id for info in policies.infos] == [
        f"{lender}/{convert.PRODUCT}" for lender in ("dawn", "meadow", "north")
    ]
    assert [channel.id for channel in platform.channels] == [convert.CHANNEL]
