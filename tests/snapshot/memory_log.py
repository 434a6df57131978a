"""A log in memory that answers as Kafka does: whole record batches, a group's offset."""

import asyncio
from collections.abc import Sequence

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from streams.errors import BrokerError
from streams.ports import Committed, Fetched, Place
from streams.topology import EVENTS
from tests.naive.logs import Row

_BATCH_ROWS = 13


class MemoryLog:
    """One partition; set `offset` and `note` to what the group has committed, `begin` to what is
    deleted.
    """

    def __init__(self, partition: int, rows: Sequence[Row]) -> None:
        self.place = Place(EVENTS.name, partition)
        self.offset = 0
        self.note = ""
        self.begin = 0
        self._end = len(rows)
        self._batches = {
            first: _batch(first, rows[first : first + _BATCH_ROWS])
            for first in range(0, len(rows), _BATCH_ROWS)
        }

    async def fetch(self, offset: int) -> Fetched:
        """Return the batch that holds `offset`, and the next."""
        if offset < self.begin:
            raise BrokerError(f"offset {offset} is deleted")
        await asyncio.sleep(0)
        first = offset - offset % _BATCH_ROWS
        data = b"".join(self._batches.get(each, b"") for each in (first, first + _BATCH_ROWS))
        if not data:
            await asyncio.sleep(0.01)
        return Fetched(offset, data, (), self._end)

    async def bounds(self) -> tuple[int, int]:
        """Return what is kept."""
        return self.begin, self._end

    async def committed(self, group: str) -> Committed:
        """Return what the test says."""
        return Committed(self.offset or -1, self.note)

    async def close(self) -> None:
        """Hold no connection."""


def _batch(first: int, rows: Sequence[Row]) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 1 << 24)
    for place, (key, value) in enumerate(rows):
        assert builder.append(place, 0, key, value, [])
    data = bytearray(builder.build())
    data[:8] = first.to_bytes(
        8, "big"
    )  # a broker writes the base offset, the checksum leaves it out
    return bytes(data)
