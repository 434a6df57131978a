"""One partition in a worker's hands, from its assignment to its loss.

1. Open: fence whoever had it before (`streams/commit.py`).
2. Look up the committed offset, and only now: nobody can move it any more. Where the note beside it
   says that others decide here, begin nothing (`streams/handover.py`).
3. Recover: keep the state of this worker if it stands at just that offset, else take the newest
   snapshot before it and fold the log from there, output off (`streams/recover.py`).
4. Intake what is there (`streams/broker/intake.py`), up to a batch.
5. Run the step and pack what it writes, beside the event loop, so that heartbeats go on.
6. Commit, while 4 and 5 go on with the next batch: one commit under way, one batch ahead of it.
7. Go on at 4 until the partition is revoked or the worker is told to stop.

State runs ahead of the log by one batch. So where a commit fails, what is kept of it shows at 3:
the committed offset is compared with where the state stands. An assertion in the step, or a corrupt
record batch, halts the partition alone: its offset stays, its state is given up.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from monitoring.collector import PartitionStatus
from monitoring.meter import WorkerMeter
from streams.broker.health import Health
from streams.broker.intake import Intake
from streams.broker.pack import Chunk, Packer
from streams.broker.reader import Reader
from streams.buffers import Array
from streams.commit import ANSWER_S_MAX, Committer
from streams.errors import (
    CorruptBatchError,
    HandoverError,
    OutrunError,
    SnapshotError,
    VersionError,
)
from streams.handover import refuse
from streams.partition import Partition
from streams.ports import Aside, FencedError, Log, UnansweredError
from streams.recover import Look, fold
from streams.tasks import end

# While a commit is under way, a batch smaller than this waits for its end: at low load the next
# batch then takes what comes meanwhile, and waits for one commit, not for two.
OVERLAP_BYTES = 128 * 1024
_IDLE_S = 0.1
_RETRY_S = 0.3
_log = logging.getLogger("dipper.live")


class _Decided(NamedTuple):
    """What one step did, to be counted when it is committed."""

    position: int
    rows: int
    step_s: float
    counters: Array


class Worker(NamedTuple):
    """What all partitions of a worker share.

    `aside` runs a function beside the event loop; `now_ms` is the time that records bear; `fenced`
    is told when another worker has a partition though the group gave it to us; `fail` gets what
    must end the worker. `rules` names what decides here, "" where nothing does.
    """

    aside: Aside
    now_ms: Callable[[], int]
    health: Health
    meter: WorkerMeter
    fenced: Callable[[], None]
    fail: Callable[[Exception], None]
    rules: str = ""


class Serving:
    """One partition: `take_up` when the group gives it, `give_up` when it takes it.

    `make` gives a partition whose state stands at or before an offset (`streams/recover.py`).
    """

    def __init__(
        self,
        log: Log,
        committer: Committer,
        make: Callable[[int], Partition],
        worker: Worker,
        *,
        transactional: bool,
    ) -> None:
        self.number = log.place.partition
        self.ready = False
        self._intake = Intake(log)
        self._committer = committer
        self._make = make
        self._worker = worker
        self._meter = worker.meter
        self._partition: Partition | None = None  # None: no state, it must be recovered
        self._torn = False  # a step has begun to change the state, and not all it writes is packed
        self._committed = -1
        self._reader = Reader(log.place)
        self._packers = [Packer(self.number, transactional=transactional) for _ in range(2)]
        self._wanted = 0  # number of the assignment that is served; 0: none
        self._assignments = 0
        self._look = Look()
        self._task: asyncio.Task[None] | None = None
        # Others decide here, or made the state that stands.
        self.refusal: HandoverError | SnapshotError | None = None

    @property
    def status(self) -> PartitionStatus | None:
        """Return what stands here, for metrics; None without state."""
        partition = self._partition
        if partition is None:
            return None
        return PartitionStatus(
            self.number,
            partition.position,
            self._committed,
            self._intake.log_end,
            self.ready,
            partition.step.state,
        )

    @property
    def wanted(self) -> bool:
        """Say whether the group wants it served here."""
        return self._wanted > 0

    @property
    def busy(self) -> asyncio.Task[None] | None:
        """Return what is under way, to be waited for."""
        return self._task

    def take_up(self) -> None:
        """Serve the partition, when what is under way has ended."""
        self._assignments += 1
        self._wanted = self._assignments
        self.refusal = None
        self._task = asyncio.create_task(self._serve(self._task, self._assignments))

    def hold(self) -> None:
        """Begin no more; what is under way may end. State is kept for the next `take_up`."""
        self._wanted = 0

    def give_up(self) -> None:
        """Begin no more, and let go of connections and state when what is under way has ended."""
        self._wanted = 0
        self._task = asyncio.create_task(self._release(self._task))

    async def _release(self, before: asyncio.Task[None] | None) -> None:
        try:
            await _after(before)
        finally:
            self._partition, self.ready = None, False
            await self._intake.close()
            await self._committer.close()

    async def _serve(self, before: asyncio.Task[None] | None, assignment: int) -> None:
        await _after(before)

        def going() -> bool:
            return self._wanted == assignment

        try:
            while going():
                try:
                    if await self._make_ready(going):
                        await self._decide_all(going)
                except UnansweredError as error:
                    _log.info("partition %d opens again: %s", self.number, error)
                    self._worker.health.missed(error)
                    self._meter.abort()
                    self.ready = False
                    await asyncio.sleep(_RETRY_S)
                except OutrunError as error:
                    if going():
                        self._look.again(error)
                    _log.info("partition %d looks again: %s", self.number, error)
                    await asyncio.sleep(_RETRY_S)
        except FencedError as error:
            _log.info("partition %d is another's: %s", self.number, error)
            self._partition, self.ready = None, False
            self._meter.fence()
            if going():
                self._wanted = 0
                self._worker.fenced()
        except HandoverError as error:
            _log.info("%s", error)
            self._partition, self.ready = None, False
            self.refusal = error
        except (AssertionError, CorruptBatchError, SnapshotError, VersionError) as error:
            self._halt(error)
        except Exception as error:  # noqa: BLE001 a task's fault must end the worker, not be lost
            self._partition, self.ready = None, False
            self._worker.fail(error)
        finally:
            await self._intake.stop()

    def _halt(self, error: Exception) -> None:
        at = self._partition.position if self._partition else self._committed
        if isinstance(error, CorruptBatchError | SnapshotError | VersionError):
            _log.error("partition %d is halted at offset %d: %s", self.number, at, error)
        else:
            _log.error(
                "partition %d is halted at offset %d: the step failed an assertion",
                self.number,
                at,
                exc_info=error,
            )
        self._partition, self.ready = None, False
        self.refusal = error if isinstance(error, SnapshotError) else None
        self._meter.halt(self.number, at)

    async def _make_ready(self, going: Callable[[], bool]) -> bool:
        began = _now()
        found = await self._committer.open()
        refuse(self.number, found, self._worker.rules)
        committed = found.offset
        same = kept = self._partition
        if kept is None or self._torn or kept.position != committed:
            self._partition, self.ready, self._torn = None, False, False
            kept = await self._worker.aside(partial(self._make, committed))
            assert isinstance(kept, Partition)
            # A snapshot at or before `committed` is loaded here, and the fold begins behind it.
            if not await fold(
                kept, self._intake, self._reader, committed, self._worker.aside, going
            ):
                return False
            self._partition = kept
            _log.info("partition %d is ready at offset %d", self.number, committed)
        self._committed = committed
        self._reader.seek(committed)
        await self._intake.start(committed)
        self.ready = True
        seconds = _now() - began
        self._meter.begin(self.number, kept.step.counters, seconds, kept=kept is same)
        return True

    async def _decide_all(self, going: Callable[[], bool]) -> None:
        commit: asyncio.Task[None] | None = None
        turn, more = 0, False
        try:
            while going():
                if not more:
                    commit = await self._until_due(commit)
                if not self._reader.fed:  # else a backlog would be fetched into memory whole
                    for fetched in self._intake.take():
                        self._reader.feed(fetched)
                began = _now()
                found = await self._worker.aside(partial(self._step, self._packers[turn % 2]))
                more = found is not None
                if found is None:
                    continue
                rows, chunk, rest = found
                await _result(commit)
                commit = None
                while not chunk.last:
                    await self._committer.send(chunk)
                    chunk = await self._worker.aside(partial(next, rest))
                commit = asyncio.create_task(self._commit(chunk, self._decided(rows, began)))
                turn += 1
            await _result(commit)
        except BaseException as error:
            if commit is not None:
                if isinstance(error, asyncio.CancelledError):
                    await end(commit)
                await _ended(commit)
            raise

    async def _until_due(self, commit: asyncio.Task[None] | None) -> asyncio.Task[None] | None:
        """Wait until the next batch is due; return the commit if it is still under way."""
        if commit is None:
            await self._intake.wait(_IDLE_S)
            return None
        enough = asyncio.create_task(self._intake.wait(ANSWER_S_MAX, OVERLAP_BYTES))
        await asyncio.wait((commit, enough), return_when=asyncio.FIRST_COMPLETED)
        await end(enough)
        if self._intake.waiting_bytes < OVERLAP_BYTES or commit.done():
            await _result(commit)
            return None
        return commit

    def _step(self, packer: Packer) -> tuple[int, Chunk, Iterator[Chunk]] | None:
        """Fill a batch, decide it, pack what is written until memory is full.

        Return how many rows, the first chunk, and the rest to come; None where no record waits.
        """
        partition, reader = self._partition, self._reader
        assert partition is not None
        batch = partition.step.batch
        if not reader.fill(batch):
            return None
        if reader.refused is not None:
            chunk = packer.refuse(partition.refuse(reader.refused))
            partition.move(reader.position)
            return 1, chunk, iter(())
        # Until all that it writes is packed, the state belongs to no offset.
        rows, self._torn = int(batch.used[0]), True
        rest = packer.pack(partition.decide(reader.position), batch, self._worker.now_ms())
        return rows, next(rest), rest

    def _decided(self, rows: int, began: float) -> _Decided:
        """Say what the step has done, now that all it writes is packed."""
        partition, self._torn = self._partition, False
        assert partition is not None
        seconds = _now() - began
        return _Decided(partition.position, rows, seconds, partition.step.counters.copy())

    async def _commit(self, chunk: Chunk, decided: _Decided) -> None:
        began = _now()
        await self._committer.finish(chunk, decided.position)
        self._committed = decided.position
        self._worker.health.seen()
        seconds = _now() - began
        self._meter.commit(self.number, decided.counters, decided.rows, decided.step_s, seconds)


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _result(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        await task


async def _after(before: asyncio.Task[None] | None) -> None:
    """Wait for the end of what went before; to be cancelled cancels it too."""
    try:
        await _ended(before)
    except asyncio.CancelledError:
        if before is not None:
            await end(before)
        raise


async def _ended(task: asyncio.Task[None] | None) -> None:
    """Wait for the end of a task, however it ends."""
    if task is not None:
        await asyncio.wait((task,))
        if not task.cancelled():
            task.exception()
