"""Leases against a dataclass; what happens when timers run out, and when many offers end."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.policy.reasons import mask_of
from streams import schema
from streams.deployment import Deployment
from streams.funding import leases as kernels
from streams.funding.moves import end_offer
from streams.funding.reserve import choose_funded
from streams.schema import OfferState, Outcome
from streams.state.index import find_pair, insert_slot
from streams.state.tables import make_state
from tests.naive.books import Lease
from tests.naive.deployments import with_limits
from tests.streams.state.build import SMALL, small_state, u64
from tests.tables.desk import Desk

MOVES = ("grant", "give_back", "reserve", "draw", "release", "repay", "reverse")


def _move(lease: Lease, move: str, amount: int) -> int:
    """Do a move on the dataclass; return the amount moved, 0 where there is too little for it."""
    from_pot = {"reserve": "free", "draw": "reserved", "release": "reserved", "repay": "drawn"}
    if move == "reserve" and not lease.can_reserve(amount):
        return 0
    if move in from_pot:
        amount = min(amount, getattr(lease, from_pot[move]))
    if move == "grant":
        lease.granted += amount
        lease.come_free(amount)
    elif move == "give_back":
        amount = min(amount, lease.free)
        lease.free -= amount
        lease.returned += amount
    elif move == "reverse":
        taken = min(amount, lease.free)
        lease.drawn += amount
        lease.free -= taken
        lease.overdrawn += amount - taken
    else:
        pot = from_pot[move]
        setattr(lease, pot, getattr(lease, pot) - amount)
        if move in {"release", "repay"}:
            lease.come_free(amount)
        else:
            to = "reserved" if move == "reserve" else "drawn"
            setattr(lease, to, getattr(lease, to) + amount)
    return amount


@pytest.mark.kernel
@given(st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 10**14)), max_size=40))
def test_each_move_keeps_the_equation(moves: list[tuple[str, int]]) -> None:
    """Every move is that of the dataclass and keeps granted + overdrawn = free + reserved + drawn +
    returned; another lease is not touched.
    """
    rows, lease = np.zeros(3, schema.LEASE), Lease()
    for move, amount in moves:
        assert kernels.can_reserve(rows, 1, amount) == lease.can_reserve(amount)
        moved = _move(lease, move, amount)
        result = getattr(kernels, move)(rows, 1, amount if move == "give_back" else moved)
        assert result is None or result == moved
        assert rows[1].tolist() == tuple(vars(lease).values())
        assert kernels.balanced(rows, 1)
    assert not rows[[0, 2]].tobytes().strip(b"\0")


@pytest.mark.kernel
@given(
    st.lists(
        st.tuples(st.integers(-1, 1), st.integers(1, 9), st.booleans(), st.booleans()), max_size=6
    )
)
def test_the_first_offer_that_can_be_funded_is_chosen(
    offers: list[tuple[int, int, bool, bool]],
) -> None:
    """In order of rank: an offer of an institution that is not paused, which needs no reservation,
    or whose lease has the money and is not overdrawn; those before it lose for capacity, or since
    the institution is paused; those after it stay as they are.
    """
    count = len(offers)
    state = make_state(SMALL, count, 0, 1, 8)
    institutions, leases = state.institutions, state.leases
    verdicts, decision = np.zeros(count, schema.VERDICT), np.zeros(1, schema.DECISION)
    order = np.arange(count, dtype=np.int32)[::-1].copy()
    for row, (cap, amount, overdrawn, paused) in enumerate(offers):
        institutions[row]["paused"] = paused
        verdicts[row]["institution"], verdicts[row]["cap"] = row, cap
        verdicts[row]["amount_cents"] = amount
        if cap >= 0:
            leases[2 * row + cap]["free_cents"] = 5
            leases[2 * row + cap]["overdrawn_cents"] = overdrawn
    fits = [not off and (c < 0 or (amount <= 5 and not over)) for c, amount, over, off in offers]
    wanted = max((row for row in range(count) if fits[row]), default=-1)
    assert choose_funded(state, decision, verdicts, order, count, 0, 0, 0) == wanted
    assert decision[0]["segments"] == 0
    for row, (_, _, _, paused) in enumerate(offers):
        lost = Outcome.ELIGIBILITY if paused else Outcome.CAPACITY
        assert verdicts[row]["outcome"] == (lost if row > wanted else Outcome.APPROVED)
        reason = mask_of(["institution_paused" if paused else "capacity"])
        assert verdicts[row]["reasons"] == (reason if row > wanted else 0)


@pytest.mark.kernel
def test_an_offer_that_ends_without_a_timer_goes_at_once() -> None:
    """Where no timer is left to keep it for L, the row of an ended offer is given back."""
    state = small_state()
    for row, timers in ((0, 0), (1, len(state.timers))):
        offer = state.offers[row]
        offer["lo"], offer["state"], offer["next"] = 9 + row, OfferState.OFFERED, -1
        insert_slot(state.offer_slots, u64(9 + row), row)
        state.partition[0]["timers"] = timers
        state.applicants[0]["open_offers"] = 1
        end_offer(state, row, int(OfferState.CANCELLED))
        assert state.applicants[0]["open_offers"] == 0
    assert find_pair(state.offer_slots, state.offers, u64(9), u64(0)) == 0
    assert find_pair(state.offer_slots, state.offers, u64(10), u64(0)) == -1
    assert state.offers[:2]["state"].tolist() == [OfferState.CANCELLED, OfferState.FREE]
    assert state.partition[0]["free_offer"] == 1


@pytest.mark.timeout(900)
def test_offers_expire_in_order_so_many_a_tick(step_deployment: Deployment) -> None:
    """A tick lets so many offers expire, the earliest first; the rest wait for the next tick, and
    nobody can accept them meanwhile.
    """
    desk = Desk(with_limits(step_deployment, expiries_per_tick=2))
    made = []
    for ahead in ("+1s", "+5s", "+2s", "+4s", "+3s"):
        made.append(desk.apply(applicant="hans", amount_cents=1_000, at=ahead))
    rows = desk.step.core.state.offers
    expired: list[set[str]] = []
    for _ in range(3):
        desk.wait("+101h" if not expired else "+1ms")
        gone = rows[rows["state"] == OfferState.EXPIRED]
        expired.append({f"{int(o['hi']):016x}{int(o['lo']):016x}" for o in gone})
        assert desk.send("accept", "hans", decision=made[1]) == "offer_expired"
    wanted = [made[0], made[2], made[4], made[3], made[1]]
    assert expired == [set(wanted[:2]), set(wanted[:4]), set(wanted)]
