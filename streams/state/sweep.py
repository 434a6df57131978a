"""On each tick, look at some rows: old pages go back to the pool, closed loans and lines and idle
applicants retire.
"""

from streams.compile import i64, kernel
from streams.limits import CLOSED_LOAN_MS, IDLE_MS, LATE_MS_MAX
from streams.schema import LineState, LoanState
from streams.state.applicants import free_applicant
from streams.state.ids import sweep_ids
from streams.state.loans import free_line, free_loan, line_is_used
from streams.state.pool import drop_old_pages
from streams.state.tables import State

_CLOSED = int(LoanState.CLOSED)
_LINE_CLOSED = int(LineState.CLOSED)


@kernel
def _retire_loans(state: State, applicant: int) -> None:
    """Free the applicant's loans that were closed longer ago than any feature looks."""
    horizon = state.partition[0]["time"] - CLOSED_LOAN_MS - LATE_MS_MAX
    loan = i64(state.applicants[applicant]["first_loan"])
    while loan >= 0:
        after = i64(state.loans[loan]["next"])
        # A loan of our own keeps its row while its offer does: the offer's removal comes first.
        if (
            state.loans[loan]["state"] == _CLOSED
            and state.loans[loan]["closed_at"] < horizon
            and state.loans[loan]["offer"] < 0
        ):
            free_loan(
                state.partition, state.applicants, state.loans, state.loan_slots, state.dues, loan
            )
        loan = after


@kernel
def _retire_lines(state: State, applicant: int) -> None:
    """Free the applicant's lines that were closed as long ago, on which nothing is drawn: no open
    offer holds any of them, and no loan that is still known names them.
    """
    horizon = state.partition[0]["time"] - CLOSED_LOAN_MS - LATE_MS_MAX
    lines = state.lines
    line = i64(state.applicants[applicant]["first_line"])
    while line >= 0:
        after = i64(lines[line]["next"])
        if (
            lines[line]["state"] == _LINE_CLOSED
            and lines[line]["closed_at"] < horizon
            and lines[line]["available_cents"] == lines[line]["limit_cents"]
            and not line_is_used(state.loans, state.applicants[applicant]["first_loan"], line)
        ):
            free_line(state.partition, state.applicants, lines, line)
        line = after


@kernel
def sweep(state: State, rows: int, window_ms_max: int) -> None:
    """Look at the next `rows` applicants and ids. Reads partition time; writes pool, loans, lines,
    ids, applicants.
    """
    partition = state.partition
    applicants = state.applicants
    horizon = partition[0]["time"] - window_ms_max - LATE_MS_MAX
    count = applicants.shape[0]
    row = i64(partition[0]["sweep_applicant"])
    for _ in range(min(rows, count)):
        if applicants[row]["used"] == 1:
            drop_old_pages(partition, applicants, state.pages, row, horizon)
            _retire_loans(state, row)
            _retire_lines(state, row)
            if (
                applicants[row]["first_page"] < 0
                and applicants[row]["first_line"] < 0
                and applicants[row]["first_loan"] < 0
                and applicants[row]["open_offers"] == 0
                and applicants[row]["last_at"] < partition[0]["time"] - IDLE_MS
            ):
                free_applicant(partition, state.applicant_slots, applicants, row)
        row += 1
        if row == count:
            row = 0
    partition[0]["sweep_applicant"] = row
    sweep_ids(partition, state.loans, state.ids, rows)
