"""Publishing, on both kinds of broker."""

import asyncio

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streams.broker import publish as publishing
from streams.broker.lines import Line, read_line
from streams.broker.publish import Published, Publisher, partition_of, publish
from streams.broker.topics import ensure_topics
from streams.control.process import ControlProcess
from streams.errors import BrokerError
from streams.topology import EVENTS
from tests.conftest import Broker
from tests.kafka.logs import read_partition

_PARTITIONS = 3


def _event(applicant: int, number: int) -> bytes:
    return b'{"applicant":"a%d","number":%d}' % (applicant, number)


async def test_order_within_a_partition_is_that_of_the_file(fresh_broker: Broker) -> None:
    """Events stand in file order in the partition of their key, and ticks exactly between them."""
    await ensure_topics(fresh_broker.bootstrap, _PARTITIONS)
    values: list[bytes] = []
    for number in range(3_000):
        if number % 500 == 0:
            values.append(b'{"type":"tick","at":%d}' % (number + 1))
        values.append(_event(number % 17, number))
    lines = [read_line(n, value) for n, value in enumerate(values, 1)]
    key = Ed25519PrivateKey.generate()
    stop = asyncio.Event()
    async with ControlProcess(fresh_broker.bootstrap, _PARTITIONS, key, {}) as control:
        running = asyncio.create_task(control.run_file_clock(stop))
        async with Publisher(fresh_broker.bootstrap) as publisher:
            assert await publish(publisher, lines) == Published(3_000, 6, 0)
        stop.set()
        await running
    for partition in range(_PARTITIONS):
        expected = [
            (line.key, orjson.loads(line.value).get("number", line.tick_at))
            for line in lines
            if line.key is None or partition_of(line.key, _PARTITIONS) == partition
        ]
        read = [
            (
                record.key,
                orjson.loads(record.value).get("number", orjson.loads(record.value).get("at")),
            )
            for record in await read_partition(fresh_broker.bootstrap, EVENTS.name, partition)
        ]
        assert read == expected


async def test_lines_that_are_no_events(fresh_embedded_broker: Broker) -> None:
    """They are named and left out; with raw they stand in partition 0, byte for byte, without
    a key.
    """
    broker = fresh_embedded_broker
    await ensure_topics(broker.bootstrap, _PARTITIONS)
    lines = [read_line(n, v) for n, v in enumerate([b"junk", _event(1, 1), b"[]"], 1)]
    faults: list[Line] = []
    async with Publisher(broker.bootstrap) as publisher:
        counts = await publish(publisher, lines, on_fault=faults.append)
        assert (counts, [line.number for line in faults]) == (Published(1, 0, 2), [1, 3])
        assert await publish(publisher, lines, raw=True) == Published(3, 0, 0)
    records = [
        r
        for n in range(_PARTITIONS)
        for r in await read_partition(broker.bootstrap, EVENTS.name, n)
    ]
    assert [r.value for r in records if r.key is None] == [b"junk", b"[]"]
    assert all(r.partition == 0 for r in records if r.key is None)


async def test_large_and_empty_records_pass(fresh_broker: Broker) -> None:
    """A record of two megabytes is published among small ones, in order."""
    await ensure_topics(fresh_broker.bootstrap, 1)
    values = [b"1", bytes(2_000_000), b"", b"4" * 300_000, b"5" * 300_000]
    async with Publisher(fresh_broker.bootstrap) as publisher:
        for value in values:
            await publisher.send(b"a", value)
        await publisher.flush()
    assert [
        record.value for record in await read_partition(fresh_broker.bootstrap, EVENTS.name, 0)
    ] == values


async def test_a_rate_is_kept(fresh_embedded_broker: Broker) -> None:
    """At a given rate, publishing takes as long as the rate says, and not much longer."""
    await ensure_topics(fresh_embedded_broker.bootstrap, 1)
    lines = [Line(n, b"a", _event(0, n)) for n in range(600)]
    async with Publisher(fresh_embedded_broker.bootstrap) as publisher:
        loop = asyncio.get_running_loop()
        start = loop.time()
        await publish(publisher, lines, rate=2_000)
        assert 0.29 <= loop.time() - start < 1.5


async def test_a_tick_without_control_is_a_sentence(
    fresh_embedded_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody answers for time, publishing ends with what to start."""
    await ensure_topics(fresh_embedded_broker.bootstrap, 1)
    monkeypatch.setattr(publishing, "ANSWER_S_MAX", 0.2)
    async with Publisher(fresh_embedded_broker.bootstrap) as publisher:
        with pytest.raises(BrokerError, match="dipper control --clock file"):
            await publisher.tick(1)


@pytest.mark.parametrize(
    ("key", "partition"), [(b"21", -973932308 & 0x7FFFFFFF), (b"foobar", -790332482 & 0x7FFFFFFF)]
)
def test_partitions_are_those_of_javas_client(key: bytes, partition: int) -> None:
    """Hashes are those that Apache Kafka's own tests of murmur2 expect."""
    assert partition_of(key, 2**31) == partition
    assert partition_of(key, 7) == partition % 7
