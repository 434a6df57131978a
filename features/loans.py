"""Facts of an applicant's loans, ours and other lenders', as functions of loans and time.

Days past due are no counter: a due that is unpaid at `t` has been so since `due_at`, and one that
was covered was late by `covered_at - due_at`. What is dated at `t` or later has not happened yet.
Outstanding principal is the exception: the log keeps its present value only, as it stands when the
request is read.
"""

import math

from features.tables import LOANS_0
from streams.buffers import Array
from streams.compile import kernel
from streams.limits import DAY_MS
from streams.schema import LoanState

_NAN = math.nan
_WRITTEN_OFF = int(LoanState.WRITTEN_OFF)
_CLOSED = int(LoanState.CLOSED)

# Running integers of one applicant's dues and loans.
(
    _RIPE, _LATE, _LATE_MS, _WORST_DAYS, _CURRENT_DAYS, _OVERDUE, _LAST_DUE_AT, _LAST_DUE_MS,
    _DISBURSED, _OPEN, _OPEN_OTHER, _LOST, _ON_TIME, _OUTSTANDING, _CLOSED_AT, _LAST_AT, _FIRST_AT,
    _LAST_PRINCIPAL,
) = range(18)  # fmt: skip


@kernel
def loan_facts(
    loans: Array, dues: Array, first_loan: int, as_of: int, sums: Array, facts: Array
) -> None:
    """Write the facts of source "loans" to `facts[LOANS_0 :]`, in the order of `tables.FACTS`.

    Reads LOAN[loans] from `first_loan` (-1: none) along `next`, and DUE[dues]; overwrites
    int64 `sums[LOAN_SUMS]`. Amounts in cents, times in days. Of loans disbursed at one time the
    last is the one that stands later in the log; of dues of one time, the first of such a loan.
    """
    for k in range(sums.shape[0]):
        sums[k] = 0
    row = first_loan
    while row >= 0:
        if 0 < loans[row]["disbursed_at"] < as_of:
            _add_loan(loans, dues, row, as_of, sums)
        row = loans[row]["next"]
    ripe, disbursed = sums[_RIPE], sums[_DISBURSED]
    facts[LOANS_0] = disbursed
    facts[LOANS_0 + 1] = sums[_OPEN]
    facts[LOANS_0 + 2] = sums[_OPEN_OTHER]
    facts[LOANS_0 + 3] = sums[_LOST]
    facts[LOANS_0 + 4] = sums[_ON_TIME]
    facts[LOANS_0 + 5] = sums[_OUTSTANDING]
    facts[LOANS_0 + 6] = sums[_OVERDUE]
    facts[LOANS_0 + 7] = sums[_CURRENT_DAYS]
    facts[LOANS_0 + 8] = sums[_WORST_DAYS]
    facts[LOANS_0 + 9] = float(sums[_LATE]) / float(ripe) if ripe else _NAN
    facts[LOANS_0 + 10] = float(sums[_LATE_MS]) / float(ripe) / DAY_MS if ripe else _NAN
    facts[LOANS_0 + 11] = float(sums[_LAST_DUE_MS]) / DAY_MS if ripe else _NAN
    facts[LOANS_0 + 12] = _NAN
    if sums[_CLOSED_AT]:
        facts[LOANS_0 + 12] = float(as_of - sums[_CLOSED_AT]) / DAY_MS
    facts[LOANS_0 + 13] = float(as_of - sums[_LAST_AT]) / DAY_MS if disbursed else _NAN
    facts[LOANS_0 + 14] = float(as_of - sums[_FIRST_AT]) / DAY_MS if disbursed else _NAN
    facts[LOANS_0 + 15] = float(sums[_LAST_PRINCIPAL]) if disbursed else _NAN


@kernel
def _add_loan(loans: Array, dues: Array, row: int, as_of: int, sums: Array) -> None:
    """Add one disbursed loan: is it open, closed or lost at `as_of`, and how its dues were met."""
    state, closed_at = loans[row]["state"], loans[row]["closed_at"]
    disbursed_at = loans[row]["disbursed_at"]
    lost = state == _WRITTEN_OFF and closed_at < as_of
    closed = state == _CLOSED and closed_at < as_of
    worst_days = _add_dues(dues, loans[row]["first_due"], closed_at if closed else 0, as_of, sums)
    if sums[_DISBURSED] == 0 or disbursed_at > sums[_LAST_AT]:
        sums[_LAST_AT] = disbursed_at
        sums[_LAST_PRINCIPAL] = loans[row]["principal_cents"]
    if sums[_DISBURSED] == 0 or disbursed_at < sums[_FIRST_AT]:
        sums[_FIRST_AT] = disbursed_at
    sums[_DISBURSED] += 1
    if closed:
        sums[_CLOSED_AT] = max(sums[_CLOSED_AT], closed_at)
        sums[_ON_TIME] += worst_days == 0
    elif lost:
        sums[_LOST] += 1
    else:
        sums[_OPEN] += 1
        sums[_OPEN_OTHER] += loans[row]["institution"] < 0
        sums[_OUTSTANDING] += loans[row]["outstanding_cents"]


@kernel
def _add_dues(dues: Array, first_due: int, closed_at: int, as_of: int, sums: Array) -> int:
    """Add the dues of one loan that are past, or paid, at `as_of`; return its worst days past due.

    Days past due are whole days, rounded down; a due is late from its first whole day on. The close
    of a loan (`closed_at`, 0: not closed by then) ends the lateness of what it left unpaid.
    """
    until = closed_at or as_of
    worst_days = 0
    row = first_due
    while row >= 0:
        due_at, covered_at = dues[row]["due_at"], dues[row]["covered_at"]
        paid = 0 < covered_at < as_of
        if paid or due_at < until:
            late_ms = (covered_at if paid else until) - due_at
            days = max(late_ms, 0) // DAY_MS
            worst_days = max(worst_days, days)
            if sums[_RIPE] == 0 or due_at > sums[_LAST_DUE_AT]:
                sums[_LAST_DUE_AT] = due_at
                sums[_LAST_DUE_MS] = late_ms
            sums[_RIPE] += 1
            sums[_LATE] += days > 0
            sums[_LATE_MS] += late_ms
            if not paid and closed_at == 0:
                sums[_CURRENT_DAYS] = max(sums[_CURRENT_DAYS], days)
                sums[_OVERDUE] += dues[row]["amount_cents"]
        row = dues[row]["next"]
    sums[_WORST_DAYS] = max(sums[_WORST_DAYS], worst_days)
    return worst_days
