"""From the bytes of a file to lines and their keys."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.blocks import PAD_BYTES, TAKE_DONE, Block, take_rows
from streams.broker import lines as lines_module
from streams.broker.lines import LineFile, read_line
from streams.broker.publish import partition_of
from streams.buffers import Batch
from streams.codec.decode import decode
from streams.partition import input_of
from streams.schema import EVENT, Lane
from streams.split import (
    ODD,
    Piece,
    find_keys,
    find_lines,
    make_stage,
    make_symbols_of_events,
    spans_of,
    split_lines,
)
from tests.streams.codec.build import FIELDS, SYMBOLS, batch_of, event_fields

_SYMBOLS = make_symbols_of_events()

_TEXT = st.text('ab\u00e4\u5317"\\/ \t{}:,', max_size=9)
_PLAIN = st.from_regex(r"[a-z0-9-]{0,40}", fullmatch=True)
_INTEGERS = st.integers(-(2**63), 2**64 - 1)
_VALUES = st.one_of(
    _TEXT, _PLAIN, _INTEGERS, st.floats(), st.none(), st.booleans(), st.lists(_INTEGERS)
)
_NAMES = st.sampled_from(["type", "id", "applicant", "at", "amount_cents", "issuer", "x"]) | _TEXT
_FIELDS = st.lists(st.tuples(_NAMES, _VALUES), max_size=6)


def _object(fields: Sequence[tuple[str, object]], blank: str) -> bytes:
    """Return an object whose names may stand twice."""
    parts = (orjson.dumps(name) + b":" + orjson.dumps(value) for name, value in fields)
    return b"{" + (b"," + blank.encode()).join(parts) + b"}"


def _event(applicant: str, fields: Sequence[tuple[str, object]], place: int) -> bytes:
    place = min(place, len(fields))
    return _object([*fields[:place], ("applicant", applicant), *fields[place:]], "")


_OBJECTS = st.builds(_object, _FIELDS, st.sampled_from(["", " ", "\t "]))
_EVENTS = st.builds(_event, _PLAIN, _FIELDS, st.integers(0, 6))
_SPOILT = st.builds(
    lambda line, at, byte: line[:at] + byte + line[at + 1 :],
    _EVENTS, st.integers(0, 80), st.binary(max_size=1),
)  # fmt: skip
_LINES = st.lists(_EVENTS | _OBJECTS | _SPOILT | st.binary(max_size=12), max_size=40)


def _keyed(piece: Piece, partitions: int) -> Block:
    rows = len(piece.start)
    offset, key_start, key_len = np.zeros((3, rows), np.int64)
    partition = np.zeros(rows, np.int32)
    block = Block(piece.data, partition, offset, key_start, key_len, piece.start, piece.len)
    odd = find_keys(_SYMBOLS, make_stage()._replace(data=piece.data), block, partitions)
    assert odd == np.count_nonzero(block.key_len == ODD)
    return block


@pytest.mark.kernel
@given(_LINES, st.integers(1, 9))
def test_keys_are_those_that_orjson_reads(values: list[bytes], partitions: int) -> None:
    """Where the scanner is sure of a line, key and partition are those of the slow way; it is never
    sure of a tick, or of what is no event.
    """
    (piece,) = spans_of(iter([pl.Series("value", values, pl.Binary())]))
    block = _keyed(piece, partitions)
    for row, value in enumerate(values):
        line = read_line(row + 1, value)
        if block.key_len[row] == ODD:
            continue
        assert line.key is not None
        assert line.tick_at is None
        record = input_of(block, row)
        assert (record.key, record.value) == (line.key, value)
        assert block.partition[row] == partition_of(line.key, partitions)


_USUAL = (
    b'{"type":"activity","id":"e1","applicant":"p","at":5,"kind":"order","amount_cents":7}',
    (
        b'{"type":"application","id":"e2","applicant":"pq","at":6,"product":"cash_line",'
        b'"channel":"app","amount_cents":9,"tenor_days":30,"age_years":40,"region":"CN-11"}'
    ),
    (
        b'{"type":"loan","id":"e3","applicant":"p","at":7,"loan":"l","issuer":"dawn","step":"due",'
        b'"principal_cents":5,"due_at":9}'
    ),
    b'{"type":"tick","at":8,"partition":0,"seq":1,"signature":"00"}',
    b'{"type":"activity","id":"e4","applicant":"p","at":5,"kind":"sung","amount_cents":7}',
)


def _taken(block: Block) -> tuple[Batch, int, list[tuple[bytes, int]]]:
    """Take a block into a batch and decode it; return it, the events that were known, and the
    records whose signature was asked for.
    """
    batch = batch_of([])
    assert take_rows(block, 0, 0, len(batch.offset), batch) == (len(block.offset), TAKE_DONE)
    known = int(batch.used[2])
    asked: list[tuple[bytes, int]] = []

    def verify(record: bytes, offset: int) -> bool:
        asked.append((record, offset))
        return True

    decode(SYMBOLS, FIELDS, batch, verify)
    return batch, known, asked


@pytest.mark.kernel
@given(st.permutations(_USUAL), _LINES, st.integers(0, 12))
def test_events_handed_on_are_those_that_decode_reads(
    usual: Sequence[bytes], values: list[bytes], unread: int
) -> None:
    """A batch holds the same events whether they came with the block or are read from its bytes;
    what is sure of a record is not read again, but for rows behind one that came without.
    """
    (piece,) = spans_of(iter([pl.Series("value", [*usual, *values], pl.Binary())]))
    plain = _keyed(piece, 1)
    rows = len(plain.offset)
    places = np.arange(rows, dtype=np.int32)
    places[unread:][:1] = -1
    block = plain._replace(events=np.zeros(rows, EVENT), event_row=places)
    find_keys(SYMBOLS, make_stage()._replace(data=piece.data), block, 1)
    found, known, asked = _taken(block)
    expected, none_known, also_asked = _taken(block._replace(event_row=places[:0]))
    assert (known, none_known) == (min(unread, rows), 0)
    assert asked == also_asked
    for row in range(rows):
        assert repr(event_fields(found, row)) == repr(event_fields(expected, row))
    usual_lanes = block.events["lane"][: len(usual)]
    assert usual_lanes.tolist() == [Lane.FAST] * len(usual)


def test_usual_events_are_read_fast(tmp_path: Path) -> None:
    """No line of a plain log but its ticks is left to the slow way."""
    path = tmp_path / "events.jsonl"
    lines = [b'{"type":"tick","at":5}'] + [
        b'{"type":"activity","id":"e%d","applicant":"p-%d","at":%d,"kind":"order"}' % (n, n, n)
        for n in range(100)
    ]
    path.write_bytes(b"\n".join(lines))
    odd = [
        number
        for piece in split_lines(LineFile(path).pieces())
        for number in piece.number[_keyed(piece, 3).key_len == ODD].tolist()
    ]
    assert odd == [1]


_FILES = st.lists(st.binary(max_size=30) | st.sampled_from([b"", b" \t", b"\r", b"a" * 70]))


@pytest.mark.kernel
@given(_FILES, st.booleans())
def test_lines_are_those_of_python(texts: list[bytes], ended: bool) -> None:
    """Lines that are not blank, stripped, with their numbers in the file."""
    text = b"\n".join(texts) + (b"\n" if ended else b"")
    found = np.zeros((3, len(text) // 2 + 1), np.int64)
    data = np.frombuffer(bytearray(text + bytes(PAD_BYTES)), np.uint8)
    count, lines = find_lines(data, len(text), *found)
    plain = text.split(b"\n")
    assert lines == len(plain) - (not plain[-1])
    expected = [(n, line.strip(b" \t\r")) for n, line in enumerate(plain, 1)]
    assert [
        (number, bytes(data[start : start + length]))
        for start, length, number in found[:, :count].T.tolist()
    ] == [(n, line) for n, line in expected if line]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("piece_bytes", [1, 7, 64, 10_000])
def test_pieces_hold_the_lines_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int, zipped: bool
) -> None:
    """However large a piece is, lines and numbers are those of reading line by line."""
    monkeypatch.setattr(lines_module, "PIECE_BYTES", piece_bytes)
    text = b'{"applicant":"a"}\n\n  \t\r\n{"applicant":"' + b"b" * 300 + b'"}\r\n\njunk\n x'
    path = tmp_path / ("events.jsonl.gz" if zipped else "events.jsonl")
    path.write_bytes(gzip.compress(text) if zipped else text)
    found = [
        (number, bytes(piece.data[start : start + length]))
        for piece in split_lines(LineFile(path).pieces())
        for start, length, number in zip(piece.start, piece.len, piece.number, strict=True)
    ]
    assert found == [(line.number, line.value) for line in LineFile(path)]
    assert [number for number, _ in found] == [1, 4, 6, 7]
