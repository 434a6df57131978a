"""Window and loan features against DuckDB: an as-of join in SQL, independent of our own Python."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

from features.catalog import load_catalog
from features.definitions import ANY_KIND, Feature
from features.tables import make_scratch
from streams import schema
from streams.buffers import Array
from streams.limits import APPLICANT_EVENTS_MAX, DAY_MS
from streams.schema import LoanState
from tests.features.build import (
    APPLICANT,
    Due,
    Loan,
    Request,
    add_loans,
    derived,
    fill_pages,
    small_state,
)
from tests.sizes import sized

pytestmark = pytest.mark.kernel

CATALOG = load_catalog(None)
SCRATCH = make_scratch(CATALOG.tables)
WINDOWS = [feature for feature in CATALOG.features if feature.source == "window"]
# DuckDB adds squares in floating point, ours are exact.
TOLERANCE: Mapping[str, float] = {"std": 1e-6}

_AGGREGATE_SQL = {
    "count": "count(e.at) {where}",
    "sum": "coalesce(sum(e.amount_cents) {where}, 0)",
    "mean": "sum(e.amount_cents) {where} / nullif(count(e.at) {where}, 0)",
    "min": "min(e.amount_cents) {where}",
    "max": "max(e.amount_cents) {where}",
    "std": "stddev_samp(e.amount_cents) {where}",
    "distinct": "count(DISTINCT nullif(e.counterparty, 0)) {where}",
    "first": f"(r.at - min(e.at) {{where}}) / {DAY_MS}.0",
    "last": f"(r.at - max(e.at) {{where}}) / {DAY_MS}.0",
}


def _ask(folder: Path, query: str, **frames: pl.DataFrame) -> pl.DataFrame:
    """Return what DuckDB answers over `frames`, handed over and back as Parquet files."""
    with duckdb.connect() as database:
        for name, frame in frames.items():
            path = folder / f"{name}.parquet"
            frame.write_parquet(path)
            database.sql(f"CREATE VIEW {name} AS SELECT * FROM '{path}'")
        answer = folder / "answer.parquet"
        database.sql(f"COPY ({query}) TO '{answer}' (FORMAT parquet)")
    return pl.read_parquet(answer)


def _column_sql(feature: Feature) -> str:
    condition = f"e.at >= r.at - {feature.window_ms} AND e.at < r.at"
    if ANY_KIND not in feature.kinds:
        codes = ", ".join(str(CATALOG.kinds.index(kind)) for kind in feature.kinds)
        condition += f" AND e.kind IN ({codes})"
    aggregate = _AGGREGATE_SQL[feature.aggregate].format(where=f"FILTER (WHERE {condition})")
    return f"({aggregate})::DOUBLE AS {feature.name}"


def _window_oracle(folder: Path, events: pl.DataFrame, requests: pl.DataFrame) -> pl.DataFrame:
    """Return every window feature of every request, in the order of `requests`.

    Both have applicant, position (in the log) and at; events also kind, amount_cents, counterparty.
    """
    columns = ",\n".join(_column_sql(feature) for feature in WINDOWS)
    query = f"""
        SELECT r.applicant, r.position, {columns}
        FROM requests r LEFT JOIN events e
          ON e.applicant = r.applicant AND e.position < r.position
         AND e.at >= r.at - {CATALOG.window_ms_max}
        GROUP BY r.applicant, r.position, r.at
        ORDER BY r.position
    """
    return _ask(folder, query, events=events, requests=requests)


def _entries(events: pl.DataFrame) -> Array:
    rows = np.zeros(len(events), schema.ENTRY)
    rows["at"] = events["at"].to_numpy()
    rows["amount_cents"] = events["amount_cents"].to_numpy()
    kinds = events["kind"].to_numpy().astype(np.uint64)
    rows["tag"] = events["counterparty"].to_numpy().astype(np.uint64) << np.uint64(8) | kinds
    return rows


def _window_vectors(
    events: pl.DataFrame, requests: pl.DataFrame
) -> Iterator[tuple[int, dict[str, float]]]:
    """Derive each request on the events that stand before it in the log; yield its position too."""
    by_applicant = events.sort("position").partition_by("applicant", as_dict=True)
    state = small_state(max(map(len, by_applicant.values())))
    for applicant, position, at in requests.select("applicant", "position", "at").iter_rows():
        known = by_applicant[(applicant,)]
        before = int(known["position"].search_sorted(position))
        fill_pages(state, _entries(known[:before]))
        yield position, derived(state, CATALOG, Request(at), -1, SCRATCH)


def _compare(folder: Path, events: pl.DataFrame, requests: pl.DataFrame) -> None:
    wanted = _window_oracle(folder, events, requests)
    vectors = dict(_window_vectors(events, requests))
    assert sorted(vectors) == wanted["position"].to_list()
    for feature in WINDOWS:
        got = np.array([vectors[position][feature.name] for position in wanted["position"]])
        expected = wanted[feature.name].fill_null(math.nan).to_numpy()
        tolerance = TOLERANCE.get(feature.aggregate, 1e-15)
        np.testing.assert_allclose(got, expected, rtol=tolerance, err_msg=feature.name)


def test_windows_equal_sql_on_generated_events(tmp_path: Path) -> None:
    """A log of 40 applicants with late, early and repeated times gives the oracle's windows."""
    generator = np.random.default_rng(11)
    size = sized(4_000)
    day = 20_000 * DAY_MS
    # Half-day steps, so that times repeat and fall on the edges of windows.
    at = day + generator.integers(-500, 500, size) * (DAY_MS // 2)
    log = pl.DataFrame(
        {
            "position": np.arange(size),
            "applicant": generator.integers(0, 40, size),
            "at": at,
            "kind": generator.integers(0, len(CATALOG.kinds), size),
            "amount_cents": generator.integers(0, 10**7, size),
            "counterparty": generator.integers(0, 9, size),
            "request": generator.random(size) < 0.1,
        }
    )
    requests = log.filter("request")
    events = log.filter(~pl.col("request"))
    requests = requests.join(events.select("applicant").unique(), on="applicant", how="semi")
    _compare(tmp_path, events, requests.sort("position"))


def _invoices(folder: Path) -> pl.DataFrame:
    """Return the real invoices as activities, by the day they are dated; void ones are left out."""
    parts = [pl.read_csv(path) for path in sorted(folder.glob("invoices_*.csv.gz"))]
    cents = (pl.col("total") * 100).round().cast(pl.Int64)
    names = pl.concat_str(
        pl.lit("invoice_"),
        "side",
        pl.when(pl.col("total") < 0).then(pl.lit("_credit")).otherwise(pl.lit("")),
    )
    codes = {kind: code for code, kind in enumerate(CATALOG.kinds)}
    return (
        pl.concat(parts)
        .filter(pl.col("status") == "valid")
        .select(
            applicant=pl.col("enterprise_id"),
            at=pl.col("date").str.to_datetime("%Y-%m-%d").dt.epoch("ms"),
            kind=names.replace_strict(codes, return_dtype=pl.Int64),
            amount_cents=cents.abs(),
            counterparty=pl.col("counterparty").hash(3) % 2**56,
        )
        .sort("at", maintain_order=True)
        .with_row_index("position")
        .with_columns(pl.col("position").cast(pl.Int64) * 2)
        .filter(pl.len().over("applicant") <= APPLICANT_EVENTS_MAX)
    )


def test_windows_equal_sql_on_real_invoices(data_dir: Path, tmp_path: Path) -> None:
    """Every small firm of a real set asks twice; invoices dated later already stand in the log."""
    events = _invoices(data_dir / "sme_invoices")
    asked = [pl.datetime(2018, 11, 1), pl.datetime(2019, 9, 15)]
    firms = events.select("applicant").unique(maintain_order=True)
    firms = firms[: sized(len(firms))]
    requests = pl.concat(
        firms.with_columns(at=day.dt.epoch("ms"), known=(day + pl.duration(days=3)).dt.epoch("ms"))
        for day in asked
    )
    # A request stands in the log behind all that is dated up to three days after it.
    positions = events["at"].search_sorted(requests["known"], side="right").cast(pl.Int64) * 2 - 1
    requests = requests.with_columns(position=positions)
    # Requests of one day share a place in the log; the order of firms tells them apart.
    requests = requests.with_columns(
        position=pl.col("position") * 1_000 + pl.int_range(pl.len()) % 1_000
    )
    events = events.with_columns(pl.col("position") * 1_000)
    _compare(tmp_path, events.join(firms, on="applicant", how="semi"), requests.sort("position"))


_LOAN_SQL = f"""
    WITH dues AS (
        SELECT r.customerid,
            l.opened, l.closed, l.due, r.asked,
            CASE WHEN l.repaid < r.asked THEN l.repaid ELSE least(l.closed, r.asked) END - l.due
              AS late_ms,
            l.repaid < r.asked OR l.due < least(l.closed, r.asked) AS ripe
        FROM requests r LEFT JOIN loans l
          ON l.customerid = r.customerid AND l.opened < r.asked
    )
    SELECT customerid,
        count(opened)::DOUBLE AS loans_disbursed,
        (count(*) FILTER (WHERE closed >= asked))::DOUBLE AS loans_open,
        (asked - max(closed) FILTER (WHERE closed < asked)) / {DAY_MS}.0
          AS days_since_last_loan_closed,
        (asked - max(opened)) / {DAY_MS}.0 AS days_since_last_loan_disbursed,
        (asked - min(opened)) / {DAY_MS}.0 AS days_since_first_loan_disbursed,
        coalesce(max(greatest(late_ms, 0) // {DAY_MS}) FILTER (WHERE ripe), 0)::DOUBLE
          AS worst_dpd_days,
        (count(*) FILTER (WHERE ripe AND late_ms >= {DAY_MS}))
          / nullif(count(*) FILTER (WHERE ripe), 0) AS dues_late_share,
        (sum(late_ms) FILTER (WHERE ripe))::DOUBLE
          / (count(*) FILTER (WHERE ripe)) / {DAY_MS} AS dues_days_late_mean,
        (count(*) FILTER (WHERE closed < asked AND coalesce(NOT ripe OR late_ms < {DAY_MS}, true)))
          ::DOUBLE AS loans_closed_on_time
    FROM dues GROUP BY customerid, asked ORDER BY customerid
"""


def test_loans_equal_sql_on_a_real_lender(data_dir: Path, tmp_path: Path) -> None:
    """Loans of a real lender, closed or repaid after the application too, count as of its time."""
    folder = data_dir / "superlender"

    def time(column: str) -> pl.Expr:
        return pl.col(column).str.to_datetime("%Y-%m-%d %H:%M:%S%.f").dt.epoch("ms")

    loans = pl.read_csv(folder / "trainprevloans.csv.gz").select(
        "customerid",
        opened=time("creationdate"),
        closed=time("closeddate"),
        due=time("firstduedate"),
        repaid=time("firstrepaiddate"),
        principal_cents=(pl.col("totaldue") * 100).cast(pl.Int64),
    )
    requests = (
        pl.read_csv(folder / "trainperf.csv.gz")
        .select("customerid", asked=time("creationdate"))
        .sort("customerid")
        .head(sized(4_400))
    )
    wanted = _ask(tmp_path, _LOAN_SQL, loans=loans, requests=requests)
    history: dict[str, list[Loan]] = {}
    for customer, opened, closed, due, repaid, principal in loans.iter_rows():
        history.setdefault(customer, []).append(
            Loan(
                opened,
                principal,
                closed_at=closed,
                state=int(LoanState.CLOSED),
                dues=(Due(due, principal, repaid or 0),),
            )
        )
    names = wanted.columns[1:]
    got = np.empty((len(requests), len(names)))
    state = small_state()
    for row, (customer, at) in enumerate(requests.iter_rows()):
        state.applicants[APPLICANT]["first_loan"] = -1
        add_loans(state, history.get(customer, []))
        vector = derived(state, CATALOG, Request(at), -1, SCRATCH)
        got[row] = [vector[name] for name in names]
    for k, name in enumerate(names):
        expected = wanted[name].fill_null(math.nan).to_numpy()
        np.testing.assert_allclose(got[:, k], expected, rtol=1e-14, err_msg=name)
