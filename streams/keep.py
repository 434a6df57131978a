"""A follower that keeps snapshots: it folds the log behind the workers, output off, and writes.

A snapshot is a function of the log before its offset. So nobody who decides has to make it: the
follower reads what is committed, has its own state, and writes its image while nothing runs on it.
No worker stops for it, not for a millisecond.

1. Load the newest good snapshot, as a worker's recovery does.
2. Fold up to the offset that the workers' group has committed, and never further: a snapshot that
   stands behind the committed offset would be of no use to a worker that recovers.
3. When enough has come since the last one, write the image: whole under its name, or not at all.
4. Remove what is superfluous, wait a moment, go on at 2. Told to stop, it writes once more.

If it dies in any of them the newest snapshot grows older, and the next follower starts at 1; two
followers of one partition write the same thing twice.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from monitoring.endpoint import Health as Asked
from monitoring.endpoint import serve_metrics
from monitoring.keeper import KeeperCollector, Kept
from streams.broker.fetch import KafkaLog
from streams.broker.health import Health
from streams.broker.intake import Intake
from streams.broker.reader import Reader
from streams.broker.topics import count_partitions
from streams.config import load_deployment
from streams.control.keys import load_trusted, verifier
from streams.errors import DipperError
from streams.partition import Partition
from streams.ports import Aside, Log, Place, UnansweredError
from streams.recover import MakePartition, fold, load, state_of
from streams.snapshot.shelf import Shelf, maker_of
from streams.snapshot.store import Store
from streams.step import Step
from streams.topology import EVENTS
from streams.versions import with_versions

_TURN_S = 0.5
_RETRY_S = 5.0
_AWAY_S = 30.0
_log = logging.getLogger("dipper.snapshot")


class Every(NamedTuple):
    """When a snapshot is due: so many events after the last, or so many seconds with any."""

    events: int = 1_000_000
    seconds: float = 60.0


class Follower:
    """Follows one partition: `await Follower(...).run(going)` until `going` says no.

    `log` reads it; `group` is whose committed offset counts; `make` gives a partition without
    state; `aside` runs a function beside the event loop.
    """

    def __init__(
        self, log: Log, group: str, make: MakePartition, store: Store, aside: Aside, every: Every
    ) -> None:
        self.shelf = Shelf(store, log.place.partition)
        self.position = 0
        self.published = 0  # offset of the last snapshot
        self.loaded = False
        self._published_at = 0  # partition time of it
        self._log = log
        self._group = group
        self._make = make
        self._store = store
        self._aside = aside
        self._every = every

    @property
    def kept(self) -> Kept:
        """Return what stands here, for metrics."""
        shelf, number = self.shelf, self._log.place.partition
        return Kept(
            number, self.position, self.published, self._published_at, shelf.failures, shelf.skipped
        )

    async def run(self, going: Callable[[], bool]) -> None:
        """Follow, and write what is due; `DipperError` where log or snapshots forbid it."""
        intake, reader = Intake(self._log), Reader(self._log.place)
        try:
            partition = await self._load()
            self.published = self.position = partition.position
            self._published_at, self.loaded = _time_of(partition), True
            clock = asyncio.get_running_loop().time
            last_s = clock()
            while going():
                committed = max(await self._log.committed(self._group), 0)
                if committed > partition.position:
                    await fold(partition, intake, reader, committed, self._aside, going)
                    await intake.stop()
                self.position = partition.position
                ahead = self.position - self.published
                if ahead >= self._every.events or (
                    ahead > 0 and clock() - last_s >= self._every.seconds
                ):
                    await self._aside(partial(self._publish, partition))
                    last_s = clock()
                await asyncio.sleep(_TURN_S)
            if partition.position > self.published:
                await self._aside(partial(self._publish, partition))
        finally:
            await intake.close()

    async def _load(self) -> Partition:
        while True:
            at_most = max(await self._log.committed(self._group), 0)
            try:
                found = await self._aside(
                    partial(load, self._make, self._store, at_most, self.shelf)
                )
            except UnansweredError as error:
                _log.error("partition %d is not followed yet: %s", self._log.place.partition, error)
                await asyncio.sleep(_RETRY_S)
            else:
                assert isinstance(found, Partition)
                return found

    def _publish(self, partition: Partition) -> None:
        state = state_of(partition)
        maker = maker_of(partition.step, state)
        if self.shelf.publish(state, maker, partition.position):
            self.published, self._published_at = partition.position, _time_of(partition)
            _log.info("partition %d: snapshot at offset %d", maker.partition, self.published)


def _time_of(partition: Partition) -> int:
    return int(state_of(partition).partition["time"][0])


class Shown(NamedTuple):
    """Where metrics and health of a follower are shown."""

    host: str
    port: int  # 0: any free one


async def keep_snapshots(
    bootstrap: str,
    config: Path,
    store: Store,
    group: str,
    partitions: Sequence[int] | None,
    every: Every,
    stop: asyncio.Event,
    shown: Shown | None = None,
) -> None:
    """Follow these partitions of a broker (None: all) until `stop` is set.

    Raises `DipperError` where the deployment, the log or the snapshots forbid it.
    """
    deployment = with_versions(load_deployment(config))
    verify = verifier(load_trusted(config))
    count = await count_partitions(bootstrap)
    health = Health(bootstrap)
    loop = asyncio.get_running_loop()

    async def aside(work: Callable[[], Any]) -> Any:
        return await loop.run_in_executor(None, work)

    def follower(number: int) -> Follower:
        log = KafkaLog(bootstrap, Place(EVENTS.name, number), health)

        def make() -> Partition:
            return Partition(Step(deployment, number, count, verify))

        return Follower(log, group, make, store, aside, every)

    followers = [
        follower(number) for number in (range(count) if partitions is None else partitions)
    ]
    try:
        with ExitStack() as stack:
            if shown is not None:
                stack.enter_context(_show(followers, health, shown))
            async with asyncio.TaskGroup() as tasks:
                for each in followers:
                    tasks.create_task(each.run(lambda: not stop.is_set()))
    except* DipperError as errors:
        raise errors.exceptions[0] from None


@contextmanager
def _show(followers: Sequence[Follower], health: Health, shown: Shown) -> Iterator[None]:
    def not_ready() -> str | None:
        if health.away_s > _AWAY_S:
            return f"the broker has not answered for {health.away_s:.0f} s"
        if late := [each.kept.partition for each in followers if not each.loaded]:
            return f"partition {late[0]} has not loaded its snapshot"
        return None

    collector = KeeperCollector(lambda: [each.kept for each in followers])
    asked = Asked(lambda: None, not_ready)
    with serve_metrics(collector, shown.port, shown.host, asked) as port:
        _log.info("metrics on http://%s:%d/metrics", shown.host, port)
        yield
