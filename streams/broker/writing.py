"""Kernels that write Kafka records (magic 2) from the rows of an `Out`, dead letters with headers.

The twin is `streams.partition` and aiokafka's own builder: the same records, the same bytes.
"""

from typing import NamedTuple

import numpy as np

from streams.blocks import copy_bytes
from streams.buffers import Array, Batch, Out
from streams.compile import i64, kernel
from streams.limits import RECORD_BYTES_MAX
from streams.partition import REMEDIES
from streams.schema import Refusal
from streams.topology import EVENTS, OUT_DEAD_LETTER

POSITION, PLACE, OFFSET, VALUE_BYTES, BY_REFUSAL = range(5)
_HEADERS_MIN = 5


class Letters(NamedTuple):
    """Encoded pieces of a dead letter's headers for one partition.

    Piece i is data[start[i] : start[i] + len[i]]. The first four are POSITION, PLACE (topic and
    partition, whole), OFFSET and VALUE_BYTES (names only: a number follows); refusal r has its
    reason at BY_REFUSAL + 2 r and behind it its remedy, of no length where there is none.
    """

    data: Array  # uint8[...]
    start: Array  # int64[pieces]
    len: Array  # int64[pieces]


class Cut(NamedTuple):
    """How `write_rows` cuts: a batch ends before `soft`, one of a single record before `hard`."""

    soft: int
    hard: int


def _text(name: bytes) -> bytes:
    # One byte holds the zigzag length of up to 63.
    assert len(name) < 64
    return bytes([2 * len(name)]) + name


def _long_text(name: bytes) -> bytes:
    twice = 2 * len(name)
    return (bytes([twice]) if twice < 128 else bytes([twice & 127 | 128, twice >> 7])) + name


def make_letters(partition: int) -> Letters:
    """Return the pieces for dead letters of this partition."""
    place = _text(b"topic") + _text(EVENTS.name.encode())
    place += _text(b"partition") + _text(b"%d" % partition)
    pieces = [_text(b"position"), place, _text(b"offset"), _text(b"value_bytes")]
    for refusal in range(max(Refusal) + 1):
        name = Refusal(refusal).name.lower().encode()
        remedy = REMEDIES.get(Refusal(refusal))
        pieces.append(_text(b"reason") + _text(name))
        pieces.append(_text(b"remedy") + _long_text(remedy) if remedy else b"")
    lengths = np.array([len(piece) for piece in pieces], np.int64)
    starts = np.cumsum(lengths) - lengths
    return Letters(np.frombuffer(b"".join(pieces), np.uint8).copy(), starts, lengths)


@kernel
def varint_bytes(value: int) -> int:
    """Return how many bytes the zigzag varint of `value` takes."""
    left = np.uint64((value << 1) ^ (value >> 63))
    size = 1
    while left >= np.uint64(128):
        left >>= np.uint64(7)
        size += 1
    return size


@kernel
def write_varint(target: Array, at: int, value: int) -> int:
    """Write a zigzag varint; return the place behind it."""
    left = np.uint64((value << 1) ^ (value >> 63))
    while left >= np.uint64(128):
        target[at] = np.uint8((left & np.uint64(127)) | np.uint64(128))
        left >>= np.uint64(7)
        at += 1
    target[at] = np.uint8(left)
    return at + 1


@kernel
def number_bytes(value: int) -> int:
    """Return how many characters the decimal `value` takes; -1 <= value."""
    if value < 0:
        return 2
    size = 1
    while value >= 10:
        value //= 10
        size += 1
    return size


@kernel
def write_number(target: Array, at: int, value: int) -> int:
    """Write a header's value: the decimal `value` >= -1 behind its length; return the end."""
    size = number_bytes(value)
    at = write_varint(target, at, size)
    if value < 0:
        target[at] = ord("-")
        value = -value
    end = at + size
    place = end - 1
    while True:
        target[place] = np.uint8(48 + value % 10)
        value //= 10
        place -= 1
        if value == 0:
            break
    return end


@kernel
def write_piece(letters: Letters, piece: int, target: Array, at: int) -> int:
    """Copy one piece; return the end."""
    copy_bytes(letters.data, letters.start[piece], letters.len[piece], target, at)
    return at + letters.len[piece]


@kernel
def headers_bytes(
    letters: Letters, refusal: int, position: int, offset: int, cut_bytes: int
) -> int:
    """Return how many bytes `write_headers` writes."""
    size = 1 + letters.len[POSITION] + letters.len[PLACE] + letters.len[OFFSET]
    size += letters.len[BY_REFUSAL + 2 * refusal] + letters.len[BY_REFUSAL + 2 * refusal + 1]
    size += 2 + number_bytes(position) + number_bytes(offset)
    if cut_bytes >= 0:
        size += letters.len[VALUE_BYTES] + 1 + number_bytes(cut_bytes)
    return size


@kernel
def write_headers(
    letters: Letters,
    refusal: int,
    position: int,
    offset: int,
    cut_bytes: int,
    target: Array,
    at: int,
) -> int:
    """Write a dead letter's headers with their count before them; return the end.

    cut_bytes: length of a value that is left out, -1 where it is carried.
    """
    remedy = BY_REFUSAL + 2 * refusal + 1
    count = _HEADERS_MIN + (1 if letters.len[remedy] > 0 else 0) + (1 if cut_bytes >= 0 else 0)
    at = write_varint(target, at, count)
    at = write_piece(letters, remedy - 1, target, at)
    at = write_piece(letters, POSITION, target, at)
    at = write_number(target, at, position)
    at = write_piece(letters, PLACE, target, at)
    at = write_piece(letters, OFFSET, target, at)
    at = write_number(target, at, offset)
    at = write_piece(letters, remedy, target, at)
    if cut_bytes >= 0:
        at = write_piece(letters, VALUE_BYTES, target, at)
        at = write_number(target, at, cut_bytes)
    return at


@kernel
def write_record(
    delta: int,
    data: Array,
    key: int,
    key_len: int,
    value: int,
    value_len: int,
    headers: int,
    target: Array,
    at: int,
) -> int:
    """Write a record up to its headers, of which `headers` bytes are to follow; return the end.

    delta: its place in the batch; key and value: spans of `data` (uint8[...]), length -1 null.
    """
    size = 2 + varint_bytes(delta) + varint_bytes(key_len) + varint_bytes(value_len) + headers
    at = write_varint(target, at, size + max(key_len, 0) + max(value_len, 0))
    target[at] = 0  # attributes
    target[at + 1] = 0  # time relative to the batch
    at = write_varint(target, at + 2, delta)
    at = write_varint(target, at, key_len)
    copy_bytes(data, key, key_len, target, at)
    at = write_varint(target, at + max(key_len, 0), value_len)
    copy_bytes(data, value, value_len, target, at)
    return at + max(value_len, 0)


@kernel
def write_rows(
    out: Out,
    batch: Batch,
    letters: Letters,
    topic: int,
    row: int,
    target: Array,
    at: int,
    cut: Cut,
) -> tuple[int, int, int]:
    """Write the records of `topic` from `row` of the Out on, as far as the next batch may reach.

    target: uint8[...], written from `at`; out, batch: of one step, read.

    Returns the row to go on with (the number of rows where all is written), how many records were
    written, and the place behind them. With no record and rows left there was no room.
    """
    count, rows = 0, out.used[0]
    while row < rows:
        record = out.rows[row]
        if record["topic"] != topic:
            row += 1
            continue
        data, headers, cut_bytes = out.data, 1, -1
        key, key_len = i64(record["key_start"]), i64(record["key_len"])
        value, value_len = i64(record["value_start"]), i64(record["value_len"])
        source = i64(record["source"])
        refusal, position = i64(record["refusal"]), i64(record["position"])
        if topic == OUT_DEAD_LETTER:
            data = batch.data
            key, key_len = batch.key_start[source], batch.key_len[source]
            value, value_len = batch.value_start[source], batch.value_len[source]
            if max(key_len, 0) + max(value_len, 0) > RECORD_BYTES_MAX:
                cut_bytes = max(value_len, 0)
                key_len = value_len = -1
            headers = headers_bytes(letters, refusal, position, batch.offset[source], cut_bytes)
        # 22: attributes, time, and varints of 32 bits of length, place, key's and value's length.
        end = at + 22 + max(key_len, 0) + max(value_len, 0) + headers
        if end > cut.hard or (count > 0 and end > cut.soft):
            break
        at = write_record(count, data, key, key_len, value, value_len, headers, target, at)
        if topic == OUT_DEAD_LETTER:
            at = write_headers(
                letters, refusal, position, batch.offset[source], cut_bytes, target, at
            )
        else:
            target[at] = 0
            at += 1
        count += 1
        row += 1
    return row, count, at
