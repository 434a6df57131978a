"""Record batches by aiokafka's own builder and parser: the oracle of ours."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from streams.broker.reader import Reader
from streams.buffers import Batch, make_batch
from streams.limits import Limits
from streams.ports import Fetched, Place
from streams.topology import EVENTS

SIZE = Limits(batch_rows=64, out_rows=64)
PLACE = Place(EVENTS.name, 3)
Row = tuple[int, bytes | None, bytes | None]


class Given(NamedTuple):
    """A record to be written; offsets of a batch count from its first."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def build(
    records: Sequence[Given],
    base_offset: int = 0,
    *,
    codec: int = 0,
    transactional: bool = False,
    producer: int = -1,
    at_ms: int = 1_700_000_000_000,
) -> bytes:
    """Return one batch by aiokafka's builder, as a broker stores it at `base_offset`."""
    builder = DefaultRecordBatchBuilder(2, codec, transactional, producer, 0, 0, 1 << 30)
    for place, record in enumerate(records):
        builder.append(place, at_ms, record.key, record.value, list(record.headers))
    data = bytearray(builder.build())
    data[:8] = base_offset.to_bytes(8, "big")
    return bytes(data)


def parse(data: bytes) -> list[Row]:
    """Return every record that aiokafka's parser finds, control batches left out."""
    rows: list[Row] = []
    memory = MemoryRecords(data)
    while memory.has_next():
        batch = memory.next_batch()
        assert batch.validate_crc()
        if not batch.is_control_batch:
            rows += [(record.offset, record.key, record.value) for record in batch]
    return rows


def rows_of(batch: Batch) -> list[Row]:
    """Return the rows of a batch."""

    def span(row: int, start: np.ndarray, length: np.ndarray) -> bytes | None:
        if length[row] < 0:
            return None
        return batch.data[start[row] : start[row] + length[row]].tobytes()

    return [
        (
            int(batch.offset[row]),
            span(row, batch.key_start, batch.key_len),
            span(row, batch.value_start, batch.value_len),
        )
        for row in range(int(batch.used[0]))
    ]


def read_all(
    answers: Sequence[Fetched], since: int = 0, size: Limits = SIZE, until: int = 2**62
) -> list[Row]:
    """Return what a `Reader` makes of these answers, batch by batch; refused ones among them."""
    reader, batch, rows = Reader(PLACE), make_batch(size), []
    reader.seek(since)
    for answer in answers:
        reader.feed(answer)
        while reader.fill(batch, until):
            rows += rows_of(batch)
            if reader.refused is not None:
                rows.append((reader.refused.offset, reader.refused.key, reader.refused.value))
            batch.used[:] = 0
    return rows
