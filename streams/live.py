"""The first door: Kafka through the step to Kafka, as a member of a consumer group.

The group says which partitions are this worker's; each is served by a loop of its own
(`streams/serving.py`). A rebalance only says what is wanted, and returns: with transactions whoever
has a partition next fences us, so nothing need be waited for, and heartbeats never wait. Without
them, on the embedded broker, it waits a moment for batches under way, so that they are committed
while the partition is ours.

Where all partitions are decided by others, another version or another deployment, the worker stands
by: it leaves the group, or does not join it, looks every moment whether one has been handed over
(`streams/handover.py`), and goes on when one is. So an upgrade starts the new workers beside the
old, hands over, and stops the old ones at leisure.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from monitoring.collector import PartitionStatus
from monitoring.meter import WorkerMeter
from streams.broker.client import Kind, broker_kind, make_consumer, make_producer, stop_client
from streams.broker.fetch import KafkaLog, all_committed
from streams.broker.health import Health
from streams.broker.pack import Packer
from streams.broker.reader import Reader
from streams.broker.topics import count_partitions
from streams.broker.writer import KafkaTransactions, KafkaWriter
from streams.commit import Acknowledgements, Committer, Transactions, transactional_id
from streams.errors import BrokerError, HandoverError, SnapshotError
from streams.handover import name_rules, refuse
from streams.partition import AnyStep, Partition
from streams.ports import Committed, Fetched, Place
from streams.recover import load
from streams.second_compiler import second_compiler
from streams.serving import Serving
from streams.serving import Worker as Shared
from streams.snapshot.shelf import Maker, Shelf, maker_of
from streams.snapshot.store import Store
from streams.step import Step
from streams.tasks import end
from streams.topology import EVENTS

GROUP = "dipper"
EXACTLY_ONCE, AT_LEAST_ONCE = "exactly-once", "at-least-once"
MakeStep = Callable[[int, int], AnyStep]
_log = logging.getLogger("dipper.live")
_TURN_S = 0.5
_SILENT_S_MAX = 30.0  # a turn waits for nothing but the group's own clients
_REJOIN_S = 1.0
_STAND_BY_S = 1.0
_LEAVE_S_MAX = 8.0  # a commit under way is answered or given up before
# The embedded broker lets a first member wait half its session for others; Apache Kafka does not.
_SESSION_MS: dict[Kind, int] = {"embedded": 2_000, "kafka": 10_000}


class Worker(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """A member of the group: `await Worker(...).run(stop)` decides until `stop` is set.

    `make_step` gives a new step for partition `number` of `count`; its batch bounds how many
    records one commit covers. `guarantee` None takes what the broker can do: exactly once on Apache
    Kafka, at least once on the embedded broker. `snapshots` is where `dipper state keep` writes;
    without it, recovery folds the whole log.
    """

    def __init__(
        self,
        bootstrap: str,
        make_step: MakeStep,
        *,
        group: str = GROUP,
        guarantee: str | None = None,
        snapshots: Store | None = None,
    ) -> None:
        self.health = Health(bootstrap)
        self._bootstrap = bootstrap
        self._make_step = make_step
        self._group_id = group
        self._guarantee = guarantee
        self._snapshots = snapshots
        self._served: dict[int, Serving] = {}
        self._changed = asyncio.Event()
        self._assigned = False
        self._rejoin = False
        self._joined = False
        self._member = False
        self._waits_for: str | None = None  # why we stand by, outside the group
        self._looked_s = 0.0
        self._maker: Maker | None = None
        self._rules = ""
        self._failure: Exception | None = None
        self._session_ms = 0
        self._count = 0
        self.meter = WorkerMeter()
        self._pool = ThreadPoolExecutor(thread_name_prefix="step")
        self._group: AIOKafkaConsumer
        self._producer: AIOKafkaProducer | None = None

    @property
    def status(self) -> list[PartitionStatus]:
        """What stands in each partition that has state here, for metrics."""
        found = [serving.status for serving in tuple(self._served.values())]
        return [status for status in found if status is not None]

    @property
    def partitions(self) -> int:
        """How many partitions the input topic has; 0 before the broker was asked."""
        return self._count

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
        if self._waits_for is not None:
            return f"stands by: {self._waits_for}"
        if not self._joined:
            return "compiling, or joining the group"
        if self.health.away_s > _TURN_S:
            return f"the broker has not answered for {self.health.away_s:.0f} s"
        for number, offset in tuple(self.meter.halted.items()):
            return f"partition {number} is halted at offset {offset}"
        for serving in tuple(self._served.values()):
            if serving.wanted and serving.refusal is not None:
                return str(serving.refusal)
            if serving.wanted and not serving.ready:
                return f"partition {serving.number} recovers"
        return None

    async def run(self, stop: asyncio.Event) -> None:
        """Join, decide until `stop` is set, finish batches, commit, leave.

        Raises `BrokerError` where Kafka refuses for good, or a log cannot be recovered.
        """
        kind = await broker_kind(self._bootstrap)
        self._guarantee = _guarantee(self._guarantee, kind)
        self._count = await count_partitions(self._bootstrap)
        # Compiling would keep heartbeats waiting, so it comes before joining.
        await self._aside(self._compile)
        self._session_ms = _SESSION_MS[kind]
        if not self._transactional:
            self._producer = make_producer(self._bootstrap, kind)
            await self._producer.start()
        stopping = asyncio.create_task(stop.wait())
        try:
            await self._begin(stopping)
            while not (stop.is_set() or self._failure):
                await self._turn(stopping)
        finally:
            stopping.cancel()
            await self._leave()
        if self._failure is not None:
            raise self._failure

    async def on_partitions_revoked(
        self,
        revoked: Iterable[TopicPartition],  # noqa: ARG002 all of them, as the protocol is
    ) -> None:
        """Say that nothing is wanted for now.

        At least once, until this returns the partitions are still ours, and what is committed is
        not repeated by who has them next; heartbeats wait too, hence the bound.
        """
        self.meter.rebalance()
        for serving in self._served.values():
            serving.hold()
        busy = [serving.busy for serving in self._served.values() if serving.busy is not None]
        if busy and not self._transactional:
            await asyncio.wait(busy, timeout=self._session_ms / 4_000)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Say that there is something to take up. The group's own client reads no records."""
        self._group.pause(*assigned)
        self._assigned = True
        self._changed.set()

    @property
    def _transactional(self) -> bool:
        return self._guarantee == EXACTLY_ONCE

    async def _begin(self, stopping: asyncio.Task[Any], *, thorough: bool = False) -> None:
        """Join the group, when there is anything here for these rules to decide."""
        if await self._stand_by(stopping, thorough=thorough):
            await self._join()
            self.meter.beat()
            self._joined = True

    async def _stand_by(self, stopping: asyncio.Task[Any], *, thorough: bool) -> bool:
        """Wait while others decide every partition; False where told to stop before."""
        while not stopping.done():
            looking = asyncio.create_task(self._look(thorough=thorough))
            await asyncio.wait((looking, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not looking.done():
                await end(looking)
                break
            refused = looking.result()
            if len(refused) < self._count:
                self._waits_for = None
                return True
            if self._waits_for is None:
                _log.warning("stands by: %s", refused[0])
            self._waits_for = refused[0]
            await asyncio.wait((stopping,), timeout=_STAND_BY_S)
        return False

    async def _look(self, *, thorough: bool) -> dict[int, str]:
        """Return which partitions these rules may not decide now, and why.

        A note that says that they are ours is believed, unless a snapshot was refused before.
        """
        if self._maker is None:
            return {}
        found = await all_committed(
            self._bootstrap, self._group_id, EVENTS.name, self._count, self.health
        )
        refused = await self._aside(partial(self._refused, found, thorough=thorough))
        assert isinstance(refused, dict)
        return refused

    def _refused(self, found: Sequence[Committed], *, thorough: bool) -> dict[int, str]:
        assert self._maker is not None
        refused = {}
        for number, committed in enumerate(found):
            try:
                refuse(number, committed, self._rules)
                if self._snapshots is not None and (thorough or not committed.note):
                    maker = self._maker._replace(partition=number)
                    Shelf(self._snapshots, number).refuse_others(maker, committed.offset)
            except (HandoverError, SnapshotError) as error:
                refused[number] = str(error)
            except OSError as error:  # whoever takes it up asks the store again
                _log.info("partition %d: the store of snapshots is silent: %s", number, error)
        return refused

    async def _join(self) -> None:
        self._member = True
        self._group = make_consumer(
            self._bootstrap,
            group=self._group_id,
            session_timeout_ms=self._session_ms,
            heartbeat_interval_ms=self._session_ms // 5,
        )
        self._group.subscribe([EVENTS.name], listener=self)
        await self._group.start()

    async def _turn(self, stopping: asyncio.Task[Any]) -> None:
        changed = asyncio.create_task(self._changed.wait())
        await asyncio.wait(
            (stopping, changed), timeout=_TURN_S, return_when=asyncio.FIRST_COMPLETED
        )
        changed.cancel()
        self._changed.clear()
        if self._rejoin:
            self._rejoin = False
            await self._join_anew()
        # Nothing comes, all being paused; but it is how a member shows that it is alive.
        await self._group.getmany(timeout_ms=0)
        self.meter.beat()
        if self._assigned:
            self._assigned = False
            self._take_up()
        await self._leave_to_others(stopping)

    async def _leave_to_others(self, stopping: asyncio.Task[Any]) -> None:
        """Leave the group where no partition given to us may be decided by these rules: while we
        hold them nobody else can. One that we can serve is reason enough to stay, and to look
        whether the others have been handed over.
        """
        wanted = [serving for serving in self._served.values() if serving.wanted]
        refused = [serving for serving in wanted if serving.refusal is not None]
        if not refused:
            return
        if len(refused) == len(wanted):
            _log.warning("leaves the group: %s", refused[0].refusal)
            await self._let_go()
            await self._begin(stopping, thorough=True)
        elif _now_s() - self._looked_s > _STAND_BY_S:
            still = await self._look(thorough=True)
            self._looked_s = _now_s()
            for serving in refused:
                if serving.wanted and serving.number not in still:
                    serving.take_up()

    async def _let_go(self) -> None:
        """Leave the group and give up every partition, but go on living."""
        self._joined = self._assigned = self._rejoin = False
        await self._give_up()
        await stop_client(self._group)
        self._member = False
        for number in self._served:
            self.meter.halted.pop(number, None)
        self._served.clear()

    async def _join_anew(self) -> None:
        """Leave the group and join again: another worker has what the group gave to us."""
        for serving in self._served.values():
            serving.hold()
        await stop_client(self._group)
        await asyncio.sleep(_REJOIN_S)
        await self._join()

    def _take_up(self) -> None:
        wanted = {each.partition for each in self._group.assignment()}
        for number in self._served.keys() - wanted:
            self._served[number].give_up()
        for number in sorted(wanted):
            if number not in self._served:
                self._served[number] = self._make_serving(number)
            self._served[number].take_up()

    def _make_serving(self, number: int) -> Serving:
        log = KafkaLog(self._bootstrap, Place(EVENTS.name, number), self.health)
        committer: Committer
        if self._producer is None:
            id = transactional_id(self._group_id, number)
            writer = KafkaTransactions(self._bootstrap, id)
            committer = Transactions(writer, log, self._group_id, self._rules)
        else:
            sender = KafkaWriter(self._producer, lambda: self._group)
            committer = Acknowledgements(sender, log, self._group_id)
        shared = Shared(
            self._aside, _now_ms, self.health, self.meter, self._on_fenced, self._fail, self._rules
        )
        return Serving(
            log,
            committer,
            partial(self._load, number),
            shared,
            transactional=self._transactional,
        )

    def _load(self, number: int, committed: int) -> Partition:
        """Give a partition whose state stands at or before an offset; count what was skipped."""

        def make() -> Partition:
            return Partition(self._make_step(number, self._count))

        if self._snapshots is None:
            return make()
        shelf = Shelf(self._snapshots, number)
        try:
            return load(make, self._snapshots, committed, shelf)
        finally:
            self.meter.recover(number, shelf.skipped)

    def _compile(self) -> None:
        step = self._make_step(0, self._count)
        warm_up(step)
        if isinstance(step, Step):
            assert step.state is not None
            self._maker = maker_of(step, step.state)
            self._rules = name_rules(self._maker.engine, self._maker.manifest)

    async def _aside(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _on_fenced(self) -> None:
        # At least once it is the group itself that says so, and an assignment follows.
        if self._transactional:
            self._rejoin = True
            self._changed.set()

    def _fail(self, error: Exception) -> None:
        if isinstance(error, KafkaError):
            error = BrokerError(f"{self._bootstrap} failed: {error}; start the worker again")
        self._failure = self._failure or error
        self._changed.set()

    async def _give_up(self) -> None:
        for serving in self._served.values():
            serving.give_up()
        busy = [serving.busy for serving in self._served.values() if serving.busy is not None]
        if busy:
            _, late = await asyncio.wait(busy, timeout=_LEAVE_S_MAX)
            await asyncio.gather(*map(end, late))

    async def _leave(self) -> None:
        await self._give_up()
        if self._member:
            await stop_client(self._group)
        if self._producer is not None:
            await stop_client(self._producer)
        self._pool.shutdown(wait=False, cancel_futures=True)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def warm_up(step: AnyStep) -> None:
    """Run the whole way once on nothing of use, so that all of it is compiled."""
    both = second_compiler(step.deployment.folder) if isinstance(step, Step) else nullcontext()
    with both:
        _run_once(step)


def _run_once(step: AnyStep) -> None:
    builder = BatchBuilder(1_000, 0)
    builder.append(timestamp=0, key=None, value=b"{}")
    partition = Partition(step)
    reader = Reader(Place(EVENTS.name, 0))
    reader.feed(Fetched(0, bytes(builder._build()), (), 1))  # noqa: SLF001 its own bytes
    assert reader.fill(partition.step.batch)
    packer = Packer(0, transactional=False)
    for _ in packer.pack(partition.decide(reader.position), partition.step.batch, 0):
        continue


def _guarantee(asked: str | None, kind: Kind) -> str:
    if asked is None:
        return EXACTLY_ONCE if kind == "kafka" else AT_LEAST_ONCE
    assert asked in {EXACTLY_ONCE, AT_LEAST_ONCE}
    if asked == EXACTLY_ONCE and kind == "embedded":
        raise BrokerError("the embedded broker knows no transactions; say --commit at-least-once")
    return asked
