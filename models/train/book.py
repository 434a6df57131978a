"""The loan events of a log as a book: dues with the time each was covered, vintages, roll rates.

1. Read the loan lines of a file of events. 2. Payments cover dues in the order in which they fall
due, by total; a reversal takes back. 3. A due is n days late from its day until it is covered. What
the log does not reach is immature and left blank, never counted as good.
"""

import gzip
import io
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from streams.limits import DAY_MS

MONTH_MS = int(30.4375 * DAY_MS)
MONTHS_MAX = 24
BUCKET_DAYS = 30
BUCKETS = ("0", "1-30", "31-60", "61-90", "90+")
_SCHEMA = {
    "type": pl.String,
    "applicant": pl.String,
    "at": pl.Int64,
    "loan": pl.String,
    "decision": pl.String,
    "issuer": pl.String,
    "step": pl.String,
    "principal_cents": pl.Int64,
    "interest_cents": pl.Int64,
    "fee_cents": pl.Int64,
    "penalty_cents": pl.Int64,
    "due_at": pl.Int64,
}
_MONEY = ("principal_cents", "interest_cents", "fee_cents", "penalty_cents")


class Book(NamedTuple):
    """`loans`: applicant, loan, decision, disbursed_at, principal_cents, written_off_at (null:
    not). `dues`: applicant, loan, place (from 0), due_at, amount_cents, covered_at (null: not yet).
    `seen_ms`: the last time the log tells of.
    """

    loans: pl.DataFrame
    dues: pl.DataFrame
    seen_ms: int


def read_book(
    events: str | Path, issuers: set[str] | None = None, until_ms: int | None = None
) -> Book | None:
    """Return the book of a JSON Lines file (.gz too), None where it holds no disbursed loan.

    `issuers`: only loans of these; `until_ms`: as it stood at this time. Reads what a line says and
    judges nothing: a line that the step would refuse may be in it.
    """
    path = Path(events)
    if not path.is_file() or path.suffix in {".parquet", ".pq"}:
        return None
    opener = gzip.open if path.suffix == ".gz" else open
    kept, last = [], b""
    with opener(path, "rb") as file:
        for line in file:
            if b'"loan"' in line:
                kept.append(line)
            last = line or last
    if not kept:
        return None
    frame = pl.read_ndjson(io.BytesIO(b"".join(kept)), schema=_SCHEMA, ignore_errors=True)
    seen = pl.read_ndjson(io.BytesIO(last), schema={"at": pl.Int64})["at"].max()
    frame = frame.filter(pl.col("type") == "loan")
    if issuers is not None:
        frame = frame.filter(pl.col("issuer").is_in(sorted(issuers)))
    times = [value for value in (seen, frame["at"].max()) if isinstance(value, int)]
    seen_ms = max(times, default=0)
    if until_ms is not None:
        seen_ms = min(seen_ms, until_ms)
        frame = frame.filter(pl.col("at") <= until_ms)
    return make_book(frame, seen_ms)


def make_book(events: pl.DataFrame, seen_ms: int) -> Book | None:
    """Return the book of loan events, one row each; None where none is disbursed."""
    loan = ["applicant", "loan"]
    total = pl.sum_horizontal([pl.col(name).fill_null(0) for name in _MONEY])
    events = events.with_columns(total=total)
    loans = (
        events.filter(pl.col("step") == "disbursed")
        .group_by(loan, maintain_order=True)
        .agg(
            pl.col("decision").first(),
            disbursed_at=pl.col("at").min(),
            principal_cents=pl.col("principal_cents").sum(),
        )
    )
    if loans.is_empty():
        return None
    lost = events.filter(pl.col("step") == "written_off").group_by(loan)
    loans = loans.join(lost.agg(written_off_at=pl.col("at").min()), on=loan, how="left")
    dues = (
        events.filter(pl.col("step") == "due")
        .sort(*loan, "due_at")
        .with_columns(
            place=pl.int_range(pl.len()).over(loan), owed=pl.col("total").cum_sum().over(loan)
        )
    )
    sign = pl.when(pl.col("step") == "payment").then(1).when(pl.col("step") == "reversal").then(-1)
    paid = (
        events.with_columns(sign=sign)
        .filter(pl.col("sign").is_not_null())
        .sort(*loan, "at")
        .with_columns(paid=(pl.col("total") * pl.col("sign")).cum_sum().over(loan))
        # A due is covered for good once no later reversal opens it again.
        .with_columns(paid=pl.col("paid").reverse().cum_min().reverse().over(loan))
        .select(*loan, "paid", covered_at="at")
        .sort("paid")
    )
    covered = dues.sort("owed").join_asof(
        paid, left_on="owed", right_on="paid", by=loan, strategy="forward", check_sortedness=False
    )
    columns = (*loan, "place", "due_at", "covered_at")
    picked = covered.select(*columns, amount_cents="total").sort(*loan, "place")
    return Book(loans, picked.join(loans.select(loan), on=loan, how="semi"), seen_ms)


def vintages(book: Book, late_days: int) -> list[dict[str, Any]]:
    """Return a row a month of disbursement: loans, balance, and by months on book the share that
    was ever `late_days` late, by count and by principal; None where immature.
    """
    loan = ["applicant", "loan"]
    late_ms = late_days * DAY_MS
    reached = pl.col("due_at") + late_ms
    hits = (
        book.dues.filter(
            (reached <= book.seen_ms) & (pl.col("covered_at").fill_null(book.seen_ms + 1) > reached)
        )
        .group_by(loan)
        .agg(hit_at=reached.min())
    )
    rows = book.loans.join(hits, on=loan, how="left").with_columns(
        month=pl.from_epoch("disbursed_at", "ms").dt.strftime("%Y-%m"),
        hit_month=((pl.col("hit_at") - pl.col("disbursed_at")) / MONTH_MS).ceil(),
        age=(book.seen_ms - pl.col("disbursed_at")) // MONTH_MS,
    )
    told = []
    for (month,), group in rows.sort("month").group_by(["month"], maintain_order=True):
        # A month's cell stands once its youngest loan has reached that age.
        youngest = group["age"].min()
        mature = min(int(youngest) if isinstance(youngest, int | float) else 0, MONTHS_MAX)
        principal = int(group["principal_cents"].sum())
        curves = []
        for months in range(1, mature + 1):
            hit = group.filter(pl.col("hit_month") <= months)
            curves.append(
                [hit.height / group.height, int(hit["principal_cents"].sum()) / max(principal, 1)]
            )
        told.append(
            {
                "month": month,
                "loans": group.height,
                "principal_cents": principal,
                "share": [pair[0] for pair in curves],
                "balance": [pair[1] for pair in curves],
            }
        )
    return told


def first_payment_default(book: Book, late_days: int = 30) -> dict[str, Any]:
    """Return how many loans' first due went `late_days` late, of those that had the time to."""
    reached = pl.col("due_at") + late_days * DAY_MS
    first = book.dues.filter((pl.col("place") == 0) & (reached <= book.seen_ms))
    late = first.filter(pl.col("covered_at").fill_null(book.seen_ms + 1) > reached)
    return {"loans": first.height, "late": late.height}


def roll_rates(book: Book) -> list[list[int]]:
    """Return counts [from bucket][to bucket] of loans from one month on book to the next.

    A bucket is how late the oldest open due is at that month's end; see BUCKETS.
    """
    loan = ["applicant", "loan"]
    ages = book.loans.select(
        *loan,
        at=pl.int_ranges(1, MONTHS_MAX + 1) * MONTH_MS + pl.col("disbursed_at"),
    ).explode("at")
    ages = ages.filter(pl.col("at") <= book.seen_ms)
    open_dues = ages.join(book.dues, on=loan).filter(
        (pl.col("due_at") < pl.col("at"))
        & (pl.col("covered_at").fill_null(book.seen_ms + 1) > pl.col("at"))
    )
    days = ((pl.col("at") - pl.col("due_at")) / DAY_MS).max()
    bucket = (days / BUCKET_DAYS).ceil().clip(0, len(BUCKETS) - 1).cast(pl.Int64)
    late = open_dues.group_by(*loan, "at").agg(bucket=bucket)
    # After its last due is covered a loan is no longer on the book.
    ends = book.dues.group_by(loan).agg(
        end=pl.when(pl.col("covered_at").null_count() == 0).then(pl.col("covered_at").max())
    )
    states = (
        ages.join(late, on=[*loan, "at"], how="left")
        .join(ends, on=loan, how="left")
        .filter(pl.col("end").fill_null(book.seen_ms + 1) + MONTH_MS > pl.col("at"))
        .with_columns(pl.col("bucket").fill_null(0))
        .sort(*loan, "at")
        .with_columns(to=pl.col("bucket").shift(-1).over(loan))
        .filter(pl.col("to").is_not_null())
    )
    counts = [[0] * len(BUCKETS) for _ in BUCKETS]
    for from_, to, number in states.group_by("bucket", "to").len().iter_rows():
        counts[from_][to] = number
    return counts
