"""Stage 9: the only writes of a decision.

Reads the verdicts and the offer that funding chose; writes the offer's row and timer, the lease,
the line drawn on, the applicant's exposure. From the first write on nothing can fail:
what could is asked before.
"""

import numpy as np

from models.policy.reasons import LINE_UNKNOWN, NO_INSTITUTION, NO_ROOM
from streams.buffers import Array
from streams.compile import i64, kernel
from streams.counters import HALTED_ROOM
from streams.funding.leases import reserve
from streams.funding.segments import day_of, use_segments
from streams.schema import CAPS, EventType, OfferState, Outcome
from streams.state.free import free_after
from streams.state.index import insert_slot
from streams.state.tables import State
from streams.state.timers import push_timer, timers_have_room

_APPROVED = int(Outcome.APPROVED)
_ELIGIBILITY = int(Outcome.ELIGIBILITY)
_DATA = int(Outcome.DATA)
_OFFERED = int(OfferState.OFFERED)
_ACCEPTED = int(OfferState.ACCEPTED)
_DRAWDOWN = int(EventType.DRAWDOWN)
_LINE_UNKNOWN, _NO_INSTITUTION, _NO_ROOM = LINE_UNKNOWN, NO_INSTITUTION, NO_ROOM


@kernel
def _bit(reason: int) -> np.uint64:
    return np.uint64(1) << np.uint64(reason)


@kernel
def _decline(decision: Array, verdicts: Array, candidates: int, no_line: bool) -> None:
    """Write outcome and reasons of a declined request: those of the candidate that came furthest.

    Outcome classes are ordered by how far a candidate came; of two that came as far the first
    counts.
    """
    if candidates == 0:
        decision[0]["outcome"] = _ELIGIBILITY
        decision[0]["reasons"] = _bit(_LINE_UNKNOWN if no_line else _NO_INSTITUTION)
        return
    nearest = 0
    for k in range(1, candidates):
        if verdicts[k]["outcome"] > verdicts[nearest]["outcome"]:
            nearest = k
    decision[0]["nearest"] = nearest
    decision[0]["outcome"] = verdicts[nearest]["outcome"]
    decision[0]["reasons"] = verdicts[nearest]["reasons"]


@kernel
def _write_offer(
    state: State, decision: Array, verdicts: Array, v: int, events: Array, i: int,
    applicant: int, line: int, is_line: int,
) -> None:  # fmt: skip
    """Take an offer's row and its timer, the reservation on lease and line, the applicant's
    exposure.
    """
    partition = state.partition
    offers = state.offers
    offer = i64(partition[0]["free_offer"])
    partition[0]["free_offer"] = free_after(offers["next"], offer)
    partition[0]["offers_used"] += 1
    amount = verdicts[v]["amount_cents"]
    offers[offer]["lo"] = decision[0]["lo"]
    offers[offer]["hi"] = decision[0]["hi"]
    offers[offer]["applicant"] = applicant
    offers[offer]["next"] = -1
    # A purchase on an approved line needs no second yes: it was asked for by being made.
    offers[offer]["state"] = _ACCEPTED if line >= 0 else _OFFERED
    offers[offer]["institution"] = verdicts[v]["institution"]
    offers[offer]["product"] = events[i]["product"]
    offers[offer]["channel"] = events[i]["channel"]
    offers[offer]["policy"] = verdicts[v]["policy"]
    offers[offer]["cap"] = verdicts[v]["cap"]
    offers[offer]["line"] = line
    offers[offer]["is_line"] = is_line
    offers[offer]["tenor_days"] = verdicts[v]["tenor_days"]
    offers[offer]["segments"] = decision[0]["segments"]
    offers[offer]["amount_cents"] = amount
    offers[offer]["outstanding_cents"] = 0
    offers[offer]["offer_ms"] = verdicts[v]["offer_ms"]
    offers[offer]["expires_at"] = decision[0]["expires_at"]
    insert_slot(state.offer_slots, offers[offer]["lo"], offer)
    push_timer(partition, state.timers, decision[0]["expires_at"], offers[offer]["lo"], offer)
    state.applicants[applicant]["open_offers"] += 1
    state.applicants[applicant]["reserved_cents"] += amount
    if line >= 0:
        state.lines[line]["available_cents"] -= amount
    if verdicts[v]["cap"] >= 0:
        institution = verdicts[v]["institution"]
        reserve(state.leases, institution * CAPS + verdicts[v]["cap"], amount)
        if decision[0]["segments"] != np.uint64(0):
            day = day_of(state.institutions, institution, events[i]["at"])
            offers[offer]["day"] = day
            use_segments(state, institution, decision[0]["segments"], day, amount)


@kernel
def record(
    state: State, decision: Array, verdicts: Array, candidates: int, chosen: int, events: Array,
    i: int, applicant: int, line: int, is_line: int,
) -> None:  # fmt: skip
    """Write DECISION[1] for request `i` and, where verdict `chosen` (-1: none) funds it, its offer.

    `line`: row of the line drawn on, -1; `is_line`: 1 where the product is a line.
    """
    decision[0]["lo"] = events[i]["key_lo"]
    decision[0]["hi"] = events[i]["key_hi"]
    decision[0]["line_lo"] = events[i]["reference_lo"]
    decision[0]["line_hi"] = events[i]["reference_hi"]
    decision[0]["candidates"] = candidates
    decision[0]["chosen"] = -1
    decision[0]["nearest"] = -1
    decision[0]["reasons"] = np.uint64(0)
    decision[0]["expires_at"] = 0
    if chosen < 0:
        _decline(decision, verdicts, candidates, events[i]["type"] == _DRAWDOWN and line < 0)
    elif state.partition[0]["free_offer"] < 0 or not timers_have_room(
        state.partition, state.timers
    ):
        decision[0]["outcome"] = _DATA
        decision[0]["reasons"] = _bit(_NO_ROOM)
        state.counters[HALTED_ROOM] += 1
    else:
        decision[0]["outcome"] = _APPROVED
        decision[0]["chosen"] = chosen
        decision[0]["nearest"] = chosen
        # From when it is made: a request that comes days late must not get an offer that has ended.
        made_at = max(events[i]["at"], state.partition[0]["time"])
        decision[0]["expires_at"] = made_at + verdicts[chosen]["offer_ms"]
        _write_offer(state, decision, verdicts, chosen, events, i, applicant, line, is_line)
