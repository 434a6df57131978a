"""The first door: Kafka through the step to Kafka, as a member of a consumer group.

Each partition that the group gives this worker has a task of its own:

1. Look up the committed offset.
2. Recover: fold the log up to it with the output off (`streams/recover.py`); state that this worker
   still has is kept where the committed offset shows that nobody else has gone on.
3. Intake what is there (`streams/broker/intake.py`), up to a batch.
4. Run the step, beside the event loop, so that heartbeats go on.
5. Commit: outputs, acknowledgements, then the offset (`streams/commit.py`, what happens if it
   dies).
6. Go on at 3 until the partition is revoked or the worker is told to stop.

A rebalance says that nothing is wanted, and waits a moment for batches under way, so that they are
committed while the partition is ours; what takes longer is repeated by whoever has it next. An
assertion in the step halts its partition alone: its offset stays, and its state is given up.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from monitoring.collector import PartitionStatus
from monitoring.meter import WorkerMeter
from streams.broker.client import Kind, broker_kind, make_consumer, make_producer, stop_client
from streams.broker.intake import Intake
from streams.broker.topics import count_partitions
from streams.commit import Packed, commit, pack, write
from streams.errors import BrokerError
from streams.partition import AnyStep, Input, Partition
from streams.recover import fold
from streams.topology import EVENTS

GROUP = "dipper"
MakeStep = Callable[[int, int], AnyStep]
_TURN_S = 0.5
_SILENT_S_MAX = 30.0  # a turn that waits for a batch or a fold's chunk is far below
# The embedded broker lets a first member wait half its session for others; Apache Kafka does not.
_SESSION_MS: dict[Kind, int] = {"embedded": 2_000, "kafka": 10_000}
_log = logging.getLogger("dipper.live")


@dataclass
class _Held:
    """One partition in this worker's hands, or lately so."""

    number: int
    intake: Intake
    wanted: bool = True  # the group has given it to us
    stopping: bool = False
    ready: bool = False
    committed: int = -1
    partition: Partition | None = None  # None: no state, it must be recovered
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def on_kafka(self) -> TopicPartition:
        return self.intake.partition

    @property
    def going(self) -> bool:
        return self.wanted and not self.stopping


class Worker(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """A member of the group: `await Worker(...).run(stop)` decides until `stop` is set.

    `make_step` gives a new step for partition `number` of `count`; `batch_rows` bounds how many
    records one commit covers.
    """

    def __init__(
        self, bootstrap: str, make_step: MakeStep, *, batch_rows: int, group: str = GROUP
    ) -> None:
        self._bootstrap = bootstrap
        self._make_step = make_step
        self._batch_rows = batch_rows
        self._group_id = group
        self._held: dict[int, _Held] = {}
        self._assigned = asyncio.Event()
        self._failed = asyncio.Event()
        self._failure: Exception | None = None
        self._revoking = False
        self._epoch = 0
        self._joined = False
        self._session_ms = 0
        self._count = 0
        self.meter = WorkerMeter()
        self._pool = ThreadPoolExecutor(thread_name_prefix="step")
        self._group: AIOKafkaConsumer
        self._producer: AIOKafkaProducer

    @property
    def status(self) -> list[PartitionStatus]:
        """What stands in each partition that has state here, for metrics."""
        return [
            PartitionStatus(
                held.number,
                held.partition.position,
                held.committed,
                held.intake.end,
                held.ready,
                held.partition.step.state,
            )
            for held in tuple(self._held.values())
            if held.partition is not None
        ]

    @property
    def not_alive(self) -> str | None:
        """Say why the process should be started anew; None where it is well."""
        silent_s = self.meter.silent_s
        if self._joined and silent_s > _SILENT_S_MAX:
            return f"the loop has not come round for {silent_s:.0f} s"
        return None

    @property
    def not_ready(self) -> str | None:
        """Say why not all partitions given to us are decided; None where they are."""
        if not self._joined:
            return "compiling, or joining the group"
        for number, offset in tuple(self.meter.halted.items()):
            return f"partition {number} is halted at offset {offset}"
        for held in tuple(self._held.values()):
            if not held.ready:
                return f"partition {held.number} recovers"
        return None

    async def run(self, stop: asyncio.Event) -> None:
        """Join, decide until `stop` is set, finish batches, commit, leave.

        Raises `BrokerError` where Kafka refuses for good, or a log cannot be recovered.
        """
        kind = await broker_kind(self._bootstrap)
        self._count = await count_partitions(self._bootstrap)
        # Compiling would keep heartbeats waiting, so it comes before joining.
        await self._aside(self._compile)
        self._session_ms = _SESSION_MS[kind]
        self._producer = make_producer(self._bootstrap, kind)
        self._group = make_consumer(
            self._bootstrap,
            group=self._group_id,
            session_timeout_ms=self._session_ms,
            heartbeat_interval_ms=self._session_ms // 5,
        )
        await self._producer.start()
        try:
            self._group.subscribe([EVENTS.name], listener=self)
            await self._group.start()
            self.meter.beat()
            self._joined = True
            while not (stop.is_set() or self._failed.is_set()):
                await self._turn(stop)
        finally:
            await self._leave()
        if self._failure is not None:
            raise self._failure

    async def on_partitions_revoked(
        self,
        revoked: Iterable[TopicPartition],  # noqa: ARG002 all of them, as the protocol is
    ) -> None:
        """Say that nothing is wanted for now; wait, not for long, for batches under way.

        Until this returns the partitions are still ours, and what is committed is not repeated by
        who has them next. Heartbeats wait too, hence the bound.
        """
        self._revoking = True
        self.meter.rebalance()
        for held in self._held.values():
            held.wanted = False
        tasks = [held.task for held in self._held.values() if held.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=self._session_ms / 4_000)
        self._revoking = False
        self._epoch += 1

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Say that there is something to take up. The group's own client reads no records."""
        self._group.pause(*assigned)
        self._assigned.set()

    async def _turn(self, stop: asyncio.Event) -> None:
        waits = [asyncio.create_task(each.wait()) for each in (stop, self._failed, self._assigned)]
        await asyncio.wait(waits, timeout=_TURN_S, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()
        # Nothing comes, all being paused; but it is how a member shows that it is alive.
        await self._group.getmany(timeout_ms=0)
        self.meter.beat()
        if self._assigned.is_set():
            self._assigned.clear()
            await self._take_up()

    async def _take_up(self) -> None:
        epoch = self._epoch
        wanted = {each.partition for each in self._group.assignment()}
        for number in self._held.keys() - wanted:
            await self._drop(self._held.pop(number))
        for number in sorted(wanted):
            held = self._held.get(number)
            if held is None:
                held = _Held(number, Intake(self._bootstrap, number))
                await held.intake.open()
                self._held[number] = held
            elif held.task is not None:
                await held.task
            if epoch != self._epoch:
                return  # revoked meanwhile; the next assignment comes back here
            held.wanted = True
            held.task = asyncio.create_task(self._serve(held))

    async def _serve(self, held: _Held) -> None:
        try:
            await self._make_ready(held)
            while held.going:
                records = deque(await held.intake.read(self._batch_rows))
                while records and held.going:
                    await self._decide(held, records)
        except (CommitFailedError, IllegalStateError):
            held.wanted = False  # the group has moved on; an assignment follows
            self.meter.fence()
        except AssertionError:
            at = held.partition.position if held.partition else held.committed
            _log.exception(
                "partition %d is halted at offset %d: the step failed an assertion", held.number, at
            )
            held.partition, held.ready = None, False
            self.meter.halt(held.number, at)
        except Exception as error:  # noqa: BLE001 a task's fault must end the worker, not be lost
            held.partition = None
            self._fail(error)

    async def _make_ready(self, held: _Held) -> None:
        began = time.monotonic()
        committed = await self._group.committed(held.on_kafka) or 0
        same = kept = held.partition
        if kept is not None and committed in {held.committed, kept.position}:
            # All before its position is acknowledged, and nobody else has committed since.
            if committed < kept.position:
                await commit(self._group, held.on_kafka, kept.position)
            held.intake.seek(kept.position)
        else:
            held.ready = False
            kept = await self._call(lambda: self._new_partition(held.number))
            await fold(kept, held.intake, committed, self._aside)
            held.partition = kept
            _log.info("partition %d is ready at offset %d", held.number, kept.position)
        held.committed = kept.position
        held.ready = True
        seconds = time.monotonic() - began
        self.meter.begin(held.number, kept.step.counters, seconds, kept=kept is same)

    async def _decide(self, held: _Held, records: deque[Input]) -> None:
        partition = held.partition
        assert partition is not None
        began, waiting = time.monotonic(), len(records)
        packed = await self._call(lambda: self._take(partition, records))
        stepped = time.monotonic()
        try:
            await write(self._producer, held.number, packed)
        except BaseException:
            held.partition = None  # the state is ahead of the log
            self.meter.abort()
            raise
        if held.wanted or self._revoking:
            await commit(self._group, held.on_kafka, partition.position)
            held.committed = partition.position
            self.meter.commit(
                held.number,
                partition.step.counters,
                waiting - len(records),
                stepped - began,
                time.monotonic() - stepped,
            )

    def _take(self, partition: Partition, records: deque[Input]) -> list[Packed]:
        while records and partition.add(records[0]):
            records.popleft()
        return pack(self._producer, partition.run())

    def _new_partition(self, number: int) -> Partition:
        return Partition(self._make_step(number, self._count))

    def _compile(self) -> None:
        partition = self._new_partition(0)
        partition.add(Input(0, None, b"{}"))
        for _ in partition.run():
            continue

    async def _aside(self, work: Callable[[], None]) -> None:
        await self._call(work)

    async def _call(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, KafkaError):
            error = BrokerError(f"{self._bootstrap} failed: {error}; start the worker again")
        self._failure = self._failure or error
        self._failed.set()

    async def _drop(self, held: _Held) -> None:
        # Its task finishes the batch under way, and commits it where the partition is still ours.
        held.stopping = True
        if held.task is not None:
            await held.task
        await held.intake.close()

    async def _leave(self) -> None:
        await asyncio.gather(*(self._drop(held) for held in self._held.values()))
        await stop_client(self._group)
        await stop_client(self._producer)
        self._pool.shutdown()
