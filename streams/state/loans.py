"""Lines and loans: rows that outlive every window while they are open, and the instalments of each
loan.

Days past due are no counter: they follow from the dues, from when payments reached each of them,
and from the time asked (`features/loans.py` reads them so).
"""

from streams.buffers import Array
from streams.compile import i64, kernel
from streams.limits import LOAN_DUES_MAX
from streams.schema import LineState, LoanState
from streams.state.free import chain_free, free_after
from streams.state.index import delete_slot, insert_slot

_LINE_ACTIVE, _LINE_FREE = int(LineState.ACTIVE), int(LineState.FREE)
_LOAN_OPEN, _LOAN_FREE = int(LoanState.OPEN), int(LoanState.FREE)


@kernel
def find_line(lines: Array, first: int, lo: int, hi: int) -> int:
    """Return the row of the line with that id among one applicant's, which begin at row `first`
    (-1: none), or -1. They are few, and features read them anyway: a table of their ids would be
    one more place in memory to wait for.
    """
    row = i64(first)
    while row >= 0:
        if lines[row]["lo"] == lo and lines[row]["hi"] == hi:
            return row
        row = i64(lines[row]["next"])
    return -1


@kernel
def take_line(partition: Array, applicants: Array, lines: Array, offers: Array, offer: int) -> int:
    """Open the line that `offer` grants, under the offer's own id. The caller knows that a row is
    free.
    """
    row = i64(partition[0]["free_line"])
    assert row >= 0
    partition[0]["free_line"] = free_after(lines["next"], row)
    partition[0]["lines_used"] += 1
    applicant = offers[offer]["applicant"]
    lines[row]["lo"] = offers[offer]["lo"]
    lines[row]["hi"] = offers[offer]["hi"]
    lines[row]["applicant"] = applicant
    lines[row]["state"] = _LINE_ACTIVE
    lines[row]["institution"] = offers[offer]["institution"]
    lines[row]["product"] = offers[offer]["product"]
    lines[row]["channel"] = offers[offer]["channel"]
    lines[row]["limit_cents"] = offers[offer]["amount_cents"]
    lines[row]["available_cents"] = offers[offer]["amount_cents"]
    lines[row]["committed_cents"] = (
        offers[offer]["amount_cents"] if offers[offer]["cap"] >= 0 else 0
    )
    lines[row]["segments"] = offers[offer]["segments"]
    lines[row]["closed_at"] = 0
    lines[row]["next"] = applicants[applicant]["first_line"]
    applicants[applicant]["first_line"] = row
    return row


@kernel
def line_is_used(loans: Array, first_loan: int, line: int) -> bool:
    """Say whether a loan of the chain that begins at row `first_loan` was drawn on that line."""
    loan = i64(first_loan)
    while loan >= 0:
        if loans[loan]["line"] == line:
            return True
        loan = i64(loans[loan]["next"])
    return False


@kernel
def free_line(partition: Array, applicants: Array, lines: Array, row: int) -> None:
    """Take the line out of its applicant's chain and out of the table."""
    applicant = lines[row]["applicant"]
    at = i64(applicants[applicant]["first_line"])
    if at == row:
        applicants[applicant]["first_line"] = lines[row]["next"]
    else:
        while lines[at]["next"] != row:
            at = i64(lines[at]["next"])
            assert at >= 0
        lines[at]["next"] = lines[row]["next"]
    lines[row]["state"] = _LINE_FREE
    chain_free(lines["next"], row, partition[0]["free_line"])
    partition[0]["free_line"] = row
    partition[0]["lines_used"] -= 1


@kernel
def take_loan(
    partition: Array,
    applicants: Array,
    loans: Array,
    slots: Array,
    applicant: int,
    lo: int,
    hi: int,
    institution: int,
    at: int,
    principal_cents: int,
) -> int:
    """Open a loan. `institution` -1: another lender's. The caller knows that a row is free."""
    row = i64(partition[0]["free_loan"])
    assert row >= 0
    partition[0]["free_loan"] = free_after(loans["next"], row)
    partition[0]["loans_used"] += 1
    partition[0]["generation"] += 1
    loans[row]["lo"] = lo
    loans[row]["hi"] = hi
    loans[row]["applicant"] = applicant
    loans[row]["state"] = _LOAN_OPEN
    loans[row]["institution"] = institution
    loans[row]["line"] = -1
    loans[row]["offer"] = -1
    loans[row]["first_due"] = -1
    loans[row]["dues"] = 0
    loans[row]["principal_cents"] = principal_cents
    loans[row]["outstanding_cents"] = principal_cents
    loans[row]["paid_cents"] = 0
    loans[row]["disbursed_at"] = at
    loans[row]["closed_at"] = 0
    loans[row]["generation"] = partition[0]["generation"]
    loans[row]["next"] = applicants[applicant]["first_loan"]
    applicants[applicant]["first_loan"] = row
    insert_slot(slots, lo, row)
    return row


@kernel
def free_loan(
    partition: Array, applicants: Array, loans: Array, slots: Array, dues: Array, row: int
) -> None:
    """Take the loan out of its applicant's chain and out of the table, with its dues."""
    applicant = loans[row]["applicant"]
    at = i64(applicants[applicant]["first_loan"])
    if at == row:
        applicants[applicant]["first_loan"] = loans[row]["next"]
    else:
        while loans[at]["next"] != row:
            at = i64(loans[at]["next"])
            assert at >= 0
        loans[at]["next"] = loans[row]["next"]
    due = i64(loans[row]["first_due"])
    while due >= 0:
        after = i64(dues[due]["next"])
        chain_free(dues["next"], due, partition[0]["free_due"])
        partition[0]["free_due"] = due
        partition[0]["dues_used"] -= 1
        due = after
    delete_slot(slots, loans[row]["lo"], row)
    loans[row]["state"] = _LOAN_FREE
    loans[row]["generation"] = -1
    chain_free(loans["next"], row, partition[0]["free_loan"])
    partition[0]["free_loan"] = row
    partition[0]["loans_used"] -= 1


@kernel
def dues_have_room(partition: Array, loans: Array, row: int) -> bool:
    """Say whether one more instalment fits: in the table, and in LOAN_DUES_MAX of one loan."""
    return bool(partition[0]["free_due"] >= 0 and loans[row]["dues"] < LOAN_DUES_MAX)


@kernel
def add_due(
    partition: Array, loans: Array, dues: Array, row: int, due_at: int, amount_cents: int
) -> None:
    """Insert an instalment in order of its date, after those of the same date. The caller knows
    that there is room.
    """
    new = i64(partition[0]["free_due"])
    assert new >= 0
    partition[0]["free_due"] = free_after(dues["next"], new)
    partition[0]["dues_used"] += 1
    dues[new]["due_at"] = due_at
    dues[new]["amount_cents"] = amount_cents
    dues[new]["covered_at"] = 0
    loans[row]["dues"] += 1
    before = i64(-1)
    at = i64(loans[row]["first_due"])
    while at >= 0 and dues[at]["due_at"] <= due_at:
        before = at
        at = i64(dues[at]["next"])
    dues[new]["next"] = at
    if before < 0:
        loans[row]["first_due"] = new
    else:
        dues[before]["next"] = new


@kernel
def settle_dues(loans: Array, dues: Array, row: int, at: int) -> None:
    """Mark the dues that payments reach, oldest first: newly reached ones at time `at`; lost ones
    not at all.

    A reversal or an earlier instalment that became known late can take a due's cover away again.
    """
    left = loans[row]["paid_cents"]
    due = i64(loans[row]["first_due"])
    while due >= 0:
        left -= dues[due]["amount_cents"]
        if left < 0:
            dues[due]["covered_at"] = 0
        elif dues[due]["covered_at"] == 0:
            dues[due]["covered_at"] = at
        due = i64(dues[due]["next"])
