"""Write a move on a lease to `dipper.funding`, and the way every offer ends."""

import numpy as np

from streams.buffers import Out
from streams.codec.encode import Names, put_funding
from streams.compile import kernel
from streams.funding.leases import balanced, release
from streams.funding.segments import use_segments
from streams.limits import LATE_MS_MAX
from streams.schema import CAPS, FundingMove, OfferState
from streams.state.free import chain_free
from streams.state.index import delete_slot
from streams.state.tables import State
from streams.state.timers import push_timer, timers_have_room

_OFFERED = int(OfferState.OFFERED)
_ACCEPTED = int(OfferState.ACCEPTED)
_FREE = int(OfferState.FREE)
_RELEASE = int(FundingMove.RELEASE)
NO_SEGMENT = np.uint64(0)


@kernel
def emit_move(
    state: State,
    names: Names,
    out: Out,
    move: int,
    institution: int,
    cap: int,
    lo: np.uint64 | int,
    hi: np.uint64 | int,
    amount_cents: int,
    at: int,
    source: int,
    segments: np.uint64,
    day: int,
) -> None:
    """Count the move, check that the lease still balances, and write the record unless output is
    off. It counts on `segments`, and of those by day only on `day` (-1: on none of them).
    """
    partition = state.partition
    partition[0]["funding_seq"] += 1
    assert balanced(state.leases, institution * CAPS + cap)
    if partition[0]["mute"] == 0:
        put_funding(
            out, names, state.leases, institution, cap, move, lo, hi, amount_cents,
            partition[0]["funding_seq"], at, partition[0]["number"], source,
            segments, day, -1,
        )  # fmt: skip


@kernel
def emit_part(
    state: State, names: Names, out: Out, move: int, institution: int, cap: int, segment: int,
    day: int, part_ppm: int, source: int,
) -> None:  # fmt: skip
    """Count and write that so much of a cap by day or segment came here, or went; no money moved.

    `segment`: its place among those of its institution.
    """
    partition = state.partition
    partition[0]["funding_seq"] += 1
    if partition[0]["mute"] == 0:
        put_funding(
            out, names, state.leases, institution, cap, move, np.uint64(0), np.uint64(0), 0,
            partition[0]["funding_seq"], partition[0]["time"], partition[0]["number"], source,
            np.uint64(1) << np.uint64(segment), day, part_ppm,
        )  # fmt: skip


@kernel
def give_up_reservation(
    state: State, names: Names, out: Out, offer: int, move: int, at: int, source: int
) -> None:
    """Release what `offer` holds: on its lease, on the line drawn on, in exposure."""
    offers = state.offers
    amount = offers[offer]["amount_cents"]
    state.applicants[offers[offer]["applicant"]]["reserved_cents"] -= amount
    line = offers[offer]["line"]
    if line >= 0:
        state.lines[line]["available_cents"] += amount
    cap = offers[offer]["cap"]
    if cap >= 0:
        institution = offers[offer]["institution"]
        release(state.leases, institution * CAPS + cap, amount)
        use_segments(state, institution, offers[offer]["segments"], offers[offer]["day"], -amount)
        emit_move(
            state, names, out, move, institution, cap, offers[offer]["lo"], offers[offer]["hi"],
            amount, at, source, offers[offer]["segments"], offers[offer]["day"],
        )  # fmt: skip


@kernel
def end_offer(state: State, offer: int, next_state: int) -> None:
    """Move an offer to an end state; its row stays for L, so that a late answer is told what
    happened.
    """
    offers = state.offers
    applicant = offers[offer]["applicant"]
    if offers[offer]["state"] in (_OFFERED, _ACCEPTED):
        state.applicants[applicant]["open_offers"] -= 1
    # Not idle: an applicant must not retire while a row of an offer names it.
    state.applicants[applicant]["last_at"] = max(
        state.applicants[applicant]["last_at"], state.partition[0]["time"]
    )
    offers[offer]["state"] = next_state
    offers[offer]["expires_at"] = state.partition[0]["time"] + LATE_MS_MAX
    if timers_have_room(state.partition, state.timers):
        push_timer(
            state.partition, state.timers, offers[offer]["expires_at"], offers[offer]["lo"], offer
        )
    else:
        remove_offer(state, offer)


@kernel
def remove_offer(state: State, offer: int) -> None:
    """Give the row of an ended offer back."""
    offers = state.offers
    delete_slot(state.offer_slots, offers[offer]["lo"], offer)
    offers[offer]["state"] = _FREE
    offers[offer]["lo"] = np.uint64(0)
    offers[offer]["hi"] = np.uint64(0)
    chain_free(offers["next"], offer, state.partition[0]["free_offer"])
    state.partition[0]["free_offer"] = offer
    state.partition[0]["offers_used"] -= 1


@kernel
def leave_reservation(state: State, offer: int) -> None:
    """An offer stops being open without its money coming back: it was drawn."""
    applicant = state.offers[offer]["applicant"]
    state.applicants[applicant]["open_offers"] -= 1
    state.applicants[applicant]["reserved_cents"] -= state.offers[offer]["amount_cents"]
