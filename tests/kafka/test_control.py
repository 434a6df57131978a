"""The control process, on both kinds of broker."""

import asyncio

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streams import clock
from streams.broker.client import make_producer
from streams.broker.topics import ensure_topics
from streams.control.keys import Trusted, verifier
from streams.control.process import ControlProcess
from streams.control.records import Position
from streams.schema import Cap
from streams.topology import CLOCK, EVENTS
from tests.conftest import Broker
from tests.kafka.logs import read_partition, until

_CAPS = {"dawn": {Cap.OUTSTANDING: 5}, "north": {Cap.OUTSTANDING: 4, Cap.COMMITMENT: 2}}


async def _values(broker: Broker, topic: str, partition: int) -> list[bytes]:
    return [r.value for r in await read_partition(broker.bootstrap, topic, partition)]


async def test_restarts_continue_the_sequence(fresh_broker: Broker) -> None:
    """Grants stand once, ticks follow; a restart goes on from the log, with or without noted
    offsets.
    """
    await ensure_topics(fresh_broker.bootstrap, 2)
    key = Ed25519PrivateKey.generate()
    for run in range(3):
        async with ControlProcess(fresh_broker.bootstrap, 2, key, _CAPS) as control:
            await control.tick(1_000 + run)
            if run == 1:
                control._note.clear()  # as after kill -9: written, but not noted
    verify = verifier([Trusted(key.public_key())])
    for partition in range(2):
        values = await _values(fresh_broker, EVENTS.name, partition)
        records = [orjson.loads(value) for value in values]
        assert all(verify(partition, value, n) for n, value in enumerate(values))
        assert [r["seq"] for r in records] == [1, 2, 3, 4, 5, 6]
        assert [r["type"] for r in records] == ["grant"] * 3 + ["tick"] * 3
        assert [r["at"] for r in records[3:]] == [1_000, 1_001, 1_002]


async def test_forged_and_repeated_records_do_not_move_the_sequence(fresh_broker: Broker) -> None:
    """A record with another key's signature, or a copy of an older one, says nothing about
    where we are.
    """
    await ensure_topics(fresh_broker.bootstrap, 1)
    key = Ed25519PrivateKey.generate()
    async with ControlProcess(fresh_broker.bootstrap, 1, key, {}) as control:
        await control.tick(1_000, 2_000)
    first, _ = await _values(fresh_broker, EVENTS.name, 0)
    forged = first.replace(b'"seq":1', b'"seq":77')
    producer = make_producer(fresh_broker.bootstrap, fresh_broker.kind)
    await producer.start()
    for value in (forged, first, None, b"{}"):
        key_bytes = b"a" if value is None else None
        await producer.send_and_wait(EVENTS.name, value, key=key_bytes, partition=0)
    await producer.stop()
    async with ControlProcess(fresh_broker.bootstrap, 1, key, {}) as control:
        assert control.positions == [Position(2, 2_000)]


async def test_answers_when_the_tick_stands_everywhere(fresh_broker: Broker) -> None:
    """With the clock of a file, a request is answered after its ticks; what cannot be read is
    passed over.
    """
    await ensure_topics(fresh_broker.bootstrap, 3)
    producer = make_producer(fresh_broker.bootstrap, fresh_broker.kind)
    await producer.start()
    # The first request waits for a control process that is not there yet.
    for value in (b"junk", clock.write_request(clock.Request("one", (10, 20)))):
        await producer.send_and_wait(CLOCK.name, value, partition=0)

    async def answered(token: str) -> bool:
        values = await _values(fresh_broker, CLOCK.name, 0)
        return clock.write_answer(clock.Answer(token)) in values

    stop = asyncio.Event()
    key = Ed25519PrivateKey.generate()
    async with ControlProcess(fresh_broker.bootstrap, 3, key, {}) as control:
        running = asyncio.create_task(control.run_file_clock(stop))
        await until(lambda: answered("one"))
        for partition in range(3):
            values = await _values(fresh_broker, EVENTS.name, partition)
            assert [orjson.loads(value)["at"] for value in values] == [10, 20]
        request = clock.write_request(clock.Request("two", (30,)))
        await producer.send_and_wait(CLOCK.name, request, partition=0)
        await until(lambda: answered("two"))
        stop.set()
        await running
    await producer.stop()
    assert control.positions == [Position(3, 30)] * 3


async def test_wall_clock_ticks_until_stopped(embedded_broker: Broker) -> None:
    """With the wall clock, ticks come at the pace asked for and end at once when told."""
    await ensure_topics(embedded_broker.bootstrap, 1)
    stop = asyncio.Event()
    key = Ed25519PrivateKey.generate()
    async with ControlProcess(embedded_broker.bootstrap, 1, key, {}) as control:
        running = asyncio.create_task(control.run_wall_clock(stop, tick_ms=20))
        async with asyncio.timeout(10):
            while control.ticks < 3:
                await asyncio.sleep(0.01)
        stop.set()
        await running
    assert control.positions[0].seq >= 3
