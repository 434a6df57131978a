"""What an applicant answers to an offer, and what happens when no answer comes."""

from streams.buffers import Array, Out
from streams.codec.encode import Names
from streams.compile import i64, kernel
from streams.counters import EXPIRED
from streams.funding.leases import draw
from streams.funding.life import OFFER_NEXT
from streams.funding.moves import (
    NO_SEGMENT,
    emit_move,
    end_offer,
    give_up_reservation,
    leave_reservation,
    remove_offer,
)
from streams.limits import LATE_MS_MAX
from streams.schema import CAPS, EventType, FundingMove, OfferEvent, OfferState, Refusal
from streams.state.ids import ids_have_room, remember_id
from streams.state.index import find_pair
from streams.state.loans import take_line
from streams.state.tables import State
from streams.state.timers import pop_timer, push_timer, timers_have_room

_NONE = int(Refusal.NONE)
_NO_ROOM = int(Refusal.NO_ROOM)
_UNKNOWN_OFFER = int(Refusal.UNKNOWN_OFFER)
_OFFER_EXPIRED = int(Refusal.OFFER_EXPIRED)
_WRONG_STATE = int(Refusal.WRONG_STATE)
_NOT_YOURS = int(Refusal.NOT_YOURS)
_OFFERED = int(OfferState.OFFERED)
_ACCEPTED = int(OfferState.ACCEPTED)
_DRAWN = int(OfferState.DRAWN)
_EXPIRED = int(OfferState.EXPIRED)
_OPENED = int(OfferState.OPENED)
_ON_ACCEPT = int(OfferEvent.ACCEPT)
_ON_CANCEL = int(OfferEvent.CANCEL)
_ON_EXPIRE = int(OfferEvent.EXPIRE)
_ACCEPT = int(EventType.ACCEPT)
ANY_INSTITUTION = -2  # -1 is another lender
_MOVE_DRAW = int(FundingMove.DRAW)
_MOVE_RELEASE = int(FundingMove.RELEASE)
_MOVE_EXPIRE = int(FundingMove.EXPIRE)


@kernel
def find_offer(
    state: State, events: Array, i: int, applicant: int, institution: int, step: int
) -> tuple[int, int]:
    """Return (Refusal, row) of the offer that event `i` names for a step of OFFER_LIFE.

    It must be the applicant's own, and of `institution` unless that is ANY_INSTITUTION. An offer
    has expired once partition time reaches `expires_at`, whether its timer has fired or not.
    """
    offers = state.offers
    offer = find_pair(
        state.offer_slots, offers, events[i]["reference_lo"], events[i]["reference_hi"]
    )
    if offer < 0:
        return _UNKNOWN_OFFER, -1
    if offers[offer]["applicant"] != applicant:
        return _NOT_YOURS, -1
    if institution != ANY_INSTITUTION and offers[offer]["institution"] != institution:
        return _NOT_YOURS, -1
    stands = offers[offer]["state"] == _OFFERED or offers[offer]["state"] == _ACCEPTED
    if offers[offer]["state"] == _EXPIRED:
        return _OFFER_EXPIRED, -1
    if stands and offers[offer]["expires_at"] <= state.partition[0]["time"]:
        return _OFFER_EXPIRED, -1
    if OFFER_NEXT[offers[offer]["state"], step] < 0:
        return _WRONG_STATE, -1
    return _NONE, offer


@kernel
def _has_room(state: State, offer: int, step: int) -> bool:
    """Say whether the answer finds room: its id, and what an accept opens or sets."""
    if not ids_have_room(state.partition, state.ids, 1):
        return False
    if step != _ON_ACCEPT:
        return True
    if state.offers[offer]["is_line"] == 1:
        return bool(state.partition[0]["free_line"] >= 0)
    return bool(timers_have_room(state.partition, state.timers))


@kernel
def _open_line(state: State, names: Names, out: Out, events: Array, i: int, offer: int) -> None:
    """The accepted offer of a line becomes the line; its commitment is drawn from now on."""
    offers = state.offers
    line = take_line(state.partition, state.applicants, state.lines, offers, offer)
    state.lines[line]["opened_at"] = events[i]["at"]
    cap = offers[offer]["cap"]
    amount = offers[offer]["amount_cents"]
    leave_reservation(state, offer)
    state.applicants[offers[offer]["applicant"]]["open_offers"] += 1  # end_offer takes it off
    if cap >= 0:
        institution = offers[offer]["institution"]
        draw(state.leases, institution * CAPS + cap, amount)
        emit_move(
            state, names, out, _MOVE_DRAW, institution, cap, offers[offer]["lo"],
            offers[offer]["hi"], amount, events[i]["at"], i, NO_SEGMENT, -1,
        )  # fmt: skip
    end_offer(state, offer, _OPENED)


@kernel
def apply_answer(
    state: State, names: Names, out: Out, events: Array, i: int, applicant: int
) -> int:
    """Apply the accept or cancel of event `i`. Return a Refusal, with nothing changed where it is
    one.

    An accepted line opens at once; an accepted loan waits for its money, for as long again as the
    offer stood, counted from the accept, or from partition time where the accept comes late.
    """
    step = _ON_ACCEPT if events[i]["type"] == _ACCEPT else _ON_CANCEL
    refusal, offer = find_offer(state, events, i, applicant, ANY_INSTITUTION, step)
    if refusal != _NONE:
        return refusal
    if not _has_room(state, offer, step):
        return _NO_ROOM
    # From here on nothing can fail.
    offers = state.offers
    if step == _ON_CANCEL:
        give_up_reservation(state, names, out, offer, _MOVE_RELEASE, events[i]["at"], i)
        end_offer(state, offer, OFFER_NEXT[offers[offer]["state"], _ON_CANCEL])
    elif offers[offer]["is_line"] == 1:
        _open_line(state, names, out, events, i, offer)
    else:
        offers[offer]["state"] = _ACCEPTED
        accepted_at = max(events[i]["at"], state.partition[0]["time"])
        offers[offer]["expires_at"] = accepted_at + offers[offer]["offer_ms"]
        push_timer(
            state.partition, state.timers, offers[offer]["expires_at"], offers[offer]["lo"], offer
        )
    remember_id(
        state.partition, state.ids, events[i]["key_lo"], events[i]["key_hi"],
        events[i]["at"] + LATE_MS_MAX, -1, 0,
    )  # fmt: skip
    return _NONE


@kernel
def expire_offers(state: State, names: Names, out: Out, most: int, source: int) -> None:
    """Fire timers that are due at partition time, in order, at most so many; the rest wait for the
    next tick.
    """
    partition = state.partition
    offers = state.offers
    timers = state.timers
    for _ in range(most):
        if partition[0]["timers"] == 0 or timers[0]["at"] > partition[0]["time"]:
            return
        offer = i64(timers[0]["offer"])
        same = (
            offers[offer]["lo"] == timers[0]["lo"]
            and offers[offer]["expires_at"] == timers[0]["at"]
        )
        pop_timer(partition, timers)
        if not same or offers[offer]["state"] == _DRAWN:
            continue
        if OFFER_NEXT[offers[offer]["state"], _ON_EXPIRE] >= 0:
            give_up_reservation(
                state, names, out, offer, _MOVE_EXPIRE, partition[0]["time"], source
            )
            state.counters[EXPIRED] += 1
            end_offer(state, offer, _EXPIRED)
        else:
            remove_offer(state, offer)
