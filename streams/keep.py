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
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

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
        self._log = log
        self._group = group
        self._make = make
        self._store = store
        self._aside = aside
        self._every = every

    async def run(self, going: Callable[[], bool]) -> None:
        """Follow, and write what is due; `DipperError` where log or snapshots forbid it."""
        intake, reader = Intake(self._log), Reader(self._log.place)
        try:
            partition = await self._load()
            self.published = self.position = partition.position
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
                found = await self._aside(partial(load, self._make, self._store, at_most))
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
            self.published = partition.position
            _log.info("partition %d: snapshot at offset %d", maker.partition, self.published)


async def keep_snapshots(
    bootstrap: str,
    config: Path,
    store: Store,
    group: str,
    partitions: Sequence[int] | None,
    every: Every,
    stop: asyncio.Event,
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

    async def follow(number: int) -> None:
        log = KafkaLog(bootstrap, Place(EVENTS.name, number), health)
        follower = Follower(
            log,
            group,
            lambda: Partition(Step(deployment, number, count, verify)),
            store,
            aside,
            every,
        )
        await follower.run(lambda: not stop.is_set())

    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(count) if partitions is None else partitions:
                tasks.create_task(follow(number))
    except* DipperError as errors:
        raise errors.exceptions[0] from None
