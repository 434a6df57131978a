"""What happens to a loan: ours moves money on its lease and its line, another lender's is history.

`paid_cents` counts all that reached the dues, `outstanding_cents` only principal: only principal
releases money.
"""

from streams.buffers import Array, Out
from streams.codec.encode import Names
from streams.compile import i64, kernel
from streams.funding.answers import find_offer
from streams.funding.leases import draw, release, repay, reverse
from streams.funding.life import LOAN_NEXT
from streams.funding.moves import (
    emit_move,
    end_offer,
    give_up_reservation,
    leave_reservation,
)
from streams.limits import LATE_MS_MAX
from streams.schema import CAPS, FundingMove, LoanState, LoanStep, OfferEvent, OfferState, Refusal
from streams.state.ids import ids_have_room, remember_id
from streams.state.index import find_pair
from streams.state.loans import add_due, settle_dues, take_loan
from streams.state.tables import State

_NONE = int(Refusal.NONE)
_NO_ROOM = int(Refusal.NO_ROOM)
_WRONG_STATE = int(Refusal.WRONG_STATE)
_NOT_YOURS = int(Refusal.NOT_YOURS)
_UNKNOWN_LOAN = int(Refusal.UNKNOWN_LOAN)
_OUT_OF_RANGE = int(Refusal.OUT_OF_RANGE)
_DISBURSED = int(LoanStep.DISBURSED)
_DISBURSE_FAILED = int(LoanStep.DISBURSE_FAILED)
_DUE = int(LoanStep.DUE)
_PAYMENT = int(LoanStep.PAYMENT)
_REFUND = int(LoanStep.REFUND)
_REVERSAL = int(LoanStep.REVERSAL)
_CLOSED_STEP = int(LoanStep.CLOSED)
_CLOSED = int(LoanState.CLOSED)
_ON_DISBURSE = int(OfferEvent.DISBURSE)
_ON_FAIL = int(OfferEvent.FAIL)
_DRAWN = int(OfferState.DRAWN)
_FAILED = int(OfferState.FAILED)
_REPAID = int(OfferState.REPAID)
_MOVE_DRAW = int(FundingMove.DRAW)
_MOVE_RELEASE = int(FundingMove.RELEASE)
_MOVE_REPAY = int(FundingMove.REPAY)
_MOVE_REVERSE = int(FundingMove.REVERSE)


@kernel
def _disburse(
    state: State, names: Names, out: Out, events: Array, i: int, applicant: int
) -> tuple[int, int]:
    """Our own money leaves: the offer is drawn. Return (Refusal, loan row)."""
    offers = state.offers
    refusal, offer = find_offer(state, events, i, applicant, _ON_DISBURSE)
    if refusal != _NONE:
        return refusal, -1
    if offers[offer].institution != events[i].issuer:
        return _NOT_YOURS, -1
    principal = events[i].principal_cents
    amount = offers[offer].amount_cents
    if principal < 1 or principal > amount:
        return _OUT_OF_RANGE, -1
    loan = take_loan(
        state.partition, state.applicants, state.loans, state.loan_slots, applicant,
        events[i].loan_lo, events[i].loan_hi, events[i].issuer, events[i].at, principal,
    )  # fmt: skip
    state.loans[loan].offer = offer
    line = offers[offer].line
    state.loans[loan].line = line
    leave_reservation(state, offer)
    offers[offer].state = _DRAWN
    offers[offer].outstanding_cents = principal
    if line >= 0:
        state.lines[line].available_cents += amount - principal
    cap = offers[offer].cap
    institution = offers[offer].institution
    lease = institution * CAPS + cap
    lo = offers[offer].lo
    hi = offers[offer].hi
    draw(state.leases, lease, principal)
    emit_move(state, names, out, _MOVE_DRAW, institution, cap, lo, hi, principal, events[i].at, i)
    if principal < amount:
        rest = amount - principal
        release(state.leases, lease, rest)
        emit_move(state, names, out, _MOVE_RELEASE, institution, cap, lo, hi, rest, events[i].at, i)
    return _NONE, loan


@kernel
def _open(
    state: State, names: Names, out: Out, events: Array, i: int, applicant: int
) -> tuple[int, int]:
    """A loan begins. Return (Refusal, loan row)."""
    if find_pair(state.loan_slots, state.loans, events[i].loan_lo, events[i].loan_hi) >= 0:
        return _WRONG_STATE, -1
    if state.partition[0].free_loan < 0:
        return _NO_ROOM, -1
    if events[i].issuer >= 0:
        return _disburse(state, names, out, events, i, applicant)
    loan = take_loan(
        state.partition, state.applicants, state.loans, state.loan_slots, applicant,
        events[i].loan_lo, events[i].loan_hi, -1, events[i].at, events[i].principal_cents,
    )  # fmt: skip
    return _NONE, loan


@kernel
def _move_principal(
    state: State, names: Names, out: Out, events: Array, i: int, loan: int, amount_cents: int
) -> None:
    """Principal of a loan comes back (positive) or is taken back by a reversal (negative)."""
    loans = state.loans
    loans[loan].outstanding_cents -= amount_cents
    if loans[loan].institution < 0 or amount_cents == 0:
        return
    line = loans[loan].line
    if line >= 0:
        state.lines[line].available_cents += amount_cents
    offer = loans[loan].offer
    offers = state.offers
    offers[offer].outstanding_cents -= amount_cents
    institution = offers[offer].institution
    cap = offers[offer].cap
    lease = institution * CAPS + cap
    if amount_cents > 0:
        repay(state.leases, lease, amount_cents)
    else:
        reverse(state.leases, lease, -amount_cents)
    emit_move(
        state, names, out, _MOVE_REPAY if amount_cents > 0 else _MOVE_REVERSE, institution, cap,
        offers[offer].lo, offers[offer].hi, abs(amount_cents), events[i].at, i,
    )  # fmt: skip


@kernel
def _pay(state: State, names: Names, out: Out, events: Array, i: int, loan: int) -> int:
    """A payment, a refund, or the reversal of one. Return a Refusal."""
    loans = state.loans
    step = events[i].step
    principal = events[i].principal_cents
    other = events[i].interest_cents + events[i].fee_cents + events[i].penalty_cents
    if step == _REVERSAL:
        if loans[loan].outstanding_cents + principal > loans[loan].principal_cents:
            return _OUT_OF_RANGE
        if principal + other > loans[loan].paid_cents:
            return _OUT_OF_RANGE
        loans[loan].paid_cents -= principal + other
        _move_principal(state, names, out, events, i, loan, -principal)
    else:
        if principal > loans[loan].outstanding_cents:
            if loans[loan].institution >= 0:
                return _OUT_OF_RANGE
            # Another lender's books need not fit ours: what is above the principal counts as other.
            other += principal - loans[loan].outstanding_cents
            principal = loans[loan].outstanding_cents
        loans[loan].paid_cents += principal + other
        _move_principal(state, names, out, events, i, loan, principal)
    settle_dues(loans, state.dues, loan, events[i].at)
    return _NONE


@kernel
def _close(state: State, events: Array, i: int, loan: int) -> int:
    """A loan ends; ours only when its principal is back, since only principal releases. Return a
    Refusal.
    """
    loans = state.loans
    if loans[loan].institution >= 0:
        if loans[loan].outstanding_cents > 0:
            return _WRONG_STATE
        end_offer(state, loans[loan].offer, _REPAID)
        loans[loan].offer = -1
    loans[loan].closed_at = events[i].at
    return _NONE


@kernel
def _go_on(
    state: State, names: Names, out: Out, events: Array, i: int, applicant: int
) -> tuple[int, int]:
    """A step of a loan that is known. Return (Refusal, loan row)."""
    loans = state.loans
    loan = find_pair(state.loan_slots, loans, events[i].loan_lo, events[i].loan_hi)
    if loan < 0:
        return _UNKNOWN_LOAN, -1
    assert loans[loan].applicant == applicant
    step = events[i].step
    after = LOAN_NEXT[loans[loan].state, step]
    if after < 0:
        return _WRONG_STATE, -1
    refusal = _NONE
    if step == _DUE:
        amount = (
            events[i].principal_cents
            + events[i].interest_cents
            + events[i].fee_cents
            + events[i].penalty_cents
        )
        if not add_due(state.partition, loans, state.dues, loan, events[i].due_at, amount):
            refusal = _NO_ROOM
        else:
            settle_dues(loans, state.dues, loan, events[i].at)
    elif step in (_PAYMENT, _REFUND, _REVERSAL):
        refusal = _pay(state, names, out, events, i, loan)
    elif step == _CLOSED_STEP:
        refusal = _close(state, events, i, loan)
    if refusal == _NONE:
        loans[loan].state = after
    return refusal, loan


@kernel
def apply_loan(state: State, names: Names, out: Out, events: Array, i: int, applicant: int) -> int:
    """Apply the loan event `i`. Return a Refusal, with nothing changed where it is one."""
    if not ids_have_room(state.partition, state.ids, 1):
        return _NO_ROOM
    loan = i64(-1)
    if events[i].step == _DISBURSED:
        refusal, loan = _open(state, names, out, events, i, applicant)
    elif events[i].step == _DISBURSE_FAILED:
        refusal, offer = find_offer(state, events, i, applicant, _ON_FAIL)
        if refusal == _NONE and state.offers[offer].institution != events[i].issuer:
            refusal = _NOT_YOURS
        if refusal == _NONE:
            give_up_reservation(state, names, out, offer, _MOVE_RELEASE, events[i].at, i)
            end_offer(state, offer, _FAILED)
    else:
        refusal, loan = _go_on(state, names, out, events, i, applicant)
    if refusal != _NONE:
        return refusal
    generation = state.loans[loan].generation if loan >= 0 else 0
    remember_id(
        state.partition, state.ids, events[i].key_lo, events[i].key_hi,
        events[i].at + LATE_MS_MAX, loan, generation,
    )  # fmt: skip
    return _NONE
