"""A month's statement: usage under terms, in whole cents by stated rules.

1. Each line is computed exactly and rounded once, halves up. 2. A tier's rate holds for the part of
the month's drawn principal that lies in it. 3. A claw-back gives the share of the refunded
principal in the drawn fee of the month of the draw, counted over all months so far, so that the
roundings of many months never give back more than was charged. 4. What is missing to the minimum is
a line of its own; without a minimum a month may end as a credit.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

from streams.errors import DipperError
from streams.fees.meter import Usage
from streams.fees.schedule import BPS, Schedule, Terms, next_month


class Line(NamedTuple):
    """One line: what for, how much of it (`unit`: decisions or cents), the rate in words, the fee.

    `fee_cents` is negative where the platform gives back.
    """

    item: str
    quantity: int
    unit: str
    rate: str
    fee_cents: int


@dataclass(frozen=True)
class Statement:
    """What one institution owes for one month. Times are epoch ms: from `from_at` to before
    `until_at`.
    """

    institution: str
    name: str
    month: str
    time_zone: str
    currency: str
    schedule_sha256: str
    from_at: int
    until_at: int
    lines: tuple[Line, ...]
    drawn_cents: int
    disbursed_cents: int
    known: dict[int, int]
    """The last `seq` of `dipper.funding` by partition that was known when it was made."""

    @property
    def total_cents(self) -> int:
        """Return what is owed; negative: a credit."""
        return sum(line.fee_cents for line in self.lines)

    @property
    def agrees(self) -> bool:
        """Return whether moves of money and the institution's loan events tell the same draws."""
        return self.drawn_cents == self.disbursed_cents


def make_statement(
    institution: str,
    name: str,
    usage: Usage,
    schedule: Schedule,
    month: str,
    known: dict[int, int],
) -> Statement:
    """Return the statement of a month; DipperError where no terms hold in it."""
    terms = schedule.terms_of(month)
    if terms is None:
        raise DipperError(f"{schedule.path}: no terms hold in {month}; add some from that month")
    lines = [
        *_counted(terms, usage, month),
        *_drawn(terms, usage.drawn_cents.get(month, 0)),
        *_interest(terms, usage.interest_cents.get(month, 0)),
        *_clawed_back(schedule, usage, month),
    ]
    short = terms.minimum_cents - sum(line.fee_cents for line in lines)
    if terms.minimum_cents and short > 0:
        lines.append(Line("to the minimum", terms.minimum_cents, "cents", "", short))
    return Statement(
        institution,
        name,
        month,
        schedule.time_zone,
        schedule.currency,
        schedule.sha256,
        _starts_at(month, schedule.time_zone),
        _starts_at(next_month(month), schedule.time_zone),
        tuple(lines),
        usage.drawn_cents.get(month, 0),
        usage.disbursed_cents.get(month, 0),
        known,
    )


def drawn_fee(terms: Terms, drawn_cents: int) -> int:
    """Return the fee on a month's drawn principal under its tiers."""
    return sum(line.fee_cents for line in _drawn(terms, drawn_cents))


def round_half_up(value: Fraction) -> int:
    """Return the nearest whole number; a half goes up, also below nothing."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def _counted(terms: Terms, usage: Usage, month: str) -> Iterable[Line]:
    for item, counts, cents in (
        ("decisions judged", usage.judged, terms.judged_cents),
        ("decisions funded", usage.funded, terms.funded_cents),
    ):
        if cents:
            count = counts.get(month, 0)
            yield Line(item, count, "decisions", f"{cents} cents each", count * cents)


def _drawn(terms: Terms, drawn_cents: int) -> Iterable[Line]:
    for tier in terms.drawn:
        end = drawn_cents if tier.up_to_cents is None else min(drawn_cents, tier.up_to_cents)
        part = max(end - tier.above_cents, 0)
        if part or tier.above_cents == 0:
            fee = round_half_up(Fraction(part * tier.bps, BPS))
            item = f"drawn above {tier.above_cents / 100:,.2f}" if tier.above_cents else "drawn"
            yield Line(item, part, "cents", f"{tier.bps} bps", fee)


def _interest(terms: Terms, interest_cents: int) -> Iterable[Line]:
    if terms.interest_bps:
        fee = round_half_up(Fraction(interest_cents * terms.interest_bps, BPS))
        yield Line("interest received", interest_cents, "cents", f"{terms.interest_bps} bps", fee)


def _clawed_back(schedule: Schedule, usage: Usage, month: str) -> Iterable[Line]:
    for drawn_month in sorted({refund.drawn_month for refund in usage.refunds}):
        terms = schedule.terms_of(drawn_month)
        if terms is None or not terms.clawback_days:
            continue
        kept = [
            refund
            for refund in usage.refunds
            if refund.drawn_month == drawn_month and refund.days <= terms.clawback_days
        ]
        here = sum(refund.cents for refund in kept if refund.month == month)
        if not here:
            continue
        drawn = usage.drawn_cents[drawn_month]
        share = Fraction(drawn_fee(terms, drawn), drawn)
        before = sum(refund.cents for refund in kept if refund.month < month)
        fee = round_half_up(share * (before + here)) - round_half_up(share * before)
        rate = f"share of the fee of {drawn_month}"
        yield Line(f"refunds of draws of {drawn_month}", here, "cents", rate, -fee)


def _starts_at(month: str, time_zone: str) -> int:
    start = datetime(int(month[:4]), int(month[5:]), 1, tzinfo=ZoneInfo(time_zone))
    return int(start.timestamp()) * 1_000
