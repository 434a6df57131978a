"""What happens to a loan: ours moves money on its lease and its line, another lender's is history.

`paid_cents` counts all that reached the dues, `outstanding_cents` only principal: only principal
releases money. First a ladder of checks in the order of `schema.Refusal`, then the writes, which
cannot fail.
"""

from streams.buffers import Array, Out
from streams.codec.encode import Names
from streams.compile import i64, kernel
from streams.funding.answers import find_offer
from streams.funding.leases import draw, release, repay, reverse
from streams.funding.life import LOAN_NEXT
from streams.funding.moves import (
    NO_SEGMENT,
    emit_move,
    end_offer,
    give_up_reservation,
    leave_reservation,
)
from streams.funding.segments import use_segments
from streams.limits import LATE_MS_MAX, LOAN_PAID_CENTS_MAX
from streams.schema import CAPS, FundingMove, LoanStep, OfferEvent, OfferState, Refusal
from streams.state.ids import ids_have_room, remember_id
from streams.state.index import find_pair
from streams.state.loans import add_due, dues_have_room, settle_dues, take_loan
from streams.state.tables import State

_NONE = int(Refusal.NONE)
_NO_ROOM = int(Refusal.NO_ROOM)
_WRONG_STATE = int(Refusal.WRONG_STATE)
_UNKNOWN_LOAN = int(Refusal.UNKNOWN_LOAN)
_BAD_AMOUNT = int(Refusal.BAD_AMOUNT)
_DISBURSED = int(LoanStep.DISBURSED)
_DISBURSE_FAILED = int(LoanStep.DISBURSE_FAILED)
_DUE = int(LoanStep.DUE)
_PAYMENT = int(LoanStep.PAYMENT)
_REFUND = int(LoanStep.REFUND)
_REVERSAL = int(LoanStep.REVERSAL)
_WRITTEN_OFF = int(LoanStep.WRITTEN_OFF)
_CLOSED = int(LoanStep.CLOSED)
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
def _check_disbursed(state: State, events: Array, i: int, applicant: int) -> tuple[int, int]:
    """Return (Refusal, row of the offer that is drawn, -1 where another lender's money left)."""
    offer = i64(-1)
    if events[i]["issuer"] >= 0:
        refusal, offer = find_offer(state, events, i, applicant, events[i]["issuer"], _ON_DISBURSE)
        if refusal != _NONE:
            return refusal, -1
    if find_pair(state.loan_slots, state.loans, events[i]["loan_lo"], events[i]["loan_hi"]) >= 0:
        return _WRONG_STATE, -1
    if offer >= 0:
        principal = events[i]["principal_cents"]
        if principal < 1 or principal > state.offers[offer]["amount_cents"]:
            return _BAD_AMOUNT, -1
    if state.partition[0]["free_loan"] < 0 or not ids_have_room(state.partition, state.ids, 1):
        return _NO_ROOM, -1
    return _NONE, offer


@kernel
def _check_failed(state: State, events: Array, i: int, applicant: int) -> tuple[int, int]:
    """Return (Refusal, row of the offer whose money did not leave)."""
    refusal, offer = find_offer(state, events, i, applicant, events[i]["issuer"], _ON_FAIL)
    if refusal == _NONE and not ids_have_room(state.partition, state.ids, 1):
        return _NO_ROOM, -1
    return refusal, offer


@kernel
def _check_step(state: State, events: Array, i: int, applicant: int) -> tuple[int, int]:
    """Return (Refusal, row of the loan) for a step of a loan that is known.

    Ours closes only when its principal is back, since only principal releases; and what is paid or
    taken back must fit what is owed. Another lender's books need not fit ours, but nobody takes
    back more than was paid.
    """
    loans = state.loans
    loan = find_pair(state.loan_slots, loans, events[i]["loan_lo"], events[i]["loan_hi"])
    if loan < 0:
        return _UNKNOWN_LOAN, -1
    assert loans[loan]["applicant"] == applicant
    step = events[i]["step"]
    ours = loans[loan]["institution"] >= 0
    if LOAN_NEXT[loans[loan]["state"], step] < 0:
        return _WRONG_STATE, -1
    if step == _CLOSED and ours and loans[loan]["outstanding_cents"] > 0:
        return _WRONG_STATE, -1
    principal = events[i]["principal_cents"]
    owed = loans[loan]["outstanding_cents"]
    if step in (_PAYMENT, _REFUND) and ours and principal > owed:
        return _BAD_AMOUNT, -1
    if step in (_PAYMENT, _REFUND):
        if _amount(events, i) > LOAN_PAID_CENTS_MAX - loans[loan]["paid_cents"]:
            return _BAD_AMOUNT, -1
    if step == _REVERSAL:
        if _amount(events, i) > loans[loan]["paid_cents"]:
            return _BAD_AMOUNT, -1
        if ours and owed + principal > loans[loan]["principal_cents"]:
            return _BAD_AMOUNT, -1
    if step == _DUE and not dues_have_room(state.partition, loans, loan):
        return _NO_ROOM, -1
    if not ids_have_room(state.partition, state.ids, 1):
        return _NO_ROOM, -1
    return _NONE, loan


@kernel
def _amount(events: Array, i: int) -> int:
    """Return the whole of a due or a payment: principal, interest, fees and penalties."""
    return (
        events[i]["principal_cents"]
        + events[i]["interest_cents"]
        + events[i]["fee_cents"]
        + events[i]["penalty_cents"]
    )


@kernel
def _disburse(
    state: State, names: Names, out: Out, events: Array, i: int, offer: int, loan: int
) -> None:
    """Our own money leaves: the offer is drawn; what was reserved above the principal comes
    free.
    """
    offers = state.offers
    principal = events[i]["principal_cents"]
    amount = offers[offer]["amount_cents"]
    line = offers[offer]["line"]
    state.loans[loan]["offer"] = offer
    state.loans[loan]["line"] = line
    leave_reservation(state, offer)
    offers[offer]["state"] = _DRAWN
    offers[offer]["outstanding_cents"] = principal
    if line >= 0:
        state.lines[line]["available_cents"] += amount - principal
    cap = offers[offer]["cap"]
    institution = offers[offer]["institution"]
    lease = institution * CAPS + cap
    lo = offers[offer]["lo"]
    hi = offers[offer]["hi"]
    draw(state.leases, lease, principal)
    emit_move(
        state, names, out, _MOVE_DRAW, institution, cap, lo, hi, principal, events[i]["at"], i,
        NO_SEGMENT, -1,
    )  # fmt: skip
    if principal < amount:
        rest = amount - principal
        release(state.leases, lease, rest)
        use_segments(state, institution, offers[offer]["segments"], offers[offer]["day"], -rest)
        emit_move(
            state, names, out, _MOVE_RELEASE, institution, cap, lo, hi, rest, events[i]["at"], i,
            offers[offer]["segments"], offers[offer]["day"],
        )  # fmt: skip


@kernel
def _begin(
    state: State, names: Names, out: Out, events: Array, i: int, applicant: int, offer: int
) -> int:
    """A loan begins, drawn from `offer` or (-1) another lender's. Return its row."""
    loan = take_loan(
        state.partition, state.applicants, state.loans, state.loan_slots, applicant,
        events[i]["loan_lo"], events[i]["loan_hi"], events[i]["issuer"], events[i]["at"],
        events[i]["principal_cents"],
    )  # fmt: skip
    if offer >= 0:
        _disburse(state, names, out, events, i, offer, loan)
    return loan


@kernel
def _move_principal(
    state: State, names: Names, out: Out, events: Array, i: int, loan: int, amount_cents: int
) -> None:
    """Principal of a loan comes back (positive) or is taken back by a reversal (negative)."""
    loans = state.loans
    loans[loan]["outstanding_cents"] -= amount_cents
    if loans[loan]["institution"] < 0 or amount_cents == 0:
        return
    line = loans[loan]["line"]
    if line >= 0:
        state.lines[line]["available_cents"] += amount_cents
    offer = loans[loan]["offer"]
    offers = state.offers
    offers[offer]["outstanding_cents"] -= amount_cents
    institution = offers[offer]["institution"]
    cap = offers[offer]["cap"]
    lease = institution * CAPS + cap
    if amount_cents > 0:
        repay(state.leases, lease, amount_cents)
    else:
        reverse(state.leases, lease, -amount_cents)
    # Principal that comes back, or is lent again, is no promise of that day.
    use_segments(state, institution, offers[offer]["segments"], -1, -amount_cents)
    emit_move(
        state, names, out, _MOVE_REPAY if amount_cents > 0 else _MOVE_REVERSE, institution, cap,
        offers[offer]["lo"], offers[offer]["hi"], abs(amount_cents), events[i]["at"], i,
        offers[offer]["segments"], -1,
    )  # fmt: skip


@kernel
def _pay(state: State, names: Names, out: Out, events: Array, i: int, loan: int) -> None:
    """A payment, a refund, or the reversal of one. Principal beyond what is owed, or beyond what
    has come back, counts as other money: only another lender's books have it.
    """
    loans = state.loans
    principal = events[i]["principal_cents"]
    owed = loans[loan]["outstanding_cents"]
    if events[i]["step"] == _REVERSAL:
        loans[loan]["paid_cents"] -= _amount(events, i)
        taken = min(principal, loans[loan]["principal_cents"] - owed)
        _move_principal(state, names, out, events, i, loan, -taken)
    else:
        loans[loan]["paid_cents"] += _amount(events, i)
        _move_principal(state, names, out, events, i, loan, min(principal, owed))
    settle_dues(loans, state.dues, loan, events[i]["at"])


@kernel
def _go_on(state: State, names: Names, out: Out, events: Array, i: int, loan: int) -> None:
    """Apply a step of a known loan that was checked."""
    loans = state.loans
    step = events[i]["step"]
    if step == _DUE:
        add_due(state.partition, loans, state.dues, loan, events[i]["due_at"], _amount(events, i))
        settle_dues(loans, state.dues, loan, events[i]["at"])
    elif step == _WRITTEN_OFF:
        loans[loan]["closed_at"] = events[i]["at"]
    elif step == _CLOSED:
        loans[loan]["closed_at"] = events[i]["at"]
        if loans[loan]["offer"] >= 0:
            end_offer(state, loans[loan]["offer"], _REPAID)
            loans[loan]["offer"] = -1
    else:
        _pay(state, names, out, events, i, loan)
    loans[loan]["state"] = LOAN_NEXT[loans[loan]["state"], step]


@kernel
def apply_loan(state: State, names: Names, out: Out, events: Array, i: int, applicant: int) -> int:
    """Apply the loan event `i`. Return a Refusal, with nothing changed where it is one.

    Its id is remembered as long as its loan is known; that of a failed disbursement, which leaves
    no loan, for L.
    """
    if events[i]["step"] == _DISBURSED:
        refusal, offer = _check_disbursed(state, events, i, applicant)
    elif events[i]["step"] == _DISBURSE_FAILED:
        refusal, offer = _check_failed(state, events, i, applicant)
    else:
        refusal, loan = _check_step(state, events, i, applicant)
    if refusal != _NONE:
        return refusal
    # From here on nothing can fail.
    generation = i64(0)
    if events[i]["step"] == _DISBURSED:
        loan = _begin(state, names, out, events, i, applicant, offer)
    elif events[i]["step"] == _DISBURSE_FAILED:
        give_up_reservation(state, names, out, offer, _MOVE_RELEASE, events[i]["at"], i)
        end_offer(state, offer, _FAILED)
        loan = i64(-1)
    else:
        _go_on(state, names, out, events, i, loan)
    if loan >= 0:
        generation = state.loans[loan]["generation"]
    remember_id(
        state.partition, state.ids, events[i]["key_lo"], events[i]["key_hi"],
        max(events[i]["at"], state.partition[0]["time"]) + LATE_MS_MAX, loan, generation,
    )  # fmt: skip
    return _NONE
