"""Record batches out: the bytes are those of aiokafka's builder, cut where a topic must cut."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from streams.broker.pack import BATCH_BYTES_MAX, HEADER_BYTES, Chunk, Packer, RecordBatch
from streams.buffers import Batch, Out, append_record, make_batch, make_out
from streams.limits import RECORD_BYTES_MAX, Limits
from streams.partition import Input, Output, dead_letter
from streams.schema import Refusal
from streams.topology import OUT_DEAD_LETTER, STEP_OUTPUTS

pytestmark = pytest.mark.kernel

_SIZE = Limits(batch_rows=64, out_rows=64)
_AT_MS = 1_700_000_000_123
_PARTITION = 12
_refusals = st.sampled_from([each for each in Refusal if each != Refusal.NONE])
_inputs = st.lists(
    st.tuples(
        st.integers(0, 2**40),
        st.none() | st.binary(max_size=90),
        st.none() | st.binary(max_size=90),
    ),
    min_size=1,
    max_size=20,
)
_rows = st.lists(
    st.one_of(
        st.tuples(
            st.integers(0, OUT_DEAD_LETTER - 1),
            st.none() | st.binary(max_size=99),
            st.binary(max_size=300),
        ),
        st.tuples(st.integers(0, 19), _refusals, st.integers(-1, 10**6)),
    ),
    max_size=40,
)


def _put(out: Out, place: tuple[int, ...], text: bytes) -> None:
    at = int(out.used[1])
    out.data[at : at + len(text)] = np.frombuffer(text, np.uint8)
    out.rows[int(out.used[0])] = place
    out.used[:] = out.used[0] + 1, at + len(text)


def _filled(inputs: Sequence[tuple[int, bytes | None, bytes | None]]) -> Batch:
    batch = make_batch(_SIZE)
    for each in inputs:
        assert append_record(batch, *each)
    return batch


def _read(chunks: Iterator[Chunk]) -> Iterator[tuple[int, bytes]]:
    for chunk in chunks:
        for topic, batch in chunk.batches:
            assert batch.size() == len(batch._build())
            assert batch.closed()
            yield topic, bytes(batch._build())


def _naive(outputs: Sequence[Output]) -> list[tuple[int, bytes]]:
    """One batch a topic by aiokafka's builder."""
    batches = []
    for topic in range(len(STEP_OUTPUTS)):
        builder = DefaultRecordBatchBuilder(2, 0, 1, 5, 6, 7, 1 << 30)
        records = [output for output in outputs if output.topic == topic]
        for place, each in enumerate(records):
            builder.append(place, _AT_MS, each.key, each.value, list(each.headers))
        if records:
            batches.append((topic, bytes(builder.build())))
    return batches


@given(_inputs, _rows)
def test_batches_are_byte_for_byte_aiokafkas(
    inputs: list[tuple[int, bytes | None, bytes | None]], rows: list[tuple[Any, Any, Any]]
) -> None:
    """Rows of an Out, dead letters with their headers, producer and CRC: the same bytes."""
    batch, out, outputs = _filled(inputs), make_out(_SIZE), []
    for row in rows:
        if isinstance(row[1], Refusal):
            source = row[0] % len(inputs)
            _put(out, (OUT_DEAD_LETTER, source, 0, -1, 0, 0, row[1], row[2]), b"")
            outputs.append(dead_letter(Input(*inputs[source]), _PARTITION, row[1], row[2]))
        else:
            topic, key, value = row
            at = int(out.used[1])
            middle = at + len(key or b"")
            length = -1 if key is None else len(key)
            _put(out, (topic, 0, at, length, middle, len(value), 0, -1), (key or b"") + value)
            outputs.append(Output(topic, key, value))
    packer = Packer(_PARTITION, transactional=True)
    chunks = list(packer.pack(iter([out]), batch, _AT_MS))
    assert [chunk.last for chunk in chunks] == [True]
    for _, each in chunks[0].batches:
        each._set_producer_state(5, 6, 7)
    assert list(_read(iter(chunks))) == _naive(outputs)


def _values(data: bytes) -> list[bytes]:
    memory, found = MemoryRecords(data), []
    while memory.has_next():
        batch = memory.next_batch()
        assert batch.validate_crc()
        assert not batch.is_transactional
        found += [record.value for record in batch]
    return found


def test_large_output_is_cut_into_batches_and_chunks() -> None:
    """No batch of several records exceeds what a topic takes; full memory is handed over; nothing
    is lost or reordered.
    """
    size = _SIZE._replace(out_bytes=64 * 400_000)
    values = [bytes([n]) * (300_000 + n) for n in range(60)]
    batch, packed, chunks = make_batch(_SIZE), [], 0

    def outs() -> Iterator[Out]:
        for first in (0, 30):
            out = make_out(size)
            for value in values[first : first + 30]:
                _put(out, (1, 0, 0, -1, int(out.used[1]), len(value), 0, -1), value)
            yield out

    packer = Packer(0, transactional=False, arena_bytes=4_000_000)
    for chunk in packer.pack(outs(), batch, _AT_MS):
        chunks += 1
        for topic, each in chunk.batches:
            assert (topic, each.size() <= BATCH_BYTES_MAX) == (1, True)
            packed += _values(bytes(each._build()))
    assert packed == values
    assert chunks > 4


def test_a_dead_letter_of_two_megabytes_is_a_batch_of_its_own() -> None:
    """A record beyond a usual batch is carried alone; beyond what a dead letter holds, its length
    is.
    """
    big, beyond = bytes(2_000_000), bytes(RECORD_BYTES_MAX + 1)
    for value in (big, beyond):
        batch, out = _filled([(5, b"k", value), (6, b"k", b"x")]), make_out(_SIZE)
        expected = []
        for source, (offset, text) in enumerate([(5, value), (6, b"x")]):
            _put(out, (OUT_DEAD_LETTER, source, 0, -1, 0, 0, Refusal.MALFORMED, 3), b"")
            expected.append(dead_letter(Input(offset, b"k", text), 0, Refusal.MALFORMED, 3))
        packer = Packer(0, transactional=False)
        found = []
        for _, data in _read(packer.pack(iter([out]), batch, _AT_MS)):
            memory = MemoryRecords(data)
            found += [
                Output(OUT_DEAD_LETTER, record.key, record.value, tuple(record.headers))
                for record in memory.next_batch()
            ]
        assert found == expected


def test_what_no_batch_could_take_is_packed_by_itself() -> None:
    """A refused record of any size becomes a batch that a producer takes like the others."""
    letter = dead_letter(Input(5, None, bytes(2_400_000)), 0, Refusal.TOO_LONG, -1)
    chunk = Packer(0, transactional=True).refuse([letter])
    ((topic, builder),) = chunk.batches
    builder._set_producer_state(1, 2, 3)
    batch = MemoryRecords(bytes(builder._build())).next_batch()
    (record,) = list(batch)
    assert (topic, chunk.last, batch.is_transactional) == (OUT_DEAD_LETTER, True, True)
    assert (record.value, tuple(record.headers)) == (letter.value, letter.headers)


def test_a_batch_has_the_interface_of_aiokafkas_builder() -> None:
    """It is closed from the start, and says how long it is."""
    memory = np.zeros(HEADER_BYTES + 8, np.uint8)
    batch = RecordBatch(memory, 1, _AT_MS, transactional=False)
    assert batch.closed()
    batch.close()
    assert (batch.size(), batch.record_count()) == (len(memory), 1)
