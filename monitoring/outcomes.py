"""Were the probabilities true? Loans that have come to their end, against what was said of them.

A loan counts once its last instalment has been due for as long as it takes to be called bad: only
then could each loan of its age have shown both ways it may end, so that early good ones do not
flatter the figures. Time is the ticks of the log.
"""

import heapq
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.counters import PD_EDGES_PPM
from streams.limits import DAY_MS, PPM

BAD_DAYS = 30  # past due by so much, a loan is called bad
DECISIONS_MAX = 500_000  # approvals and open loans remembered; the oldest are forgotten first
MATURED_MAX = 20_000  # loans that AUC and KS are of
COHORTS_MAX = 24  # months of decision shown


class Told(NamedTuple):
    """What was said of a request when it was approved."""

    model: str
    pd_ppm: int
    at: int
    arms: tuple[tuple[str, str, str], ...] = ()  # institution, experiment, arm


class Ended(NamedTuple):
    """A loan that has come to its end."""

    model: str
    cohort: str  # month of the decision, as 2026-11
    pd: float
    bad: bool


class Quality(NamedTuple):
    """How well a model's PDs tell bad from good, 0 to 1; None where one of the two is missing."""

    loans: int
    auc: float | None
    ks: float | None


@dataclass(slots=True)
class _Loan:
    decision: str
    dues: list[tuple[int, int]] = field(default_factory=list)  # due_at, cents
    payments: list[tuple[int, int]] = field(default_factory=list)  # at, cents
    written_off: bool = False


@dataclass(slots=True)
class Tally:
    """Loans of one band of PD: how many, how many went bad, what the PDs said, and its variance."""

    loans: int = 0
    bad: int = 0
    expected: float = 0.0
    variance: float = 0.0

    def add(self, pd: float, *, bad: bool) -> None:
        """Count one loan."""
        self.loans += 1
        self.bad += bad
        self.expected += pd
        self.variance += pd * (1 - pd)


_Key = tuple[str, str]  # applicant, loan


class Outcomes:
    """Reads approvals, loan events and ticks; `pace` is how many days of a loan pass in one day of
    event time (1 in the real world).

    Loan events and ticks come in log order within a partition. Approvals come from another topic,
    before or after the loan they led to; a loan whose approval is not known yet waits for it.
    """

    def __init__(self, pace: float = 1.0) -> None:
        self._bad_ms = int(BAD_DAYS * DAY_MS / pace)
        self._told: OrderedDict[str, Told] = OrderedDict()
        self._loans: OrderedDict[_Key, _Loan] = OrderedDict()
        self._due: dict[int, list[tuple[int, _Key]]] = {}
        self._waiting: OrderedDict[str, bool] = OrderedDict()  # decision → bad
        self.forgotten = 0
        self.bands: dict[tuple[str, str], Tally] = {}  # model, upper edge of the band
        self.cohorts: dict[tuple[str, str], Tally] = {}  # model, month
        self.arms: dict[tuple[str, str, str], Tally] = {}
        self.ended: deque[Ended] = deque(maxlen=MATURED_MAX)

    def on_approval(self, decision: str, told: Told) -> None:
        """Remember what was said of a request that was approved."""
        bad = self._waiting.pop(decision, None)
        if bad is not None:
            self._count(told, bad=bad)
        else:
            self._told[decision] = told
            self._bound(self._told)

    def on_loan(self, partition: int, event: Mapping[str, Any]) -> None:
        """Take in one loan event of `dipper.events`; those of other lenders' loans say nothing."""
        key = (str(event["applicant"]), str(event["loan"]))
        step, loan = event["step"], self._loans.get(key)
        if step == "disbursed":
            if loan is None and "decision" in event:
                self._loans[key] = _Loan(str(event["decision"]))
                self._bound(self._loans)
        elif loan is None:
            return
        elif step == "due":
            loan.dues.append((int(event["due_at"]), _cents(event)))
            ends_at = int(event["due_at"]) + self._bad_ms
            heapq.heappush(self._due.setdefault(partition, []), (ends_at, key))
        elif step in {"payment", "refund"}:
            loan.payments.append((int(event["at"]), _cents(event)))
        elif step == "reversal":
            loan.payments.append((int(event["at"]), -_cents(event)))
        elif step == "written_off":
            loan.written_off = True

    def on_tick(self, partition: int, at: int) -> None:
        """Partition time has come to `at`, epoch ms: loans whose end is known are counted."""
        due = self._due.get(partition, [])
        while due and due[0][0] <= at:
            ends_at, key = heapq.heappop(due)
            loan = self._loans.get(key)
            if loan is None or ends_at < max(day for day, _ in loan.dues) + self._bad_ms:
                continue  # another instalment is due later
            del self._loans[key]
            bad = loan.written_off or _late(loan, self._bad_ms)
            told = self._told.pop(loan.decision, None)
            if told is None:
                self._waiting[loan.decision] = bad
                self._bound(self._waiting)
            else:
                self._count(told, bad=bad)

    def quality(self) -> dict[tuple[str, str], Quality]:
        """Return AUC and KS by model and cohort, cohort `all` over every one."""
        found = {}
        rows = list(self.ended)
        for key in {(row.model, cohort) for row in rows for cohort in (row.cohort, "all")}:
            model, cohort = key
            mine = [r for r in rows if r.model == model and cohort in {r.cohort, "all"}]
            pds = np.array([row.pd for row in mine])
            bad = np.array([row.bad for row in mine])
            found[key] = Quality(len(mine), *_auc_ks(pds, bad))
        return found

    def _count(self, told: Told, *, bad: bool) -> None:
        pd = told.pd_ppm / PPM
        cohort = datetime.fromtimestamp(told.at / 1_000, UTC).strftime("%Y-%m")
        self.ended.append(Ended(told.model, cohort, pd, bad))
        band = next((str(e / PPM) for e in PD_EDGES_PPM if told.pd_ppm <= e), "1.0")
        self.bands.setdefault((told.model, band), Tally()).add(pd, bad=bad)
        self.cohorts.setdefault((told.model, cohort), Tally()).add(pd, bad=bad)
        for arm in told.arms:
            self.arms.setdefault(arm, Tally()).add(pd, bad=bad)
        months = sorted({month for _, month in self.cohorts})
        for key in [key for key in self.cohorts if key[1] in months[:-COHORTS_MAX]]:
            del self.cohorts[key]

    def _bound(self, kept: "OrderedDict[Any, Any]") -> None:
        if len(kept) > DECISIONS_MAX:
            kept.popitem(last=False)
            self.forgotten += 1


def _cents(event: Mapping[str, Any]) -> int:
    parts = ("principal_cents", "interest_cents", "fee_cents", "penalty_cents")
    return sum(int(event.get(part, 0)) for part in parts)


def _late(loan: _Loan, bad_ms: int) -> bool:
    """Say whether some instalment was not covered so long after its day."""
    owed = 0
    for due_at, cents in sorted(loan.dues):
        owed += cents
        if sum(paid for at, paid in loan.payments if at <= due_at + bad_ms) < owed:
            return True
    return False


def _auc_ks(pds: NDArray[np.float64], bad: NDArray[np.bool_]) -> tuple[float | None, float | None]:
    """Return the area under the ROC curve, ties counting half, and the Kolmogorov-Smirnov gap."""
    bads, goods = int(bad.sum()), int((~bad).sum())
    if bads == 0 or goods == 0:
        return None, None
    _, group = np.unique(pds, return_inverse=True)
    bad_at = np.bincount(group, bad).cumsum() / bads
    good_at = np.bincount(group, ~bad).cumsum() / goods
    # The area beside the curve of good against bad shares, by trapezes.
    steps = np.diff(bad_at, prepend=0.0)
    auc = float((steps * (good_at - np.diff(good_at, prepend=0.0) / 2)).sum())
    return auc, float(np.abs(bad_at - good_at).max())
