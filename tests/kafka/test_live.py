"""The live door as such, on both kinds of broker, with a step whose answers are easy to foresee."""

import asyncio
import signal

import pytest
from aiokafka import TopicPartition

from streams.broker.client import make_consumer
from streams.broker.publish import partition_of
from streams.broker.topics import ensure_topics
from streams.live import GROUP
from streams.topology import DEAD_LETTERS, DECISIONS, EVENTS
from tests.conftest import Broker
from tests.kafka.logs import read_partition, read_topic, until
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


async def test_each_record_is_decided_once_in_order(fresh_broker: Broker) -> None:
    """What stood before the worker came and what comes later is decided once, in log order."""
    await ensure_topics(fresh_broker.bootstrap, PARTITIONS)
    records = values(0, 700)
    await publish(fresh_broker, records[:300])
    async with working(fresh_broker):
        assert await decided(fresh_broker, 300) == expected(records[:300])
        await publish(fresh_broker, records[300:])
        assert await decided(fresh_broker, 700) == expected(records)


async def test_two_workers_share_and_one_takes_over(fresh_broker: Broker) -> None:
    """Two workers hold disjoint partitions; when one leaves, the other has all and their state."""
    await ensure_topics(fresh_broker.bootstrap, PARTITIONS)
    records = values(0, 600)
    everything = set(range(PARTITIONS))
    async with working(fresh_broker) as first:
        await publish(fresh_broker, records[:200])
        await decided(fresh_broker, 200)
        async with working(fresh_broker) as second:

            async def shared() -> bool:
                one, two = ready(first), ready(second)
                return bool(one) and bool(two) and one | two == everything and not one & two

            await until(shared)
            await publish(fresh_broker, records[200:400])
            assert await decided(fresh_broker, 400) == expected(records[:400])

        async def alone() -> bool:
            return ready(first) == everything

        await until(alone)
        await publish(fresh_broker, records[400:])
        assert await decided(fresh_broker, 600) == expected(records)


async def _interrupted(
    broker: Broker, number: signal.Signals
) -> tuple[list[list[bytes]], list[list[bytes | None]], list[int | None]]:
    """Publish while workers come and are stopped by a signal; return expected, found, exit
    codes.
    """
    await ensure_topics(broker.bootstrap, PARTITIONS)
    records = values(0, 2_000)
    codes: list[int | None] = []
    for part in range(2):
        publishing = asyncio.create_task(
            publish(broker, records[part * 1_000 : part * 1_000 + 1_000])
        )
        process = await start(broker)
        try:
            # Somewhere amid its work: it has decided a little more than before.
            await decided(broker, part * 1_000 + 100)
        finally:
            process.send_signal(number)
            codes.append(await process.wait())
        await publishing
    async with working(broker):

        async def all_decided() -> bool:
            values = await read_topic(broker.bootstrap, DECISIONS.name, PARTITIONS)
            return len({value for part in values for value in part}) == len(records)

        await until(all_decided)
    found = await read_topic(broker.bootstrap, DECISIONS.name, PARTITIONS)
    return expected(records), found, codes


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
    for partition in range(PARTITIONS):
        if fresh_broker.kind == "kafka":
            assert found[partition] == expected[partition]
        assert list(dict.fromkeys(found[partition])) == expected[partition]


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
async def test_compressed_records_are_read(fresh_broker: Broker, compression: str) -> None:
    """Whatever a producer compresses with, its records are decided like any other."""
    await ensure_topics(fresh_broker.bootstrap, PARTITIONS)
    records = values(0, 120)
    await publish(fresh_broker, records, compression)
    async with working(fresh_broker):
        assert await decided(fresh_broker, 120) == expected(records)


async def test_dead_letters_carry_two_megabytes(fresh_broker: Broker) -> None:
    """A refused record arrives whole in the partition of its input, with reason and place."""
    await ensure_topics(fresh_broker.bootstrap, PARTITIONS)
    bad = b"bad" + bytes(2_000_000)
    await publish(fresh_broker, [(KEYS[0], b"v"), (KEYS[0], bad), (KEYS[0], b"w")])
    partition = partition_of(KEYS[0], PARTITIONS)
    async with working(fresh_broker):
        await decided(fresh_broker, 2)

        async def arrived() -> bool:
            return bool(await read_partition(fresh_broker.bootstrap, DEAD_LETTERS.name, partition))

        await until(arrived)
    (letter,) = await read_partition(fresh_broker.bootstrap, DEAD_LETTERS.name, partition)
    assert (letter.key, letter.value) == (KEYS[0], bad)
    headers = dict(letter.headers)
    assert headers["reason"] == b"wrong_partition"
    assert headers["offset"] == b"1"
    assert headers["topic"] == EVENTS.name.encode()


async def test_a_fault_of_ours_halts_its_partition_alone(fresh_embedded_broker: Broker) -> None:
    """An assertion in the step stops one partition before its offset; the others go on."""
    broker = fresh_embedded_broker
    await ensure_topics(broker.bootstrap, PARTITIONS)
    broken = partition_of(KEYS[0], PARTITIONS)
    records = values(0, 90)
    await publish(broker, records)
    async with working(broker) as worker:
        await decided(broker, 90)
        await publish(broker, [(KEYS[0], b"halt"), *values(90, 180)])
        elsewhere = [r for r in values(90, 180) if partition_of(r[0], PARTITIONS) != broken]
        await decided(broker, 90 + len(elsewhere))

        async def halted() -> bool:
            return ready(worker) == set(range(PARTITIONS)) - {broken}

        await until(halted)
    found = await read_topic(broker.bootstrap, DECISIONS.name, PARTITIONS)
    everything = expected(values(0, 180))
    assert found[broken] == expected(records)[broken]
    for partition in set(range(PARTITIONS)) - {broken}:
        assert found[partition] == everything[partition]
    consumer = make_consumer(broker.bootstrap, group=GROUP)
    await consumer.start()
    tp = TopicPartition(EVENTS.name, broken)
    assert await consumer.committed(tp) == len(expected(records)[broken])
    await consumer.stop()
