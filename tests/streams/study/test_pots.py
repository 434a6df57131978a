"""The pots of a what-if against the same said with lists and a loop over all requests."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.schema import CAPS, VERDICT
from streams.study.pots import Pots, come_back, take

pytestmark = pytest.mark.kernel

_INSTITUTIONS = 2
_OFFER_MS = 40

# After the request before, who offers, on which cap, how much; who funded it, what came back when.
_Asked = tuple[int, int, int, int, int, list[tuple[int, int]]]

_requests = st.lists(
    st.tuples(
        st.integers(0, 30),
        st.integers(0, _INSTITUTIONS - 1),
        st.integers(-1, CAPS - 1),
        st.integers(1, 900),
        st.integers(-1, _INSTITUTIONS - 1),  # who funded it in the replay
        st.lists(st.tuples(st.integers(0, 60), st.integers(-300, 300)), max_size=3),
    ),
    min_size=1,
    max_size=25,
)


def _make(asked: list[_Asked], clock: list[int]) -> Pots:
    count = len(asked)
    moves = [
        (clock[row] + wait, cents) for row, each in enumerate(asked) for wait, cents in each[5]
    ]
    ends = np.cumsum([0, *(len(each[5]) for each in asked)])
    nodes = count + len(moves)
    return Pots(
        free_cents=np.full(_INSTITUTIONS * CAPS, 1_500, np.int64),
        clock_ms=np.array(clock, np.int64),
        base=np.zeros(1, np.int64),
        funder=np.array([each[4] for each in asked], np.int64),
        funded_cents=np.full(count, 600, np.int64),
        move_start=ends.astype(np.int64),
        move_row=np.searchsorted(clock, [at for at, _ in moves]).astype(np.int64),
        move_cents=np.array([cents for _, cents in moves], np.int64),
        head=np.full(count + 1, -1, np.int64),
        next=np.full(nodes, -1, np.int64),
        lease=np.zeros(nodes, np.int64),
        cents=np.zeros(nodes, np.int64),
    )


@given(_requests)
def test_a_what_if_s_money_goes_and_comes_back_as_a_list_of_moves_says(
    asked: list[_Asked],
) -> None:
    """An offer takes its amount where the pot holds it. It comes back by the moves of the replay,
    in proportion, where that funded the same; else at the first request after the offer ran out.
    """
    clock = np.cumsum([each[0] for each in asked]).tolist()
    pots = _make(asked, clock)
    free: dict[tuple[int, int], int] = defaultdict(lambda: 1_500)
    back: list[tuple[int, tuple[int, int], int]] = []  # request before which, pot, cents
    verdict = np.zeros(1, VERDICT)
    for row, (_, institution, cap, amount, funder, moves) in enumerate(asked):
        for _, pot, cents in (each for each in back if each[0] == row):
            free[pot] += cents
        come_back(pots, row)
        verdict[0]["institution"], verdict[0]["cap"] = institution, cap
        verdict[0]["amount_cents"], verdict[0]["offer_ms"] = amount, _OFFER_MS
        pot = (institution, cap)
        enough = cap < 0 or free[pot] >= amount
        assert take(pots, row, clock[row], verdict) == enough
        if enough and cap >= 0:
            free[pot] -= amount
            told = (
                [(clock[row] + wait, cents) for wait, cents in moves]
                if funder == institution
                else [(clock[row] + _OFFER_MS, 600)]
            )
            for at, cents in told:
                later = [n for n in range(row + 1, len(clock)) if clock[n] >= at]
                part = abs(cents) * amount // 600
                back += [(n, pot, part if cents > 0 else -part) for n in later[:1]]
        expected = [free[i, c] for i in range(_INSTITUTIONS) for c in range(CAPS)]
        assert pots.free_cents.tolist() == expected
