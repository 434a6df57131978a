"""Ids remembered, against a dict with expiry; timers against a sorted list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.state.ids import has_id, ids_have_room, remember_id, sweep_ids
from streams.state.timers import pop_timer, push_timer, timers_have_room
from tests.streams.state.build import small_state, u64

pytestmark = pytest.mark.kernel

LOANS = 2
# Key, and until when it counts: a time (0 and above) or a loan (-1, -2).
_remember = st.tuples(st.sampled_from([14, 15, 31, 0, 16, 1, 33]), st.integers(-LOANS, 9))
_steps = st.one_of(
    _remember,
    st.tuples(st.just("time"), st.integers(0, 3)),
    st.tuples(st.just("end loan"), st.integers(0, LOANS - 1)),
    st.tuples(st.just("sweep"), st.integers(1, 40)),
)


@given(st.lists(_steps, max_size=80))
def test_ids_are_a_dict_with_expiry(steps: list[tuple[int | str, int]]) -> None:
    """An id counts until its time has passed, or as long as its loan is known; a sweep changes no
    answer, and gives room back.
    """
    state = small_state()
    partition, loans, ids = state.partition, state.loans, state.ids
    loans["generation"][:LOANS] = range(1, LOANS + 1)
    known: dict[int, int] = {}  # key: until when, or -1 - loan

    def counts(key: int) -> bool:
        until = known.get(key)
        if until is None:
            return False
        return until >= partition[0]["time"] if until >= 0 else alive[-1 - until]

    alive = [True] * LOANS
    for what, value in steps:
        if what == "time":
            partition[0]["time"] += value
        elif what == "end loan":
            alive[value] = False
            loans[value]["generation"] = -1
        elif what == "sweep":
            sweep_ids(partition, loans, ids, value)
        elif isinstance(what, int) and not counts(what) and (value >= 0 or alive[-1 - value]):
            if ids_have_room(partition, ids, 1):
                loan = -1 - value if value < 0 else -1
                generation = loan + 1 if loan >= 0 else 0
                remember_id(partition, ids, u64(what), u64(1), max(value, 0), loan, generation)
                known[what] = value
        for key in (14, 15, 31, 0, 16, 1, 33):
            assert has_id(partition, loans, ids, u64(key), u64(1)) == counts(key)
            assert not has_id(partition, loans, ids, u64(key), u64(2))
        assert partition[0]["ids_used"] == ids["used"].sum()
    # Two rounds see every place, also one that an id was shifted to.
    for _ in range(2):
        sweep_ids(partition, loans, ids, 2 * len(ids))
    assert sorted(ids["lo"][ids["used"] == 1].tolist()) == sorted(k for k in known if counts(k))


def test_an_eighth_of_the_ids_stays_empty() -> None:
    """There is room until seven eighths are used."""
    state = small_state(ids=16)
    for key in range(14):
        assert ids_have_room(state.partition, state.ids, 14 - key)
        assert not ids_have_room(state.partition, state.ids, 15 - key)
        remember_id(state.partition, state.ids, u64(key), u64(0), 1, -1, 0)
    assert not ids_have_room(state.partition, state.ids, 1)


@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 5), st.integers(0, 9))), max_size=80))
def test_timers_come_in_order(steps: list[tuple[int, int] | None]) -> None:
    """The first timer is always the earliest, of one time that of the lowest id."""
    state = small_state()
    waiting: list[tuple[int, int]] = []
    for step in steps:
        assert timers_have_room(state.partition, state.timers) == (len(waiting) < 32)
        if step is None and waiting:
            waiting.remove(min(waiting))
            pop_timer(state.partition, state.timers)
        elif step is not None and len(waiting) < 32:
            waiting.append(step)
            push_timer(state.partition, state.timers, step[0], u64(step[1]), step[1] % 8)
        if waiting:
            first = state.timers[0]
            assert (first["at"], first["lo"]) == min(waiting)
            assert first["offer"] == first["lo"] % 8
        assert state.partition[0]["timers"] == len(waiting)
