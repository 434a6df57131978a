"""Publish the simulated world in real time and read what comes back, until told to stop."""

import asyncio
import time
from collections.abc import Callable, Collection

import orjson
from aiokafka import TopicPartition

from streams.broker.client import make_consumer
from streams.broker.publish import Publisher
from streams.demo.tally import Tally
from streams.simulate.world import Record, World
from streams.tasks import end
from streams.topology import DEAD_LETTERS, DECISIONS, FUNDING

_PACE_S = 0.005
_DRAIN_S_MAX = 20.0
_DRAIN_MORE_S = 0.5  # for repeats that come after the last first decision


class Traffic:
    """One run of the world against a broker."""

    def __init__(
        self,
        bootstrap: str,
        world: World,
        tally: Tally,
        partitions: int,
        institutions: Collection[str],
    ) -> None:
        self._bootstrap = bootstrap
        self._world = world
        self._tally = tally
        self._partitions = partitions
        self._institutions = institutions

    async def run(
        self, seconds: float, stop: asyncio.Event, on_turn: Callable[[], None] = lambda: None
    ) -> float:
        """Publish for `seconds` (0: until `stop`), then wait, bounded, until all is decided.

        Returns the seconds in which events were published. `on_turn` is called some times a second.
        """
        consumer = make_consumer(self._bootstrap)
        await consumer.start()
        topics = (DECISIONS.name, FUNDING.name, DEAD_LETTERS.name)
        consumer.assign([TopicPartition(t, n) for t in topics for n in range(self._partitions)])
        await consumer.seek_to_beginning()
        reading = asyncio.create_task(self._read(consumer))
        try:
            async with Publisher(self._bootstrap) as publisher:
                began = time.monotonic()
                await self._publish(publisher, seconds, stop, reading, on_turn)
                took = time.monotonic() - began
                await self._drain(reading, on_turn)
        finally:
            await end(reading)
            await consumer.stop()
        return took

    async def _publish(
        self,
        publisher: Publisher,
        seconds: float,
        stop: asyncio.Event,
        reading: asyncio.Task[None],
        on_turn: Callable[[], None],
    ) -> None:
        end = time.monotonic() + seconds if seconds else float("inf")
        while not stop.is_set() and time.monotonic() < end:
            if reading.done():
                reading.result()
            records = self._world.next_events(time.time_ns() // 1_000_000)
            for record in records:
                await self._send(publisher, record)
            now_s = time.monotonic()
            await publisher.hand_over()
            for record in records:
                request = _request(record)
                asked = orjson.loads(record.value or b"")["amount_cents"] if request else 0
                self._tally.sent(request, now_s, asked)
            on_turn()
            await asyncio.sleep(_PACE_S)
        await publisher.flush()

    async def _send(self, publisher: Publisher, record: Record) -> None:
        # What our institutions say of their loans comes by their own topics.
        event = orjson.loads(record.value) if record.kind == "loan" and record.value else {}
        if record.admissible and event.get("issuer") in self._institutions:
            await publisher.send_ingress(event["issuer"], record.key, record.value)
        else:
            await publisher.send(record.key, record.value)

    async def _read(self, consumer: "object") -> None:
        from aiokafka import AIOKafkaConsumer  # noqa: PLC0415 for its type only

        assert isinstance(consumer, AIOKafkaConsumer)
        while True:
            found = await consumer.getmany(timeout_ms=50)
            now_s = time.monotonic()
            for partition, records in found.items():
                for record in records:
                    if partition.topic == DECISIONS.name:
                        decision = orjson.loads(record.value)
                        if self._tally.on_decision(decision, now_s):
                            self._world.on_decision(decision)
                    elif partition.topic == FUNDING.name:
                        self._tally.on_move(orjson.loads(record.value))
                    else:
                        reason = dict(record.headers)["reason"]
                        self._tally.on_dead_letter(reason.decode())

    async def _drain(self, reading: asyncio.Task[None], on_turn: Callable[[], None]) -> None:
        end = time.monotonic() + _DRAIN_S_MAX
        while self._tally.lost and time.monotonic() < end and not reading.done():
            on_turn()
            await asyncio.sleep(0.05)
        await asyncio.sleep(_DRAIN_MORE_S)
        if reading.done():
            reading.result()


def _request(record: Record) -> tuple[str, str] | None:
    return (record.applicant, record.id) if record.is_request and record.admissible else None
