"""The control process on Kafka: finds where it stopped, writes the grants once, then ticks.

1. Ask the broker for the offset of our last record in each partition, kept as the group's committed
   offset.
2. Read each partition from there to its end: our own signed records, in sequence, say `seq` and
   time.
3. Write what the treasury had ordered and is not there, and the first grants that are missing; wait
   until all stand.
4. Per tick: write it to every partition, wait until all stand, answer who asked, note the offsets.

If it dies after a record was written and before its offset was noted, step 2 reads further; if it
dies between the partitions of one tick, those behind catch up with the next one, since a tick goes
to each partition whose time is before it. If two processes run at once, a partition accepts each
`seq` once and the other's record becomes a dead letter: no money and no time twice, but run one.
"""

import asyncio
import time
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from monitoring.logs import log_action
from streams import clock
from streams.broker.client import broker_kind, log_end, make_consumer, make_producer, stop_client
from streams.control.bodies import read_bodies
from streams.control.budgets import KEY, read_record, write_record
from streams.control.keys import Trusted, Verify, verifier
from streams.control.records import (
    VERBS,
    Caps,
    Command,
    ControlLog,
    Entry,
    Order,
    Position,
    read_position,
)
from streams.control.treasury import Treasury
from streams.errors import DipperError
from streams.funding.segments import SegmentCap
from streams.limits import SECOND_MS
from streams.tasks import end
from streams.topology import CLOCK, CONTROL, EVENTS

GROUP = "dipper-control"
_NOTE_S = 2.0  # how often offsets are noted: what a restart reads again at most
_POLL_MS = 200


class ControlProcess:
    """Writes control events of one deployment: `async with ControlProcess(...) as control:`.

    Takes the broker, how many partitions `dipper.events` has, the private key, the caps, what tells
    our own older records (the key's own signature where not given), and caps by day and segment.
    """

    def __init__(
        self,
        bootstrap: str,
        partitions: int,
        key: Ed25519PrivateKey,
        caps: Caps,
        verify: Verify | None = None,
        segments: Sequence[SegmentCap] = (),
    ) -> None:
        self._bootstrap = bootstrap
        self._partitions = [TopicPartition(EVENTS.name, n) for n in range(partitions)]
        self._clock = TopicPartition(CLOCK.name, 0)
        self._key = key
        self._caps = caps
        self._segments = segments
        self._verify = verify or verifier([Trusted(key.public_key())])
        self._log = ControlLog(key.sign, caps, [Position()] * partitions)
        self.treasury = Treasury(caps, partitions, None, segments)
        self._producer: AIOKafkaProducer
        self._consumer: AIOKafkaConsumer
        self._note: dict[TopicPartition, int] = {}
        self._noted = 0.0
        self._writing = asyncio.Lock()  # what bears a later number must not go out first
        self.ticks = 0

    @property
    def positions(self) -> list[Position]:
        """How far control has come, by partition."""
        return self._log.positions

    async def __aenter__(self) -> Self:
        kind = await broker_kind(self._bootstrap)
        self._producer = make_producer(self._bootstrap, kind)
        self._consumer = make_consumer(self._bootstrap, group=GROUP)
        await self._producer.start()
        await self._consumer.start()
        positions = await find_positions(self._consumer, self._partitions, self._verify)
        self._log = ControlLog(self._key.sign, self._caps, positions)
        kept = (await read_bodies(self._bootstrap)).get(KEY)
        self.treasury, waiting = read_record(kept, self._caps, len(positions), self._segments)
        if kept is None:
            await self._keep([])
        await self._write(self._log.again(waiting))
        log_action("start", partitions=len(positions), seq=[each.seq for each in positions])
        log_action("grant", records=await self._write(self._log.grants()))
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(self._note_offsets(), _NOTE_S)
        await stop_client(self._consumer)
        await stop_client(self._producer)

    async def run_wall_clock(self, stop: asyncio.Event, tick_ms: int = SECOND_MS) -> None:
        """Write the wall clock's time every `tick_ms` until `stop` is set."""
        due = time.monotonic()
        while not stop.is_set():
            await self._unless(stop, self.tick(time.time_ns() // 1_000_000))
            due = max(due + tick_ms / 1000, time.monotonic())
            try:
                await asyncio.wait_for(stop.wait(), due - time.monotonic())
            except TimeoutError:
                continue

    async def run_file_clock(self, stop: asyncio.Event) -> None:
        """Write the times that `dipper publish` hands over, answering each request, until
        `stop` is set.
        """
        await self._seek_clock()
        while not stop.is_set():
            found = await self._consumer.getmany(self._clock, timeout_ms=_POLL_MS)
            for record in found.get(self._clock, ()):
                message = clock.read_message(record.value)
                if isinstance(message, clock.Request):
                    await self._unless(stop, self._answer(message))
                self._note[self._clock] = record.offset + 1

    async def _answer(self, request: clock.Request) -> None:
        await self.tick(*request.at)
        answer = clock.write_answer(clock.Answer(request.token))
        await self._producer.send_and_wait(CLOCK.name, answer, partition=0)

    async def _unless(self, stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
        """Await `work`, or give it up when told to stop: without a broker it would wait long."""
        doing, told = asyncio.create_task(work), asyncio.create_task(stop.wait())
        await asyncio.wait({doing, told}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if not doing.done():
            await end(doing)
        else:
            doing.result()

    async def tick(self, *times: int) -> None:
        """Write a tick of each time to every partition that is before it; return when all stand."""
        await self._write(entry for at in times for entry in self._log.ticks(at))
        self.ticks += len(times)
        if time.monotonic() - self._noted > _NOTE_S:
            await self._note_offsets()

    async def tell(self, told: Command) -> None:
        """Write a command into every partition; return when it stands in all.

        `DipperError` where it names an institution that there is not.
        """
        if VERBS[told.verb] == "institution" and told.what not in self._caps:
            known = ", ".join(sorted(self._caps))
            raise DipperError(f"there is no institution {told.what}; there are {known}")
        records = await self._write(self._log.commands(told))
        log_action(told.verb, what=told.what, records=records)

    async def order(self, orders: Iterable[Order]) -> None:
        """Keep what the treasury has decided, then write it; return when all stands."""
        async with self._writing:
            entries = list(self._log.orders(orders))
            await self._keep(entries)
            sent = await self._send(entries)
        log_action("order", records=await self._stand(sent))

    async def _keep(self, entries: Iterable[Entry]) -> None:
        record = write_record(self.treasury, entries)
        await self._producer.send_and_wait(CONTROL.name, record, key=KEY, partition=0)

    async def _write(self, entries: Iterable[Entry]) -> int:
        async with self._writing:
            sent = await self._send(entries)
        return await self._stand(sent)

    async def _send(self, entries: Iterable[Entry]) -> list[Any]:
        send = self._producer.send
        return [await send(EVENTS.name, each.value, partition=each.partition) for each in entries]

    async def _stand(self, sent: list[Any]) -> int:
        for done in await asyncio.gather(*sent):
            place = TopicPartition(EVENTS.name, done.partition)
            self._note[place] = max(done.offset, self._note.get(place, 0))
        return len(sent)

    async def _note_offsets(self) -> None:
        if self._note:
            await self._consumer.commit(self._note)
        self._noted = time.monotonic()

    async def _seek_clock(self) -> None:
        # Requests that nobody answered are taken up again; time never goes back, so repeats do
        # nothing.
        self._consumer.assign([*self._partitions, self._clock])
        self._consumer.pause(*self._partitions)
        committed = await self._consumer.committed(self._clock)
        start = (await self._consumer.beginning_offsets([self._clock]))[self._clock]
        self._consumer.seek(self._clock, max(committed or 0, start))


async def find_positions(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], verify: Verify
) -> list[Position]:
    """Return the last `seq` and tick that control wrote into each partition, read from the log
    itself.

    Leaves the consumer assigned to these partitions. A record counts only with a good signature and
    a `seq` above the last one: a copy that somebody else published again does not.
    """
    consumer.assign(partitions)
    begin = await consumer.beginning_offsets(partitions)
    end = {each: await log_end(consumer, each) for each in partitions}
    for partition in partitions:
        committed = await consumer.committed(partition)
        consumer.seek(partition, max(committed or 0, begin[partition]))
    found = dict.fromkeys(partitions, Position())
    waiting = {each for each in partitions if await consumer.position(each) < end[each]}
    while waiting:
        for partition, records in (await consumer.getmany(*waiting, timeout_ms=_POLL_MS)).items():
            for record in records:
                value = record.value
                if record.key is not None or value is None:
                    continue
                if verify(partition.partition, value, record.offset):
                    found[partition] = _later(found[partition], read_position(value))
        waiting = {each for each in waiting if await consumer.position(each) < end[each]}
    return [found[each] for each in partitions]


def _later(known: Position, read: Position | None) -> Position:
    if read is None or read.seq <= known.seq:
        return known
    return Position(read.seq, max(known.at, read.at))
