"""Exactly once on Apache Kafka, where it is hard: two owners, a zombie, lost answers, kills."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Self

import pytest
from aiokafka import TopicPartition

from monitoring.meter import WorkerMeter
from streams.broker.client import make_consumer, make_producer
from streams.broker.fetch import KafkaLog
from streams.broker.health import Health
from streams.broker.publish import partition_of
from streams.broker.topics import ensure_topics
from streams.broker.writer import KafkaTransactions
from streams.commit import Transactions
from streams.partition import Partition
from streams.ports import Place
from streams.serving import Serving, Worker
from streams.topology import DECISIONS, EVENTS
from tests.conftest import Broker
from tests.kafka.logs import read_topic, until
from tests.kafka.proxy import END_TXN, Fault, Proxy
from tests.kafka.running import (
    KEYS,
    PARTITIONS,
    decided,
    expected,
    publish,
    ready,
    start,
    values,
    working,
)
from tests.streams.running_step import RunningStep

pytestmark = pytest.mark.kafka

_GROUP = "believers"


async def _settled(broker: Broker, records: int) -> list[list[bytes | None]]:
    """Return what stands when so many decisions do, and a little later still."""
    await decided(broker, records)
    await asyncio.sleep(0.5)
    return await read_topic(broker.bootstrap, DECISIONS.name, PARTITIONS)


class _Believer:
    """Serves one partition without asking any group; notes when it is told that it is fenced."""

    def __init__(self, broker: Broker, number: int) -> None:
        self.fenced = asyncio.Event()
        self.failures: list[Exception] = []
        health, pool = Health(broker.bootstrap), ThreadPoolExecutor(1)
        log = KafkaLog(broker.bootstrap, Place(EVENTS.name, number), health)

        async def aside(work: Callable[[], Any]) -> Any:
            return await asyncio.get_running_loop().run_in_executor(pool, work)

        self.serving = Serving(
            log,
            Transactions(KafkaTransactions(broker.bootstrap, f"{_GROUP}-{number}"), log, _GROUP),
            lambda _: Partition(RunningStep(number, PARTITIONS)),
            Worker(aside, lambda: 0, health, WorkerMeter(), self.fenced.set, self.failures.append),
            transactional=True,
        )

    async def __aenter__(self) -> Self:
        self.serving.take_up()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.serving.give_up()
        assert self.serving.busy is not None
        await self.serving.busy


async def test_of_two_who_believe_only_the_later_commits(fresh_kafka_broker: Broker) -> None:
    """Two workers serve one partition at once: the first is fenced and told so, gives its state up,
    and each record is decided once, from one state.
    """
    broker = fresh_kafka_broker
    await ensure_topics(broker.bootstrap, PARTITIONS)
    number = partition_of(KEYS[0], PARTITIONS)
    records = [(KEYS[0], b"v%d" % n) for n in range(300)]
    async with _Believer(broker, number) as first:
        await publish(broker, records[:100])
        await decided(broker, 100)
        async with _Believer(broker, number) as second:
            await publish(broker, records[100:200])
            await asyncio.wait_for(first.fenced.wait(), 20)
            assert first.serving.status is None
            await publish(broker, records[200:])
            assert await _settled(broker, 300) == expected(records)
            assert not second.fenced.is_set()
        assert not first.failures + second.failures


async def test_a_zombie_that_wakes_up_writes_nothing(fresh_kafka_broker: Broker) -> None:
    """A worker stopped past its session wakes up amid its work and is fenced; then it serves on as
    a member like any other.
    """
    broker = fresh_kafka_broker
    await ensure_topics(broker.bootstrap, PARTITIONS)
    records = values(0, 3_000)
    process = await start(broker)
    try:
        publishing = asyncio.create_task(publish(broker, records[:1_000]))
        await decided(broker, 100)
        process.send_signal(signal.SIGSTOP)
        await publishing
        async with working(broker) as worker:
            await publish(broker, records[1_000:2_000])
            await decided(broker, 2_000)
            assert ready(worker) == set(range(PARTITIONS))
            process.send_signal(signal.SIGCONT)
            await publish(broker, records[2_000:])
            assert await _settled(broker, 3_000) == expected(records)

            async def shared() -> bool:
                return len(ready(worker)) == PARTITIONS // 2

            await until(shared)
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        assert await process.wait() == 0


@asynccontextmanager
async def _working_through(broker: Broker) -> AsyncIterator[tuple[Proxy, Any]]:
    async with (
        Proxy(broker.bootstrap) as proxy,
        working(Broker(proxy.bootstrap, "kafka")) as worker,
    ):
        yield proxy, worker


@pytest.mark.parametrize(
    "fault", ["lose answer and cut", "lose answer", "lose request and cut", "hold request"]
)
async def test_a_commit_whose_answer_is_lost(fresh_kafka_broker: Broker, fault: Fault) -> None:
    """Whether the commit stood or not, and whether the answer is lost at once or never comes, each
    record is decided once and the worker goes on by itself.
    """
    broker = fresh_kafka_broker
    await ensure_topics(broker.bootstrap, PARTITIONS)
    records = values(0, 900)
    async with _working_through(broker) as (proxy, _):
        await publish(broker, records[:300])
        await decided(broker, 300)
        proxy.faults[END_TXN], proxy.times[END_TXN] = fault, 2 * PARTITIONS
        await publish(broker, records[300:600])
        await decided(broker, 600)
        await publish(broker, records[600:])
        assert await _settled(broker, 900) == expected(records)
        assert proxy.met == 2 * PARTITIONS


async def test_killed_between_produce_and_commit(fresh_kafka_broker: Broker) -> None:
    """Outputs that were produced and not committed are never read, and decided again once."""
    broker = fresh_kafka_broker
    await ensure_topics(broker.bootstrap, PARTITIONS)
    records = values(0, 400)
    async with Proxy(broker.bootstrap) as proxy:
        process = await start(Broker(proxy.bootstrap, "kafka"))
        await publish(broker, records[:100])
        await decided(broker, 100)
        proxy.faults[END_TXN], proxy.times[END_TXN] = "hold request", 1_000
        await publish(broker, records[100:])

        async def produced() -> bool:
            return await _uncommitted(broker) >= 100

        await until(produced)
        process.kill()
        assert await process.wait() == -signal.SIGKILL
    torn = await _uncommitted(broker)
    async with working(broker):
        assert await _settled(broker, 400) == expected(records)
    assert await _uncommitted(broker) == torn, "what was torn stands in the log, for nobody to read"


async def _uncommitted(broker: Broker) -> int:
    """Return how many records of decisions stand that no `read_committed` reader is given."""
    counts = []
    for level in ("read_uncommitted", "read_committed"):
        consumer = make_consumer(broker.bootstrap, isolation_level=level)
        await consumer.start()
        try:
            partitions = [TopicPartition(DECISIONS.name, n) for n in range(PARTITIONS)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning()
            count = 0
            while found := await consumer.getmany(timeout_ms=300):
                count += sum(map(len, found.values()))
            counts.append(count)
        finally:
            await consumer.stop()
    return counts[0] - counts[1]


async def test_aborted_events_are_never_decided(fresh_kafka_broker: Broker) -> None:
    """What a publisher wrote in a transaction that it gave up is no event, before and after
    recovery.
    """
    broker = fresh_kafka_broker
    await ensure_topics(broker.bootstrap, PARTITIONS)
    records = values(0, 300)
    producer = make_producer(broker.bootstrap, "kafka", transactional_id="publisher")
    await producer.start()
    for first in (0, 100, 200):
        await producer.begin_transaction()
        for key, _ in records[first : first + 100]:
            await producer.send(EVENTS.name, b"never", key=key)
        await producer.abort_transaction()
        await producer.begin_transaction()
        for key, value in records[first : first + 100]:
            await producer.send(EVENTS.name, value, key=key)
        await producer.commit_transaction()
        async with working(broker):
            assert await _settled(broker, first + 100) == expected(records[: first + 100])
    await producer.stop()


async def test_a_broker_away_is_waited_for(
    fresh_kafka_broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """While the broker is away the worker says so once, not at every attempt; then it goes on."""
    broker = fresh_kafka_broker
    await ensure_topics(broker.bootstrap, PARTITIONS)
    records = values(0, 600)
    async with _working_through(broker) as (proxy, worker):
        await publish(broker, records[:300])
        await decided(broker, 300)
        with caplog.at_level(logging.WARNING, "dipper"):
            await proxy.go()
            await publish(broker, records[300:])
            await asyncio.sleep(4)
            assert "has not answered" in str(worker.not_ready)
            said = [r.message for r in caplog.records if r.name == "dipper.broker"]
            assert len(said) == 1, said
        await proxy.come()
        assert await _settled(broker, 600) == expected(records)

        async def well() -> bool:
            return worker.not_ready is None

        await until(well)


async def test_a_corrupt_batch_halts_its_partition_alone(
    fresh_kafka_broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """One changed byte in an answer stops that partition at its offset; the others go on."""
    broker = fresh_kafka_broker
    await ensure_topics(broker.bootstrap, PARTITIONS)
    broken = partition_of(KEYS[0], PARTITIONS)
    records = values(0, 90)
    async with _working_through(broker) as (proxy, worker):
        proxy.corrupt = b"damaged-on-the-way"
        await publish(broker, records)
        await decided(broker, 90)
        await publish(broker, [(KEYS[0], b"damaged-on-the-way"), *values(90, 180)])
        elsewhere = [r for r in values(90, 180) if partition_of(r[0], PARTITIONS) != broken]
        await decided(broker, 90 + len(elsewhere))

        async def halted() -> bool:
            return ready(worker) == set(range(PARTITIONS)) - {broken}

        await until(halted)
        at = len(expected(records)[broken])
        assert f"dipper.events partition {broken} holds a corrupt batch at offset {at}" in (
            caplog.text
        )
        assert worker.meter.halted == {broken: at}
