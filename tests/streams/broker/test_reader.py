"""Record batches into rows: aiokafka's parser is the oracle, and nothing corrupt gets through."""

import struct
from collections.abc import Callable

import numpy as np
import pytest
from aiokafka.record.default_records import DefaultRecordBatch
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from streams.broker.inflate import INFLATED_BYTES_MAX
from streams.broker.reader import Reader
from streams.broker.records import CURSOR, FILL_CORRUPT, PLAN, fill_rows, read_varint
from streams.buffers import make_batch
from streams.errors import CorruptBatchError
from streams.ports import Fetched
from tests.sizes import sized
from tests.streams.broker.kafka_twin import PLACE, SIZE, Given, build, parse, read_all, rows_of

pytestmark = pytest.mark.kernel

_CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
_texts = st.none() | st.binary(max_size=200)
_records = st.builds(
    Given,
    _texts,
    _texts,
    st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=9)), max_size=2).map(
        tuple
    ),
)
_batches = st.lists(
    st.tuples(st.lists(_records, min_size=1, max_size=30), st.sampled_from(list(_CODECS.values()))),
    min_size=1,
    max_size=6,
)


def _sealed(data: bytearray) -> bytes:
    """Put the right CRC on a batch whose header or records have been changed."""
    struct.pack_into(">I", data, 17, crc32c(bytes(data[21:])))
    return bytes(data)


def _batch(count: int, base: int = 0, codec: int = 0) -> bytes:
    return build([Given(b"k%d" % n, b"v%d" % n) for n in range(count)], base, codec=codec)


@given(_batches, st.integers(0, 99), st.data())
def test_rows_are_what_aiokafka_reads(
    batches: list[tuple[list[Given], int]], since: int, data: st.DataObject
) -> None:
    """Whatever the codec, headers, nulls, the seek offset and how answers are cut, rows agree."""
    offset, parts = 0, []
    for records, codec in batches:
        parts.append(build(records, offset, codec=codec))
        offset += len(records)
    cut = data.draw(st.integers(0, len(parts)))
    answers = [Fetched(0, b"".join(part), (), offset) for part in (parts[:cut], parts[cut:])]
    expected = [row for row in parse(b"".join(parts)) if row[0] >= since]
    assert read_all([answer for answer in answers if answer.data], since) == expected
    until = data.draw(st.integers(0, offset))
    answers = [Fetched(0, b"".join(parts), (), offset)]
    assert read_all(answers, since, until=until) == [row for row in expected if row[0] < until]


def test_a_part_of_a_batch_at_the_end_is_left_for_the_next_answer() -> None:
    """A broker cuts its answer at a number of bytes; what is not whole is not looked at."""
    whole, cut = _batch(5), _batch(5, 5)
    for length in (0, 5, 11, 12, 30, 61, len(cut) - 1):
        assert read_all([Fetched(0, whole + cut[:length], (), 10)]) == parse(whole)


def test_offsets_without_a_record_are_passed_over() -> None:
    """Control batches and what compaction took away move the position."""
    control = bytearray(build([Given(struct.pack(">hh", 0, 1), b"\0" * 6)], 4))
    control[22] |= 0x20
    empty = bytearray(_batch(1, 5)[:61])
    struct.pack_into(">i", empty, 8, 49)
    struct.pack_into(">i", empty, 57, 0)
    reader, batch = Reader(PLACE), make_batch(SIZE)
    reader.feed(Fetched(0, _batch(4) + _sealed(control) + _sealed(empty), (), 6))
    assert reader.fill(batch)
    assert (len(rows_of(batch)), reader.position) == (4, 6)


def test_aborted_transactions_are_not_read() -> None:
    """A record of a transaction that its producer or the broker gave up is never a row; the next
    one of the same producer is.
    """
    abort = bytearray(build([Given(struct.pack(">hh", 0, 0), b"\0" * 6)], 6, producer=7))
    abort[22] |= 0x30
    records = [Given(b"k", b"v%d" % n) for n in range(2)]
    parts = [
        build(records, 0, transactional=True, producer=7),
        build(records, 2, transactional=True, producer=8),
        build(records, 4, transactional=True, producer=7),
        _sealed(abort),
        build(records, 7, transactional=True, producer=7),
        build(records, 9),
    ]
    fetched = Fetched(0, b"".join(parts), ((7, 0),), 11)
    assert [row[0] for row in read_all([fetched])] == [2, 3, 7, 8, 9, 10]


def _change(at: int, form: str, value: int) -> Callable[[bytearray], bytes]:
    def change(data: bytearray) -> bytes:
        struct.pack_into(form, data, at, value)
        return _sealed(data)

    return change


def _flip(data: bytearray) -> bytes:
    data[-1] ^= 1
    return bytes(data)


def _endless(data: bytearray) -> bytes:
    data[61:] = b"\xff" * (len(data) - 61)
    return _sealed(data)


_CORRUPT = {
    "crc": _flip,
    "length": _change(8, ">i", 48),
    "negative length": _change(8, ">i", -1),
    "magic 0": _change(16, ">b", 0),
    "magic 1": _change(16, ">b", 1),
    "codec": _change(21, ">h", 7),
    "negative base": _change(0, ">q", -5),
    "base that goes back": _change(0, ">q", 1),
    "negative delta": _change(23, ">i", -1),
    "count beyond offsets": _change(57, ">i", 9),
    "count beyond bytes": _change(57, ">i", 0),
    "negative count": _change(57, ">i", -1),
    "endless varint": _endless,
    "record longer than batch": _change(61, ">B", 0x7E),
    "offset beyond the batch": _change(64, ">B", 0x7E),
}


@pytest.mark.parametrize("fault", _CORRUPT)
def test_a_corrupt_batch_is_named_after_what_stands_before_it(fault: str) -> None:
    """Records before it are read; then the error names topic, partition and offset, each time."""
    data = _batch(3) + _CORRUPT[fault](bytearray(_batch(4, 3))) + _batch(2, 7)
    reader, batch = Reader(PLACE), make_batch(SIZE)
    reader.feed(Fetched(0, data, (), 9))
    assert reader.fill(batch)
    assert rows_of(batch) == parse(_batch(3))
    batch.used[:] = 0
    for _ in range(2):
        with pytest.raises(CorruptBatchError, match=r"dipper\.events partition 3 .* offset 3: "):
            reader.fill(batch)
    assert batch.used[0] == 0


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_garbage_instead_of_compressed_records_is_corrupt(codec: int) -> None:
    """Bytes that their codec cannot open stop the partition there."""
    data = bytearray(_batch(4, codec=codec))
    data[61:] = bytes(range(1, len(data) - 60))
    reader = Reader(PLACE)
    reader.feed(Fetched(0, _sealed(data), (), 4))
    with pytest.raises(CorruptBatchError, match="uncompressed"):
        reader.fill(make_batch(SIZE))


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_a_compressed_bomb_is_refused_whole(codec: int) -> None:
    """A batch beyond the limit is one refused record, its bytes as they came; others are read."""
    bomb = build([Given(b"k", bytes(INFLATED_BYTES_MAX))], 2, codec=codec)
    data = _batch(2) + bomb + _batch(2, 3)
    rows = read_all([Fetched(0, data, (), 5)])
    assert rows == [*parse(_batch(2)), (2, None, bomb), *parse(_batch(2, 3))]


def test_a_record_beyond_a_whole_batch_comes_by_itself() -> None:
    """What no empty `Batch` can hold is handed over as a record of its own, in its place."""
    small = SIZE._replace(batch_bytes=4_000)
    huge = build([Given(b"a", b"1"), Given(b"b", bytes(3_000)), Given(None, b"2")], 0)
    assert read_all([Fetched(0, huge, (), 3)], size=small) == parse(huge)


@given(st.binary(max_size=12), st.integers(0, 12), st.integers(1, 10))
def test_varints_are_bounded(data: bytes, at: int, limit: int) -> None:
    """A varint is read within its bounds, or said not to end there."""
    end = len(data)
    value, after = read_varint(np.frombuffer(data, np.uint8), at, end, limit)
    text = data[at : at + limit]
    ends = [n for n, byte in enumerate(text) if byte < 128]
    if not ends:
        assert after == -1
        return
    assert after == at + ends[0] + 1
    raw = sum((byte & 127) << (7 * n) for n, byte in enumerate(text[: ends[0] + 1])) % 2**64
    assert value == (raw >> 1) ^ -(raw & 1)


@given(st.binary(max_size=120), st.integers(0, 4), st.integers(0, 2**31 - 1), st.booleans())
@pytest.mark.parametrize("sound", [False, True])
def test_no_bytes_of_records_are_read_out_of_bounds(
    sound: bool, noise: bytes, count: int, delta: int, tail: bool
) -> None:
    """Any bytes as records give rows or the code for corrupt, and rows lie within the bytes.

    Run with bounds checks, a read outside of the array fails the test.
    """
    body = _batch(4)[61:]
    data = (body[: len(noise)] + noise if tail else noise + body) if sound else noise
    plan = np.array([(0, len(data), 10, delta, count)], PLAN)
    cursor = np.zeros(1, CURSOR)
    cursor["left"] = -1
    batch = make_batch(SIZE)
    code = fill_rows(np.frombuffer(data, np.uint8), plan, cursor, 0, 2**62, batch)
    assert 0 <= code <= FILL_CORRUPT
    assert all(part is None or part in data for row in rows_of(batch) for part in row[1:])


@given(st.data())
def test_any_change_of_a_batch_gives_rows_or_an_error(data: st.DataObject) -> None:
    """Changed bytes under a right CRC never give a crash, a hang, or a row from elsewhere."""
    codec = data.draw(st.sampled_from(list(_CODECS.values())))
    changed = bytearray(_batch(6, codec=codec))
    for _ in range(data.draw(st.integers(1, sized(4)))):
        changed[data.draw(st.integers(21, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        rows = read_all([Fetched(0, _sealed(changed), (), 6)])
    except CorruptBatchError:
        return
    assert len(rows) <= 6


def test_the_oracle_reads_the_same_header() -> None:
    """The header's places are those of aiokafka: the twin's parser finds what the builder set."""
    found = DefaultRecordBatch(_batch(4, 77))
    assert (found.base_offset, found.next_offset, found.magic) == (77, 81, 2)
