"""The live door as such, on both kinds of broker, with a step whose answers are easy to foresee."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka import TopicPartition

from streams.broker.client import log_end, make_consumer, make_producer
from streams.broker.publish import partition_of
from streams.broker.topics import ensure_topics
from streams.live import GROUP, Worker
from streams.topology import DEAD_LETTERS, DECISIONS, EVENTS
from tests.conftest import Broker
from tests.kafka.logs import read_partition, read_topic, until
from tests.streams.running_step import RunningStep
from tests.tidy.source import ROOT

_PARTITIONS = 4
_KEYS = [b"k%d" % n for n in range(9)]


def _values(first: int, last: int) -> list[tuple[bytes, bytes]]:
    return [(_KEYS[n % len(_KEYS)], b"v%d" % n) for n in range(first, last)]


def _expected(records: Sequence[tuple[bytes, bytes]]) -> list[list[bytes]]:
    """What the running step writes per partition, by the shortest way of saying it."""
    seen: Counter[bytes] = Counter()
    decided: list[list[bytes]] = [[] for _ in range(_PARTITIONS)]
    for key, value in records:
        partition = partition_of(key, _PARTITIONS)
        seen[key] += 1
        decided[partition].append(b"%d %s %d %s" % (partition, key, seen[key], value))
    return decided


async def _publish(
    broker: Broker, records: Sequence[tuple[bytes, bytes]], compression: str | None = None
) -> None:
    producer = make_producer(broker.bootstrap, broker.kind, compression_type=compression)
    await producer.start()
    try:
        for key, value in records:
            partition = partition_of(key, _PARTITIONS)
            await producer.send(EVENTS.name, value, key=key, partition=partition)
        await producer.flush()
    finally:
        await producer.stop()


async def _count(broker: Broker) -> int:
    consumer = make_consumer(broker.bootstrap)
    await consumer.start()
    try:
        partitions = [TopicPartition(DECISIONS.name, n) for n in range(_PARTITIONS)]
        consumer.assign(partitions)
        return sum([await log_end(consumer, each) for each in partitions])
    finally:
        await consumer.stop()


async def _decided(broker: Broker, at_least: int) -> list[list[bytes | None]]:
    async def enough() -> bool:
        return await _count(broker) >= at_least

    await until(enough)
    return await read_topic(broker.bootstrap, DECISIONS.name, _PARTITIONS)


@asynccontextmanager
async def _working(broker: Broker) -> AsyncIterator[Worker]:
    worker = Worker(broker.bootstrap, RunningStep)
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    try:
        yield worker
    finally:
        stop.set()
        await running


def _ready(worker: Worker) -> set[int]:
    return {status.partition for status in worker.status if status.ready}


async def test_each_record_is_decided_once_in_order(fresh_broker: Broker) -> None:
    """What stood before the worker came and what comes later is decided once, in log order."""
    await ensure_topics(fresh_broker.bootstrap, _PARTITIONS)
    records = _values(0, 700)
    await _publish(fresh_broker, records[:300])
    async with _working(fresh_broker):
        assert await _decided(fresh_broker, 300) == _expected(records[:300])
        await _publish(fresh_broker, records[300:])
        assert await _decided(fresh_broker, 700) == _expected(records)


async def test_two_workers_share_and_one_takes_over(fresh_broker: Broker) -> None:
    """Two workers hold disjoint partitions; when one leaves, the other has all and their state."""
    await ensure_topics(fresh_broker.bootstrap, _PARTITIONS)
    records = _values(0, 600)
    everything = set(range(_PARTITIONS))
    async with _working(fresh_broker) as first:
        await _publish(fresh_broker, records[:200])
        await _decided(fresh_broker, 200)
        async with _working(fresh_broker) as second:

            async def shared() -> bool:
                one, two = _ready(first), _ready(second)
                return bool(one) and bool(two) and one | two == everything and not one & two

            await until(shared)
            await _publish(fresh_broker, records[200:400])
            assert await _decided(fresh_broker, 400) == _expected(records[:400])

        async def alone() -> bool:
            return _ready(first) == everything

        await until(alone)
        await _publish(fresh_broker, records[400:])
        assert await _decided(fresh_broker, 600) == _expected(records)


async def _start(broker: Broker) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "tests" / "kafka" / "running_worker.py"),
        broker.bootstrap,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"started\n"
    return process


async def _interrupted(
    broker: Broker, number: signal.Signals
) -> tuple[list[list[bytes]], list[list[bytes | None]], list[int | None]]:
    """Publish while workers come and are stopped by a signal; return expected, found, exit
    codes.
    """
    await ensure_topics(broker.bootstrap, _PARTITIONS)
    records = _values(0, 2_000)
    codes: list[int | None] = []
    for part in range(2):
        publishing = asyncio.create_task(
            _publish(broker, records[part * 1_000 : part * 1_000 + 1_000])
        )
        process = await _start(broker)
        try:
            # Somewhere amid its work: it has decided a little more than before.
            await _decided(broker, part * 1_000 + 100)
        finally:
            process.send_signal(number)
            codes.append(await process.wait())
        await publishing
    async with _working(broker):

        async def all_decided() -> bool:
            values = await read_topic(broker.bootstrap, DECISIONS.name, _PARTITIONS)
            return len({value for part in values for value in part}) == len(records)

        await until(all_decided)
    found = await read_topic(broker.bootstrap, DECISIONS.name, _PARTITIONS)
    return _expected(records), found, codes


async def test_sigterm_loses_and_repeats_nothing(fresh_broker: Broker) -> None:
    """A worker that is asked to stop finishes, commits and exits with 0: each decision stands
    once.
    """
    expected, found, codes = await _interrupted(fresh_broker, signal.SIGTERM)
    assert codes == [0, 0]
    assert found == expected


async def test_kill_loses_nothing_and_repeats_only_without_transactions(
    fresh_broker: Broker,
) -> None:
    """After kill -9 each decision stands once on Apache Kafka; on the embedded broker what stands
    twice is the same bytes in the same order.
    """
    expected, found, codes = await _interrupted(fresh_broker, signal.SIGKILL)
    assert codes == [-9, -9]
    for partition in range(_PARTITIONS):
        if fresh_broker.kind == "kafka":
            assert found[partition] == expected[partition]
        assert list(dict.fromkeys(found[partition])) == expected[partition]


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
async def test_compressed_records_are_read(fresh_broker: Broker, compression: str) -> None:
    """Whatever a producer compresses with, its records are decided like any other."""
    await ensure_topics(fresh_broker.bootstrap, _PARTITIONS)
    records = _values(0, 120)
    await _publish(fresh_broker, records, compression)
    async with _working(fresh_broker):
        assert await _decided(fresh_broker, 120) == _expected(records)


async def test_dead_letters_carry_two_megabytes(fresh_broker: Broker) -> None:
    """A refused record arrives whole in the partition of its input, with reason and place."""
    await ensure_topics(fresh_broker.bootstrap, _PARTITIONS)
    bad = b"bad" + bytes(2_000_000)
    await _publish(fresh_broker, [(_KEYS[0], b"v"), (_KEYS[0], bad), (_KEYS[0], b"w")])
    partition = partition_of(_KEYS[0], _PARTITIONS)
    async with _working(fresh_broker):
        await _decided(fresh_broker, 2)

        async def arrived() -> bool:
            return bool(await read_partition(fresh_broker.bootstrap, DEAD_LETTERS.name, partition))

        await until(arrived)
    (letter,) = await read_partition(fresh_broker.bootstrap, DEAD_LETTERS.name, partition)
    assert (letter.key, letter.value) == (_KEYS[0], bad)
    headers = dict(letter.headers)
    assert headers["reason"] == b"wrong_partition"
    assert headers["offset"] == b"1"
    assert headers["topic"] == EVENTS.name.encode()


async def test_a_fault_of_ours_halts_its_partition_alone(fresh_embedded_broker: Broker) -> None:
    """An assertion in the step stops one partition before its offset; the others go on."""
    broker = fresh_embedded_broker
    await ensure_topics(broker.bootstrap, _PARTITIONS)
    broken = partition_of(_KEYS[0], _PARTITIONS)
    records = _values(0, 90)
    await _publish(broker, records)
    async with _working(broker) as worker:
        await _decided(broker, 90)
        await _publish(broker, [(_KEYS[0], b"halt"), *_values(90, 180)])
        elsewhere = [r for r in _values(90, 180) if partition_of(r[0], _PARTITIONS) != broken]
        await _decided(broker, 90 + len(elsewhere))

        async def halted() -> bool:
            return _ready(worker) == set(range(_PARTITIONS)) - {broken}

        await until(halted)
    found = await read_topic(broker.bootstrap, DECISIONS.name, _PARTITIONS)
    everything = _expected(_values(0, 180))
    assert found[broken] == _expected(records)[broken]
    for partition in set(range(_PARTITIONS)) - {broken}:
        assert found[partition] == everything[partition]
    consumer = make_consumer(broker.bootstrap, group=GROUP)
    await consumer.start()
    tp = TopicPartition(EVENTS.name, broken)
    assert await consumer.committed(tp) == len(_expected(records)[broken])
    await consumer.stop()
