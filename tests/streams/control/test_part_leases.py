"""The treasury against parts of caps by day and segment, as the step's kernels hold them."""

import random
from collections import deque
from typing import Any

import numpy as np
import pytest

from streams.control.part_leases import PartLeases
from streams.control.records import Order
from streams.funding.segments import (
    SegmentCap,
    equal_ppm,
    move_part,
    part_cents,
    segments_can_hold,
    use_segments,
    write_segments,
)
from streams.limits import DAY_MS, PPM, SEGMENT_DAYS
from streams.schema import Cap
from streams.state.tables import State, make_state
from tests.snapshot.images import SIZE

CAP_CENTS = 1_000_000
DAY = 20_000
NOW: Any = np.int64(DAY * DAY_MS)
CAPS = (
    SegmentCap("dawn", "outstanding_day", Cap.OUTSTANDING, daily=True, attribute=-1,
               products=(1 << 64) - 1, bands=(1 << 64) - 1, values=(1 << 64) - 1,
               amount_cents=CAP_CENTS, day_starts_ms=0, at_random=False),
)  # fmt: skip
SEGMENTED = (CAPS[0], CAPS[0]._replace(name="all.outstanding", daily=False))


class World:
    """Partitions as they are: each takes its orders in turn, late, and writes its moves."""

    def __init__(self, seed: int, partitions: int) -> None:
        self.random = random.Random(seed)
        self.states: list[State] = []
        for number in range(partitions):
            state = make_state(SIZE, 1, number, partitions, 1, len(SEGMENTED))
            write_segments(state, SEGMENTED, ["dawn"])
            self.states.append(state)
        self.orders: list[deque[Order]] = [deque() for _ in range(partitions)]
        self.funding: list[dict[str, Any]] = []
        self.read = 0
        self.held: list[tuple[int, int]] = []  # partition, amount

    def _tell(self, kind: str, partition: int, mask: int, **fields: int) -> None:
        self.funding.append({"type": kind, "institution": "dawn", "partition": partition,
                             "segments": mask, "day": DAY, **fields})  # fmt: skip

    def obey(self) -> None:
        """Let a partition take its next order."""
        waiting = [queue for queue in self.orders if queue]
        if not waiting:
            return
        order = self.random.choice(waiting).popleft()
        state, share = self.states[order.partition], order.share
        wanted = share.part_ppm if order.verb == "grant" else -share.part_ppm
        moved = move_part(
            state.institutions, state.segments, 0, share.segment, share.day, wanted, NOW
        )
        kind = "grant" if order.verb == "grant" else "lease-return"
        self._tell(kind, order.partition, 1 << share.segment, amount_cents=0,
                   part_ppm=abs(int(moved)))  # fmt: skip

    def ask(self, most: int, *, give_back: bool) -> None:
        """Let somebody ask for money where most ask, or give up what was reserved."""
        if give_back and self.held and self.random.random() < 0.3:
            partition, amount = self.held.pop(self.random.randrange(len(self.held)))
            use_segments(self.states[partition], 0, np.uint64(3), DAY, -amount)
            self._tell("release", partition, 3, amount_cents=amount)
            return
        partition = min(int(self.random.expovariate(0.8)), len(self.states) - 1)
        amount = self.random.randint(1, most)
        state = self.states[partition]
        if segments_can_hold(state, 0, np.uint64(3), DAY, amount):
            use_segments(state, 0, np.uint64(3), DAY, amount)
            self._tell("reserve", partition, 3, amount_cents=amount)
            self.held.append((partition, amount))

    def used(self) -> int:
        """Return what is promised of either cap, cents."""
        return sum(amount for _, amount in self.held)

    def check(self) -> None:
        """No cap is exceeded, whatever part lies where, and no part holds less than its use."""
        assert self.used() <= CAP_CENTS
        for row, place in ((0, DAY % SEGMENT_DAYS), (1, 0)):
            parts = [
                int(each.segments[row]["equal_ppm"] + each.segments[row]["moved_ppm"][place])
                for each in self.states
            ]
            coming = sum(
                order.share.part_ppm
                for queue in self.orders
                for order in queue
                if order.verb == "grant" and order.share.segment == row
            )
            assert sum(parts) + coming <= PPM
            assert min(parts) >= 0
            for state, part in zip(self.states, parts, strict=True):
                assert state.segments[row]["used_cents"][place] <= part_cents(CAP_CENTS, part)


@pytest.mark.kernel
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("partitions", [1, 3, 8])
def test_at_least_99_percent_of_a_cap_by_day_or_segment_can_be_filled(
    seed: int, partitions: int
) -> None:
    """However unevenly partitions are asked, with orders late and the treasury dying, no such cap
    is exceeded, and requests of a thousandth of it fill 99 %.
    """
    world, treasury = World(seed, partitions), PartLeases(SEGMENTED, partitions)
    for turn in range(40_000):
        world.ask(CAP_CENTS // 1_000, give_back=turn < 1_500)
        if turn % 3 == 0:
            world.obey()
        if turn % 10 == 0:
            for move in world.funding[world.read :]:
                treasury.take(move)
            world.read = len(world.funding)
            for order in treasury.plan():
                world.orders[order.partition].append(order)
            if world.random.random() < 0.1:
                treasury = PartLeases(SEGMENTED, partitions, treasury.kept())
                for move in world.funding:
                    treasury.take(move)
            world.check()
        if world.used() >= 0.99 * CAP_CENTS:
            break
    assert world.used() >= 0.99 * CAP_CENTS


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("segment", "day", "time", "wanted", "moved"),
    [
        (0, DAY, NOW, 100_000, 100_000),
        (0, DAY, NOW, 600_000, 500_000),  # never more than the whole cap
        (0, DAY, NOW, -600_000, -500_000),
        (0, DAY + 1, NOW, -100_000, -100_000),
        (0, DAY - 8, NOW, -100_000, -100_000),
        (0, DAY + 2, NOW, -100_000, 0),
        (0, DAY - 9, NOW, 100_000, 0),
        (1, 0, NOW, -100_000, -100_000),
        (2, 0, NOW, -100_000, 0),
    ],
)
def test_a_part_moves_where_it_is_known(
    segment: int, day: int, time: int, wanted: int, moved: int
) -> None:
    """A part that is used goes nowhere, nor one of a day that no request may name now, nor one of a
    cap that there is not.
    """
    state = World(1, 2).states[0]
    assert move_part(state.institutions, state.segments, 0, segment, day, wanted, time) == moved


def test_a_day_that_is_past_is_forgotten() -> None:
    """What is kept holds no day that no request can name any more, so it does not grow."""
    treasury = PartLeases(SEGMENTED, 2)
    for day in range(DAY, DAY + 40):
        for partition, amount in ((0, 480_000), (1, 1)):
            treasury.take({"type": "reserve", "institution": "dawn", "partition": partition,
                           "segments": 1, "day": day, "amount_cents": amount})  # fmt: skip
        assert [order.verb for order in treasury.plan()] == ["recall"]
    assert len(treasury.kept()) == SEGMENT_DAYS
    assert sum(equal_ppm(n, 2) for n in range(2)) == PPM == treasury.held_ppm("dawn", 0, DAY + 39)
