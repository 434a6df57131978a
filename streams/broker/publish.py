"""Publish events from files: record by record in file order, time by way of control.

Records of one partition keep the order of the file. Before a tick everything published so far is
acknowledged, and nothing goes out until control says that the tick stands in every partition: so
the log of each partition is the one that a replay of the file makes.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from streams import clock
from streams.broker.client import broker_kind, make_consumer, make_producer
from streams.broker.lines import Line
from streams.broker.topics import count_partitions
from streams.control.loans import sign_loans
from streams.control.records import Sign
from streams.errors import BrokerError
from streams.topology import CLOCK, EVENTS, INGRESS_PREFIX

ANSWER_S_MAX = 30.0
_PACE_S = 0.002  # at a given rate, records leave in groups of so long
_TICKS_MAX = 1_000  # tick lines in a row that one request may carry


class Published(NamedTuple):
    """What has been published: events, ticks, and lines left out since they are no events."""

    events: int = 0
    ticks: int = 0
    left_out: int = 0


@lru_cache(maxsize=131_072)
def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key, as Java's client does: murmur2(key) mod partitions."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


class Publisher:
    """Publishes records and ticks: `async with Publisher(bootstrap) as publisher: ...`.

    With `ingress_only` it asks nothing of `dipper.events`, which an institution may not see.
    """

    def __init__(self, bootstrap: str, *, ingress_only: bool = False) -> None:
        self.partitions = 0
        self._bootstrap = bootstrap
        self._ingress_only = ingress_only
        self._producer: AIOKafkaProducer
        self._builders: dict[int, Any] = {}
        self._sent: set[asyncio.Future[Any]] = set()
        self._answers: AIOKafkaConsumer | None = None

    async def __aenter__(self) -> Self:
        kind = await broker_kind(self._bootstrap)
        if not self._ingress_only:
            self.partitions = await count_partitions(self._bootstrap)
        self._producer = make_producer(self._bootstrap, kind)
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._answers is not None:
            await self._answers.stop()
        await self._producer.stop()

    async def send(self, key: bytes | None, value: bytes | None) -> None:
        """Add one record to its partition's next batch; batches leave when full or flushed."""
        partition = 0 if key is None else partition_of(key, self.partitions)
        builder = self._builders.get(partition)
        if builder is not None and builder.append(timestamp=None, key=key, value=value) is None:
            await self._hand_over(partition)
            builder = None
        if builder is None:
            builder = self._builders[partition] = self._producer.create_batch()
            builder.append(timestamp=None, key=key, value=value)

    async def send_ingress(self, institution: str, key: bytes | None, value: bytes | None) -> None:
        """Say something of an institution's loan or line on its own topic; control forwards it."""
        topic = INGRESS_PREFIX + institution
        self._sent.add(await self._producer.send(topic, value, key=key, partition=0))

    async def hand_over(self) -> None:
        """Let every batch leave, without waiting until it stands."""
        for partition in tuple(self._builders):
            await self._hand_over(partition)

    async def flush(self) -> None:
        """Return when all records sent so far stand; `BrokerError` where one does not."""
        await self.hand_over()
        if self._sent:
            done, self._sent = self._sent, set()
            try:
                await asyncio.gather(*done)
            except KafkaError as error:
                raise BrokerError(f"{self._bootstrap} did not take a record: {error}") from error

    async def tick(self, *times: int) -> None:
        """Flush, hand times to control, return when a tick of each stands in every partition."""
        await self.flush()
        answers = self._answers or await self._listen()
        token = secrets.token_hex(8)
        request = clock.write_request(clock.Request(token, times))
        await self._producer.send_and_wait(CLOCK.name, request, partition=0)
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                while clock.read_message((await answers.getone()).value) != clock.Answer(token):
                    continue
        except TimeoutError as error:
            raise BrokerError(
                f"no answer to a tick in {ANSWER_S_MAX:.0f} s; "
                "start `dipper control --clock file` on the same broker"
            ) from error

    async def _hand_over(self, partition: int) -> None:
        builder = self._builders.pop(partition)
        # Waits while the batch before it has not left: the producer's own brake.
        sent = await self._producer.send_batch(builder, EVENTS.name, partition=partition)
        self._sent.add(sent)
        if len(self._sent) > 256:
            failed = [each for each in self._sent if each.done() and each.exception()]
            self._sent = {each for each in self._sent if not each.done()}.union(failed)

    async def _listen(self) -> AIOKafkaConsumer:
        consumer = make_consumer(self._bootstrap)
        await consumer.start()
        self._answers = consumer
        partition = TopicPartition(CLOCK.name, 0)
        consumer.assign([partition])
        await consumer.seek_to_end(partition)
        # The position is looked up late; before the request, so that its answer lies behind it.
        await consumer.position(partition)
        return consumer


async def publish(
    publisher: Publisher,
    lines: Iterable[Line],
    *,
    rate: float = 0.0,
    raw: bool = False,
    ticks: bool = True,
    sign: Sign | None = None,
    institutions: Collection[str] = (),
    speaker: str = "",
    on_fault: Callable[[Line], None] = lambda _: None,
    on_progress: Callable[[Published], None] = lambda _: None,
) -> Published:
    """Publish lines in order, `rate` events a second (0: as fast as may be); return the counts.

    A line that is no event goes to `on_fault` and is left out; with `raw` it is sent as it is,
    without a key, to partition 0. Tick lines are handed to control, or left out without `ticks`
    (where control's clock is the wall clock). Loan and line events of `institutions` are signed by
    `sign`: where one hand holds the file and control's key. With `speaker`, an institution, all go
    to its ingress topic instead. Returns when all records stand.
    """
    counts = Published()
    times: list[int] = []
    pace = _Pace(publisher, rate)
    for line in lines:
        if line.tick_at is not None:
            if ticks:
                times.append(line.tick_at)
                counts = counts._replace(ticks=counts.ticks + 1)
            if len(times) < _TICKS_MAX:
                continue
        if times:
            await publisher.tick(*times)
            times.clear()
        if line.tick_at is not None:
            continue
        if line.command is not None:
            on_fault(line._replace(fault=f"is for dipper control {line.command.verb}"))
            continue
        if line.fault and not raw:
            on_fault(line)
            counts = counts._replace(left_out=counts.left_out + 1)
            continue
        value = line.value
        if sign is not None and line.issuer in institutions:
            (value,) = sign_loans([value], sign)
        if speaker:
            await publisher.send_ingress(speaker, line.key, value)
        else:
            await publisher.send(line.key, value)
        counts = counts._replace(events=counts.events + 1)
        if await pace.keep(counts.events):
            on_progress(counts)
    if times:
        await publisher.tick(*times)
    await publisher.flush()
    on_progress(counts)
    return counts


class _Pace:
    """Holds publishing to a rate: a group of records, then a wait until the next is due."""

    def __init__(self, publisher: Publisher, rate: float) -> None:
        self._publisher = publisher
        self._rate = rate
        self._group = max(1, int(rate * _PACE_S)) if rate else 1_000
        self._start = time.monotonic()

    async def keep(self, events: int) -> bool:
        """Wait until the next event is due; whether a group has just ended."""
        if events % self._group:
            return False
        if not self._rate:
            await asyncio.sleep(0)
            return True
        await self._publisher.hand_over()
        due = self._start + events / self._rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        return True
