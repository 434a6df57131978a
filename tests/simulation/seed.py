"""One seed: a log, workers in trouble, then calm; and what stands is what plain Python says.

The log and what each of its records must give come from the naive step (`tests/naive`), which knows
nothing of batches, workers or transactions. So a decision lost, repeated, changed, or a cent too
much on any lease, is a difference.
"""

import asyncio
import ctypes
import random
from itertools import zip_longest
from typing import NamedTuple

from streams.deployment import Deployment
from streams.partition import Partition
from streams.ports import Place
from streams.step import Step
from streams.topology import EVENTS, OUT_DEAD_LETTER, STEP_OUTPUTS
from tests.naive.logs import LogMaker, verify
from tests.naive.records import Record
from tests.simulation.broker import FakeBroker
from tests.simulation.broker import Record as Stored
from tests.simulation.cluster import Cluster
from tests.simulation.loop import StuckError, run_virtual

ROWS = 120
_SETTLE_S_MAX = 120.0
_NUMBER = LogMaker.partition
_EVENTS = Place(EVENTS.name, _NUMBER)

# A seed takes the memory of some ten workers, most of which it never touches. Left to itself malloc
# begins to keep such blocks, and then zeroes all of them anew: that was half of a seed's time.
_M_MMAP_THRESHOLD, _BYTES = -3, 128 * 1024
ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _BYTES)


class Failure(NamedTuple):
    """What went wrong under a seed, and what had happened."""

    seed: int
    what: str
    events: list[str]


def run_seed(deployment: Deployment, seed: int, rows: int = ROWS) -> Failure | None:
    """Run one seed; None where all is as it must be."""
    maker = LogMaker(deployment, seed).make(rows)
    simulation = _Simulation(deployment, maker, seed)
    try:
        what = run_virtual(simulation.run())
    except StuckError as error:
        what = str(error)
    return Failure(seed, what, simulation.cluster.events) if what else None


class _Simulation:
    def __init__(self, deployment: Deployment, maker: LogMaker, seed: int) -> None:
        self._dice = random.Random(seed)
        self._maker = maker
        self._broker = FakeBroker()

        def make() -> Partition:
            return Partition(Step(deployment, _NUMBER, LogMaker.partitions, verify))

        self.cluster = Cluster(self._broker, _NUMBER, make, self._dice)

    async def run(self) -> str:
        """Return what is wrong, empty where nothing is."""
        cluster = self.cluster
        publishing = asyncio.create_task(self._publish())
        watching = asyncio.create_task(self._watch())
        await cluster.chaos(publishing)
        await cluster.calm()
        end = len(self._maker.log)
        for _ in range(int(_SETTLE_S_MAX)):
            if self._broker.committed.get(_EVENTS) == end:
                break
            cluster.keep_calm()
            await asyncio.sleep(1.0)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        failures = cluster.failures
        await cluster.end()
        if self._broker.committed.get(_EVENTS) != end:
            at = self._broker.committed.get(_EVENTS)
            return f"stands at offset {at} of {end}; {'; '.join(failures)}"
        if failures:
            return "; ".join(failures)
        return self._wrong(watching)

    async def _publish(self) -> None:
        """Append the log in batches of any size at any time."""
        at = 0
        while at < len(self._maker.log):
            size = self._dice.choice([1, 2, 5])
            rows = self._maker.log[at : at + size]
            self._broker.publish(_EVENTS, rows)
            at += len(rows)
            await asyncio.sleep(self._dice.choice([0.0, 0.2, 1.0]) * self._dice.random())

    async def _watch(self) -> None:
        """Read along with `read_committed`; what was seen once must stand for ever."""
        seen: list[list[Stored]] = [[] for _ in STEP_OUTPUTS]
        while True:
            for place, topic in enumerate(STEP_OUTPUTS):
                now = self._broker.visible(Place(topic.name, _NUMBER))
                assert now[: len(seen[place])] == seen[place], "what was read does not stand"
                seen[place] = now
            await asyncio.sleep(1.0)

    def _wrong(self, watching: "asyncio.Task[None]") -> str:
        if not watching.cancelled():
            return repr(watching.exception())
        wanted: list[list[Record]] = [[] for _ in STEP_OUTPUTS]
        for records in self._maker.expected:
            for record in records:
                wanted[record.topic].append(record)
        for place, topic in enumerate(STEP_OUTPUTS):
            found = self._broker.visible(Place(topic.name, _NUMBER))
            pairs = zip_longest(found, wanted[place])
            for number, (got, want) in enumerate(pairs):
                if got is None or want is None or not self._same(place, got, want):
                    return f"record {number} of {topic.name}: found {got}, wanted {want}"
        return ""

    def _same(self, place: int, got: Stored, want: Record) -> bool:
        if place != OUT_DEAD_LETTER:
            return (got.key, got.value) == (want.key, want.value)
        headers = dict(got.headers)
        row = self._maker.log[want.offset]
        return (
            (got.key, got.value) == (row.key, row.value)
            and headers["reason"].decode() == want.refusal.name.lower()
            and int(headers["offset"]) == want.offset
        )
