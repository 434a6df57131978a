"""One seed: logs, workers and a follower in trouble, then calm; what stands is what plain Python
says.

Each log and what each of its records must give come from the naive step (`tests/naive`), which
knows nothing of batches, workers, transactions or snapshots. So a decision lost, repeated, changed,
or a cent too much on any lease, is a difference.
"""

import asyncio
import ctypes
import random
from functools import partial
from itertools import zip_longest
from typing import NamedTuple

from streams.deployment import Deployment
from streams.partition import Partition
from streams.ports import Place
from streams.recover import load, state_of
from streams.snapshot.image import same_state
from streams.snapshot.shelf import Shelf
from streams.step import Step
from streams.topology import EVENTS, OUT_DEAD_LETTER, STEP_OUTPUTS
from tests.naive.logs import LogMaker, verify
from tests.naive.records import Record
from tests.naive.run import run_log
from tests.simulation.broker import FakeBroker
from tests.simulation.broker import Record as Stored
from tests.simulation.cluster import Cluster, World
from tests.simulation.disk import FakeDisk
from tests.simulation.loop import StuckError, run_virtual

ROWS = 60  # of each partition
PARTITIONS = range(LogMaker.partitions)
_SETTLE_S_MAX = 120.0

# A seed takes the memory of some ten workers, most of which it never touches. Left to itself malloc
# begins to keep such blocks, and then zeroes all of them anew: that was half of a seed's time.
_M_MMAP_THRESHOLD, _BYTES = -3, 128 * 1024
ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _BYTES)


class Failure(NamedTuple):
    """What went wrong under a seed, and what had happened."""

    seed: int
    what: str
    events: list[str]


class _First(LogMaker):
    partition = 0


def run_seed(deployment: Deployment, seed: int, rows: int = ROWS) -> Failure | None:
    """Run one seed; None where all is as it must be."""
    makers = [kind(deployment, seed).make(rows) for kind in (_First, LogMaker)]
    simulation = _Simulation(deployment, makers, seed)
    try:
        what = run_virtual(simulation.run())
    except StuckError as error:
        what = str(error)
    except Exception as error:  # noqa: BLE001 whatever a check meets is a failure of the seed
        what = repr(error)
    return Failure(seed, what, simulation.events) if what else None


class _Simulation:
    def __init__(self, deployment: Deployment, makers: list[LogMaker], seed: int) -> None:
        self._dice = random.Random(seed)
        self._makers = makers
        self._broker = FakeBroker()
        self._disk = FakeDisk(self._dice, self._look)
        self._wrong_snapshots: list[str] = []

        self._deployment = deployment
        world = World(self._broker, self._disk, PARTITIONS, self._make, self._dice)
        self.events = world.events
        self._cluster = Cluster(world)

    async def run(self) -> str:
        """Return what is wrong, empty where nothing is."""
        cluster = self._cluster
        publishing = asyncio.gather(*(self._publish(number) for number in PARTITIONS))
        watching = asyncio.create_task(self._watch())
        await cluster.chaos(publishing)
        await cluster.calm()
        for _ in range(int(_SETTLE_S_MAX)):
            if not (left := self._unsettled()):
                break
            cluster.supervise()
            await asyncio.sleep(1.0)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        failures = cluster.failures + self._wrong_snapshots
        await cluster.end()
        if left:
            return f"{'; '.join(left)}; {'; '.join(failures)}"
        if failures:
            return "; ".join(failures)
        return self._wrong(watching)

    def _make(self, number: int) -> Partition:
        return Partition(Step(self._deployment, number, LogMaker.partitions, verify))

    def _unsettled(self) -> list[str]:
        """Say where workers or snapshots have not reached the end of a log."""
        left = []
        for number, maker in enumerate(self._makers):
            end = len(maker.log)
            at = self._committed(number)
            if at != end:
                left.append(f"partition {number} stands at offset {at} of {end}")
            elif end not in Shelf(self._disk, number).offsets():
                left.append(f"partition {number} has no snapshot at offset {end}")
        return left

    def _committed(self, number: int) -> int:
        return self._broker.committed.get(Place(EVENTS.name, number), 0)

    def _look(self, name: str) -> None:
        """A snapshot is being published: all before it must be committed."""
        folder, _, file = name.partition("/")
        number, offset = int(folder.removeprefix("partition-")), int(file.partition(".")[0])
        if offset > self._committed(number):
            self._wrong_snapshots.append(f"{name} stands behind what is committed")

    async def _publish(self, number: int) -> None:
        """Append a log in batches of any size at any time."""
        at, log = 0, self._makers[number].log
        while at < len(log):
            size = self._dice.choice([1, 2, 5])
            rows = log[at : at + size]
            self._broker.publish(Place(EVENTS.name, number), rows)
            at += len(rows)
            await asyncio.sleep(self._dice.choice([0.0, 0.2, 1.0]) * self._dice.random())

    async def _watch(self) -> None:
        """Read along with `read_committed`; what was seen once must stand for ever."""
        places = [Place(topic.name, number) for topic in STEP_OUTPUTS for number in PARTITIONS]
        seen: dict[Place, list[Stored]] = {place: [] for place in places}
        while True:
            for place, before in seen.items():
                now = self._broker.visible(place)
                assert now[: len(before)] == before, "what was read does not stand"
                seen[place] = now
            await asyncio.sleep(1.0)

    def _wrong(self, watching: "asyncio.Task[None]") -> str:
        if not watching.cancelled():
            return repr(watching.exception())
        for number, maker in enumerate(self._makers):
            wanted: list[list[Record]] = [[] for _ in STEP_OUTPUTS]
            for records in maker.expected:
                for record in records:
                    wanted[record.topic].append(record)
            for topic, name in enumerate(topic.name for topic in STEP_OUTPUTS):
                found = self._broker.visible(Place(name, number))
                pairs = zip_longest(found, wanted[topic])
                for row, (got, want) in enumerate(pairs):
                    if got is None or want is None or not _same(maker, topic, got, want):
                        return f"record {row} of {name}-{number}: found {got}, wanted {want}"
            if differing := self._wrong_arrays(number):
                return f"the newest snapshot of partition {number} differs in {differing}"
        return ""

    def _wrong_arrays(self, number: int) -> list[str]:
        """Return the arrays in which the newest good snapshot is not what its log folds to."""
        partition = load(partial(self._make, number), self._disk, self._committed(number))
        clean = self._make(number).step
        assert isinstance(clean, Step)
        run_log(clean, self._makers[number].log[: partition.position], ROWS)
        return same_state(state_of(partition), clean.state)


def _same(maker: LogMaker, topic: int, got: Stored, want: Record) -> bool:
    if topic != OUT_DEAD_LETTER:
        return (got.key, got.value) == (want.key, want.value)
    headers = dict(got.headers)
    row = maker.log[want.offset]
    return (
        (got.key, got.value) == (row.key, row.value)
        and headers["reason"].decode() == want.refusal.name.lower()
        and int(headers["offset"]) == want.offset
    )
