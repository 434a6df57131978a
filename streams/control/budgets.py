"""The treasury at work on Kafka: reads `dipper.funding`, keeps its orders, lets control write them.

What it must not forget stands under one key of `dipper.control`: what is granted to whom, and the
orders of the last round as they go into the log. It is written before they are, so a control that
died in between writes them again, and no partition takes a number twice.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

import orjson
from aiokafka import TopicPartition

from streams.broker.client import log_end, make_consumer, stop_client
from streams.control.records import Caps, Entry, Order
from streams.control.treasury import Treasury
from streams.errors import DipperError
from streams.funding.segments import SegmentCap
from streams.schema import Cap
from streams.topology import FUNDING

KEY = b"treasury"
_POLL_MS = 200
_ROUND_S = 0.5  # between two plans: money that lies wrong is found within two of them

Write = Callable[[Iterable[Order]], Awaitable[None]]


def write_record(treasury: Treasury, entries: Iterable[Entry]) -> bytes:
    """Return what must survive, as a record's value."""
    waiting = [[entry.partition, entry.value.decode()] for entry in entries]
    return orjson.dumps({"kept": treasury.kept(), "entries": waiting})


def read_record(
    value: bytes | None, caps: Caps, partitions: int, segments: Sequence[SegmentCap] = ()
) -> tuple[Treasury, list[Entry]]:
    """Return the treasury and the orders of its last round; a new one where there is no record."""
    if value is None:
        return Treasury(caps, partitions, None, segments), []
    record = orjson.loads(value)
    entries = [Entry(partition, text.encode()) for partition, text in record["entries"]]
    return Treasury(caps, partitions, record["kept"], segments), entries


class Budgets:
    """Helps partitions that run dry, and changes caps; `write` puts orders into the log."""

    def __init__(self, bootstrap: str, partitions: int, treasury: Treasury, write: Write) -> None:
        self._bootstrap = bootstrap
        self._partitions = [TopicPartition(FUNDING.name, n) for n in range(partitions)]
        self._treasury = treasury
        self._write = write
        self._read = False  # all of the funding log that stood at the start

    async def run(self, stop: asyncio.Event) -> None:
        """Fold what is lent from its beginning, and order what helps, until `stop` is set."""
        consumer = make_consumer(self._bootstrap)
        await consumer.start()
        try:
            consumer.assign(self._partitions)
            ends = [await log_end(consumer, each) for each in self._partitions]
            await consumer.seek_to_beginning()
            due = 0.0
            while not stop.is_set():
                found = await consumer.getmany(timeout_ms=_POLL_MS)
                for records in found.values():
                    for record in records:
                        self._treasury.take(orjson.loads(record.value))
                if not self._read:
                    places = [await consumer.position(each) for each in self._partitions]
                    self._read = all(at >= end for at, end in zip(places, ends, strict=True))
                now = asyncio.get_running_loop().time()
                if self._read and now >= due:
                    due = now + _ROUND_S
                    await self._order()
        finally:
            await stop_client(consumer)

    async def set_cap(self, told: str) -> None:
        """Change a cap, told as `dawn outstanding 500000` (cents); `DipperError` where it is
        refused.
        """
        institution, name, amount = told.split(" ")
        if not self._read:
            raise DipperError("the treasury still reads what is lent; ask again in a moment")
        self._treasury.set_cap(institution, Cap[name.upper()], int(amount))
        await self._order(even_if_none=True)

    async def _order(self, *, even_if_none: bool = False) -> None:
        orders = self._treasury.plan()
        if orders or even_if_none:
            await self._write(orders)
