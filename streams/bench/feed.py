"""Logs for benchmarks onto Kafka, and results from there."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError

from streams.bench.traffic import Record
from streams.broker.access import make_admin
from streams.broker.client import make_consumer, make_producer, stop_client
from streams.errors import DipperError

_BATCHES_AT_ONCE = 32
_GONE_S_MAX = 30.0
_POLL_S = 0.1
_HIDDEN_MS_MAX = 900_000  # the broker's own bound
# The broker's own time on every batch, so that all systems are timed by one clock.
_BY_THE_BROKER = {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"}


class Written(NamedTuple):
    """Records of one partition of an output, in order, with the broker's time in milliseconds."""

    values: list[bytes]
    times_ms: list[int]


class Probe:
    """Asks a broker how far things are: `async with Probe(bootstrap) as probe`.

    One connection for all questions, since to make one costs more than to ask.
    """

    def __init__(self, bootstrap: str) -> None:
        self._admin = make_admin(bootstrap)
        self._consumer: AIOKafkaConsumer = make_consumer(bootstrap)

    async def __aenter__(self) -> Self:
        await self._admin.start()
        await self._consumer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await stop_client(self._consumer)
        await self._admin.close()

    async def make_topics(self, names: Iterable[str], partitions: int) -> None:
        """Make topics whose records carry the time at which the broker appended them."""
        new = [NewTopic(name, partitions, 1, topic_configs=_BY_THE_BROKER) for name in names]
        await self._admin.create_topics(new)

    async def drop_topics(self, names: Iterable[str]) -> None:
        """Delete topics, and return when they are gone; `DipperError` where they stay."""
        gone = set(names)
        await self._admin.delete_topics(list(gone))
        deadline = time.monotonic() + _GONE_S_MAX
        while gone & set(await self._admin.list_topics()):
            if time.monotonic() > deadline:
                raise DipperError(f"Apache Kafka has not deleted its topics in {_GONE_S_MAX:.0f} s")
            await asyncio.sleep(_POLL_S)

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """Return the group's committed offset by partition of `topic`; none before it has begun."""
        try:
            found = await self._admin.list_consumer_group_offsets(group)
        except KafkaError:
            return {}  # a coordinator is named when the first group asks for one
        return {tp.partition: int(at.offset) for tp, at in found.items() if tp.topic == topic}

    async def members(self, group: str) -> int:
        """Return how many members a group has that has settled who reads what; 0 before."""
        try:
            (answer,) = await self._admin.describe_consumer_groups([group])
        except KafkaError:
            return 0
        (found,) = answer.groups
        state, joined = found[2], found[5]
        return len(joined) if state == "Stable" else 0

    async def ends(self, topic: str, partitions: int) -> list[int]:
        """Return the offset after the last committed record of each partition."""
        wanted = [TopicPartition(topic, number) for number in range(partitions)]
        found = await self._consumer.end_offsets(wanted)
        return [int(found[each]) for each in wanted]


class Feeder:
    """Publishes records in big batches: `async with Feeder(bootstrap, topic) as feeder`.

    With `hidden` they are one transaction, and readers of what is committed see nothing until
    `show`: all that is to be read then stands there at once.
    """

    def __init__(self, bootstrap: str, topic: str, *, hidden: bool = False) -> None:
        self._topic = topic
        self._hidden = hidden
        more = {"transactional_id": topic, "transaction_timeout_ms": _HIDDEN_MS_MAX}
        self._producer: AIOKafkaProducer = make_producer(
            bootstrap, "kafka", **(more if hidden else {})
        )
        self._sent: list[asyncio.Future[Any]] = []

    async def __aenter__(self) -> Self:
        await self._producer.start()
        if self._hidden:
            await self._producer.begin_transaction()
        return self

    async def show(self) -> None:
        """Let readers see what was published; there is nothing to come. Harmless a second time."""
        if self._hidden:
            self._hidden = False
            await asyncio.gather(*self._sent)
            await self._producer.commit_transaction()

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*self._sent)
        await stop_client(self._producer)

    async def publish(self, partition: int, records: Sequence[Record]) -> None:
        """Send records to one partition, in order."""
        for batch in self.batches(records):
            sent = await self._producer.send_batch(batch, self._topic, partition=partition)
            self._sent.append(sent)
        if len(self._sent) > _BATCHES_AT_ONCE:
            await asyncio.gather(*self._sent)
            self._sent = []

    def batches(self, records: Sequence[Record]) -> Iterator[Any]:
        """Yield the records as batches that are ready to be sent."""
        batch = self._producer.create_batch()
        for key, value in records:
            if batch.append(key=key, value=value, timestamp=None) is None:
                yield batch
                batch = self._producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)
        if batch.record_count():
            yield batch


async def read(
    bootstrap: str, topic: str, first: Sequence[int], stop: Sequence[int]
) -> list[Written]:
    """Return what stands committed in each partition of `topic`, offsets `first` to `stop`."""
    consumer = make_consumer(bootstrap)
    await consumer.start()
    try:
        wanted = [TopicPartition(topic, number) for number in range(len(first))]
        consumer.assign(wanted)
        found = [Written([], []) for _ in wanted]
        for each, offset in zip(wanted, first, strict=True):
            consumer.seek(each, offset)
        waiting = {each for each in wanted if first[each.partition] < stop[each.partition]}
        while waiting:
            for each, records in (await consumer.getmany(*waiting, timeout_ms=100)).items():
                mine = found[each.partition]
                mine.values.extend([record.value for record in records])
                mine.times_ms.extend([record.timestamp for record in records])
            left = [(each, await consumer.position(each)) for each in waiting]
            waiting = {each for each, at in left if at < stop[each.partition]}
        return found
    finally:
        await stop_client(consumer)
