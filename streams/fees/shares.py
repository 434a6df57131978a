"""Who bears what of an institution's loans: partners by their shares, a guarantor the first losses.

1. A loan's shares are those in force in the month in which it was drawn, and stay so for its life.
2. Every flow of a loan (drawn, repaid, interest, lost, covered, recovered) is split by its sum so
far: a partner has the whole cents of its share in that sum, the institution all that is left. So
parts add up to the cent, whatever comes in how many pieces. 3. What is owed when a loan is written
off is lost; the guarantor covers it as far as its pool reaches. 4. What is recovered later goes to
the guarantor until it has back what it paid for that loan, and fills the pool again; then to the
lenders. No decision reads any of this: the institution's caps hold for the whole loan.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from streams.errors import DipperError
from streams.fees.book import Book
from streams.fees.meter import month_of
from streams.fees.schedule import BPS, Schedule, load_schedule

FLOWS = ("drawn", "repaid", "interest", "lost", "covered", "recovered")
_SCHEMA = {"month": pl.String(), "party": pl.String(), "role": pl.String()} | {
    f"{flow}_cents": pl.Int64() for flow in FLOWS
}


def split(total_cents: int, shares_bps: dict[str, int], lead: str) -> dict[str, int]:
    """Return each party's part of a sum: whole cents of its share, what is left to the lead."""
    parts = {party: total_cents * bps // BPS for party, bps in shares_bps.items()}
    return parts | {lead: total_cents - sum(parts.values())}


@dataclass
class _Loan:
    """A loan under way: its shares, the sum of each flow so far, what its guarantor paid."""

    shares_bps: dict[str, int]
    guarantor: str | None
    sums: Counter[str] = field(default_factory=Counter)
    covered: int = 0
    recovered: int = 0
    written_off: bool = False


class Shares:
    """Splits the flows of one institution's loans; `flows` in cents by month, party and flow."""

    def __init__(self, institution: str, schedule: Schedule) -> None:
        self.flows: Counter[tuple[str, str, str]] = Counter()
        self.balance_cents = schedule.guarantee.pool_cap_cents if schedule.guarantee else 0
        self._institution = institution
        self._schedule = schedule
        self._loans: dict[tuple[str, str], _Loan] = {}

    def take(self, event: dict[str, Any]) -> None:
        """Count one loan event, in order of time, each once."""
        month, step = event["month"], event["step"]
        name = event["applicant"], event["loan"]
        principal, interest = event["principal_cents"] or 0, event["interest_cents"] or 0
        if step == "disbursed":
            schedule = self._schedule
            self._loans[name] = _Loan(schedule.shares_of(month), schedule.guarantor_of(month))
            self._flow(self._loans[name], month, "drawn", principal)
        elif (loan := self._loans.get(name)) is not None:
            sign = {"payment": 1, "refund": 1, "reversal": -1}.get(step, 0)
            self._flow(loan, month, "interest", sign * interest)
            if step == "written_off":
                self._write_off(loan, month)
            elif loan.written_off:
                self._recover(loan, month, sign * principal)
            else:
                self._flow(loan, month, "repaid", sign * principal)

    def _write_off(self, loan: _Loan, month: str) -> None:
        lost = loan.sums["drawn"] - loan.sums["repaid"]
        loan.written_off = True
        self._flow(loan, month, "lost", lost)
        if loan.guarantor is not None:
            loan.covered = min(lost, max(self.balance_cents, 0))
            self.balance_cents -= loan.covered
            self.flows[month, loan.guarantor, "covered"] -= loan.covered
            self._flow(loan, month, "covered", loan.covered)

    def _recover(self, loan: _Loan, month: str, cents: int) -> None:
        before = min(loan.recovered, loan.covered)
        loan.recovered += cents
        back = min(loan.recovered, loan.covered) - before
        if loan.guarantor is not None:
            self.balance_cents += back
            self.flows[month, loan.guarantor, "recovered"] += back
        self._flow(loan, month, "recovered", cents - back)

    def _flow(self, loan: _Loan, month: str, flow: str, cents: int) -> None:
        before = split(loan.sums[flow], loan.shares_bps, self._institution)
        loan.sums[flow] += cents
        now = split(loan.sums[flow], loan.shares_bps, self._institution)
        for party, part in now.items():
            self.flows[month, party, flow] += part - before[party]

    def table(self) -> pl.DataFrame:
        """Return one row a month and party: role (lead, partner, guarantor) and each flow, cents.

        What a guarantor covers is negative in its row, so that a flow's column adds up.
        """
        guarantee = self._schedule.guarantee
        roles = {self._institution: "lead"}
        if guarantee is not None:
            roles[guarantee.guarantor] = "guarantor"
        parties = sorted({(month, party) for month, party, _ in self.flows})
        rows = [
            (month, party, roles.get(party, "partner"), *self._parts(month, party))
            for month, party in parties
        ]
        return pl.DataFrame(rows, schema=_SCHEMA, orient="row")

    def _parts(self, month: str, party: str) -> list[int]:
        return [self.flows[month, party, flow] for flow in FLOWS]


def shares_of(book: Book, institution: str, config: Path) -> Shares:
    """Return the shares in all loans of an institution that a book holds."""
    schedule = load_schedule(config, institution)
    if not (schedule.partners or schedule.guarantee):
        raise DipperError(f"{schedule.path}: names no partner and no guarantee; nothing is split")
    shares = Shares(institution, schedule)
    for event in _events(book, institution, schedule.time_zone):
        shares.take(event)
    return shares


def _events(book: Book, institution: str, time_zone: str) -> Iterator[dict[str, Any]]:
    # Topics and a log decided again hold partitions in another order: time, then name, has one.
    # Of one time a loan begins before it goes on.
    begins = pl.col("step") != "disbursed"
    mine = book.loans.filter(pl.col("issuer") == institution)
    ordered = mine.sort(pl.col("at"), begins, pl.col("applicant"), pl.col("id"))
    yield from ordered.with_columns(month=month_of(pl.col("at"), time_zone)).iter_rows(named=True)
