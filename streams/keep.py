"""A follower that keeps snapshots: it folds the log behind the workers, output off, and writes.

A snapshot is a function of the log before its offset. So nobody who decides has to make it: the
follower reads what is committed, has its own state, and writes its image while nothing runs on it.
No worker stops for it, not for a millisecond.

1. Load the newest good snapshot, as a worker's recovery does; while the note beside the committed
   offset says that others decide here, wait (`streams/handover.py`).
2. Fold up to the offset that the workers' group has committed, and never further: a snapshot that
   stands behind the committed offset would be of no use to a worker that recovers.
3. When enough has come since the last one, or when the partition is being handed over at this
   offset, write the image: whole under its name, or not at all.
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
from streams.errors import DipperError, HandoverError, OutrunError, SnapshotError
from streams.handover import read_note, refuse, rules_of
from streams.partition import Partition
from streams.ports import Aside, Committed, Log, Place, UnansweredError
from streams.recover import Look, MakePartition, fold, load, state_of
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
    state; `aside` runs a function beside the event loop; `rules` names what folds here, "" where
    nothing does. `waits_for` says why it does not follow, None where it does.
    """

    def __init__(
        self,
        log: Log,
        group: str,
        make: MakePartition,
        store: Store,
        aside: Aside,
        every: Every,
        rules: str = "",
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
        self._rules = rules
        self.waits_for: str | None = None
        self._look = Look()

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
            partition: Partition | None = None
            clock = asyncio.get_running_loop().time
            last_s = clock()
            while going():
                found = await self._log.committed(self._group)
                if not self._may_follow(found):
                    # What others decide from here on is not folded by these rules.
                    partition = None
                elif partition is None:
                    partition = await self._load(found)
                    last_s = clock()
                if partition is None:
                    await asyncio.sleep(_TURN_S)
                    continue
                if found.offset > partition.position:
                    try:
                        await fold(partition, intake, reader, found.offset, self._aside, going)
                    except OutrunError as error:
                        self._look.again(error)
                        partition = None
                        continue
                    await intake.stop()
                self.position = partition.position
                ahead = self.position - self.published
                due = ahead >= self._every.events or clock() - last_s >= self._every.seconds
                if ahead > 0 and (due or read_note(found.note).to):
                    await self._aside(partial(self._publish, partition))
                    last_s = clock()
                await asyncio.sleep(_TURN_S)
            if partition is not None and partition.position > self.published:
                await self._aside(partial(self._publish, partition))
        finally:
            await intake.close()

    def _may_follow(self, committed: Committed) -> bool:
        """Say whether these rules decided all that is committed."""
        by = Committed(committed.offset, read_note(committed.note).by)
        try:
            refuse(self._log.place.partition, by, self._rules)
        except HandoverError as error:
            if self.waits_for is None:
                _log.warning("not followed: %s", error)
            self.waits_for = str(error)
            return False
        self.waits_for = None
        return True

    async def _load(self, committed: Committed) -> Partition | None:
        """Return the partition at a snapshot; None where the store does not answer, or the one at
        the offset of a handover has been made the new rules' just now.
        """
        at_most = max(committed.offset, 0)
        try:
            found = await self._aside(partial(load, self._make, self._store, at_most, self.shelf))
        except UnansweredError as error:
            _log.error("partition %d is not followed yet: %s", self._log.place.partition, error)
            await asyncio.sleep(_RETRY_S)
            return None
        except SnapshotError:
            if read_note(committed.note).to:
                return None
            raise
        assert isinstance(found, Partition)
        self.published = self.position = found.position
        self._published_at, self.loaded = _time_of(found), True
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
    rules = rules_of(deployment, count)
    health = Health(bootstrap)
    loop = asyncio.get_running_loop()

    async def aside(work: Callable[[], Any]) -> Any:
        return await loop.run_in_executor(None, work)

    def follower(number: int) -> Follower:
        log = KafkaLog(bootstrap, Place(EVENTS.name, number), health)

        def make() -> Partition:
            return Partition(Step(deployment, number, count, verify))

        return Follower(log, group, make, store, aside, every, rules)

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
        if waits := [each.waits_for for each in followers if each.waits_for is not None]:
            return waits[0]
        if late := [each.kept.partition for each in followers if not each.loaded]:
            return f"partition {late[0]} has not loaded its snapshot"
        return None

    collector = KeeperCollector(lambda: [each.kept for each in followers])
    asked = Asked(lambda: None, not_ready)
    with serve_metrics(collector, shown.port, shown.host, asked) as port:
        _log.info("metrics on http://%s:%d/metrics", shown.host, port)
        yield
