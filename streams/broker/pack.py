"""Record batches out: from the rows of an `Out` to what a producer sends, in memory of our own.

A `RecordBatch` has the interface of aiokafka's BatchBuilder, so its sender takes it like its own:
it says who the producer is and how the batch is numbered, and asks for the bytes.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from aiokafka.producer.message_accumulator import BatchBuilder
from crc32c import crc32c

from streams.broker.writing import Cut, make_letters, write_rows
from streams.buffers import Array, Batch, Out
from streams.partition import Output
from streams.ports import Sendable
from streams.topology import STEP_OUTPUTS

ARENA_BYTES = 16 * 1024 * 1024
# Kafka takes batches of 1,048,588 bytes where nothing else is set for the topic.
BATCH_BYTES_MAX = 1_000_000
HEADER_BYTES = 61
_HEADER = struct.Struct(">qiibIhiqqqhii")
_CRC_AT, _CRC_FROM = 17, 21
_TRANSACTIONAL = 0x10


class RecordBatch:
    """One finished batch, `count` records behind room for a header in `memory` (uint8[...])."""

    def __init__(self, memory: Array, count: int, time_ms: int, *, transactional: bool) -> None:
        self._memory = memory.data
        self._count = count
        self._time_ms = time_ms
        self._attributes = _TRANSACTIONAL if transactional else 0
        self._producer = (-1, -1, -1)

    def close(self) -> None:
        """Do nothing: the batch is closed from the start."""

    def closed(self) -> bool:
        """Say that nothing may be added."""
        return True

    def size(self) -> int:
        """Return its length in bytes."""
        return len(self._memory)

    def record_count(self) -> int:
        """Return how many records it holds."""
        return self._count

    def _set_producer_state(self, producer_id: int, epoch: int, sequence: int) -> None:
        self._producer = (producer_id, epoch, sequence)

    def _build(self) -> memoryview:
        memory = self._memory
        _HEADER.pack_into(
            memory,
            0,
            0,
            len(memory) - 12,
            -1,
            2,
            0,
            self._attributes,
            self._count - 1,
            self._time_ms,
            self._time_ms,
            *self._producer,
            self._count,
        )
        struct.pack_into(">I", memory, _CRC_AT, crc32c(memory[_CRC_FROM:]))
        return memory


class Chunk(NamedTuple):
    """Record batches to send, each with the index of its topic in `topology.STEP_OUTPUTS`, in order
    per topic; `last`: they are the end of what one step wrote.

    A batch is a `RecordBatch` or aiokafka's own BatchBuilder.
    """

    batches: list[tuple[int, Sendable]]
    last: bool


class Packer:
    """Packs what steps of one partition write. Memory is taken once: a chunk must be sent and
    acknowledged before the next one of the same packer is asked for.
    """

    def __init__(
        self, partition: int, *, transactional: bool, arena_bytes: int = ARENA_BYTES
    ) -> None:
        self._letters = make_letters(partition)
        self._transactional = transactional
        self._arena: Array = np.zeros(arena_bytes, np.uint8)

    def pack(self, outs: Iterable[Out], batch: Batch, time_ms: int) -> Iterator[Chunk]:
        """Yield chunks, as few as memory allows, the last one even if it is empty."""
        chunk: list[tuple[int, Sendable]] = []
        at = 0
        for out in outs:
            for topic in range(len(STEP_OUTPUTS)):
                row, rows = 0, int(out.used[0])
                while row < rows:
                    start = at + HEADER_BYTES
                    cut = Cut(at + BATCH_BYTES_MAX, len(self._arena))
                    row, count, end = write_rows(
                        out, batch, self._letters, topic, row, self._arena, start, cut
                    )
                    if count:
                        chunk.append((topic, self._batch(self._arena[at:end], count, time_ms)))
                        at = end
                    elif row < rows:
                        assert at, "the arena holds any single record"
                        yield Chunk(chunk, last=False)
                        chunk, at = [], 0
        yield Chunk(chunk, last=True)

    def refuse(self, outputs: Iterable[Output]) -> Chunk:
        """Pack single records one by one: what no `Batch` could take is rare."""
        chunk: list[tuple[int, Sendable]] = []
        for output in outputs:
            builder = BatchBuilder(BATCH_BYTES_MAX, 0, is_transactional=self._transactional)
            builder.append(
                timestamp=None, key=output.key, value=output.value, headers=list(output.headers)
            )
            chunk.append((output.topic, builder))
        return Chunk(chunk, last=True)

    def _batch(self, memory: Array, count: int, time_ms: int) -> RecordBatch:
        return RecordBatch(memory, count, time_ms, transactional=self._transactional)
