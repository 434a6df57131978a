"""Count what an institution pays for, month by month of its own time zone.

An event belongs to the month of its own `at`. Principal paid out is read from `dipper.funding`
(moves `draw` on the cap `outstanding`), interest and refunds from the loan events that count, and
decisions from `dipper.decisions`.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from streams.fees.book import Book
from streams.limits import DAY_MS


class Refund(NamedTuple):
    """Principal that came back by a refund: in which month, and when it had been drawn."""

    month: str
    drawn_month: str
    days: int
    """Days begun since the draw: 1 within the first 24 hours."""
    cents: int


@dataclass
class Usage:
    """What one institution's fees are made of, by month (`2026-01`)."""

    judged: dict[str, int] = field(default_factory=dict)
    funded: dict[str, int] = field(default_factory=dict)
    drawn_cents: dict[str, int] = field(default_factory=dict)
    disbursed_cents: dict[str, int] = field(default_factory=dict)
    """The same principal as the institution's own loan events tell it: the two must agree."""
    interest_cents: dict[str, int] = field(default_factory=dict)
    """Of payments and refunds, less reversals; may be negative."""
    refunds: list[Refund] = field(default_factory=list)


def meter(book: Book, institution: str, time_zone: str) -> Usage:
    """Return the usage of one institution; nothing of another's goes into it."""
    month = month_of(pl.col("at"), time_zone)
    judged = book.decisions.filter(
        pl.col("candidates")
        .list.eval(pl.element().struct.field("institution") == institution)
        .list.any()
    )
    funded = book.decisions.filter(
        (pl.col("outcome") == "approved") & (pl.col("institution") == institution)
    )
    drawn = book.funding.filter(
        (pl.col("institution") == institution)
        & (pl.col("type") == "draw")
        & (pl.col("cap") == "outstanding")
    )
    loans = book.loans.filter(pl.col("issuer") == institution)
    sign = pl.when(pl.col("step") == "reversal").then(-1).otherwise(1)
    interest = loans.filter(pl.col("step").is_in(["payment", "refund", "reversal"])).with_columns(
        cents=pl.col("interest_cents").fill_null(0) * sign
    )
    disbursed = loans.filter(pl.col("step") == "disbursed")
    return Usage(
        _by_month(judged, month, pl.len()),
        _by_month(funded, month, pl.len()),
        _by_month(drawn, month, pl.col("amount_cents").sum()),
        _by_month(disbursed, month, pl.col("principal_cents").sum()),
        _by_month(interest, month, pl.col("cents").sum()),
        _refunds(loans, disbursed, time_zone),
    )


def month_of(at: pl.Expr, time_zone: str) -> pl.Expr:
    """Return the month of epoch ms in a time zone, as `2026-01`."""
    return pl.from_epoch(at, "ms").dt.convert_time_zone(time_zone).dt.strftime("%Y-%m")


def _by_month(frame: pl.DataFrame, month: pl.Expr, value: pl.Expr) -> dict[str, int]:
    rows = frame.group_by(month.alias("month")).agg(value.alias("value")).sort("month")
    return {name: int(value) for name, value in rows.iter_rows()}


def _refunds(loans: pl.DataFrame, disbursed: pl.DataFrame, time_zone: str) -> list[Refund]:
    # A loan's name is its issuer's own, and may be given to two applicants.
    draws = disbursed.select("applicant", "loan", drawn_at="at")
    days = (pl.col("at") - pl.col("drawn_at")) // DAY_MS + 1
    rows = (
        loans.filter((pl.col("step") == "refund") & (pl.col("principal_cents") > 0))
        .join(draws, on=["applicant", "loan"], how="inner")
        .select(
            month_of(pl.col("at"), time_zone).alias("month"),
            month_of(pl.col("drawn_at"), time_zone).alias("drawn_month"),
            days.alias("days"),
            "principal_cents",
        )
    )
    sums: defaultdict[tuple[str, str, int], int] = defaultdict(int)
    for refunded, drawn, after, cents in rows.iter_rows():
        sums[refunded, drawn, after] += cents
    return [Refund(*key, cents) for key, cents in sorted(sums.items())]
