"""What the header of a record batch says, checked: which bytes are records, and of whom.

Length, magic and CRC of every batch, codec, control batches and aborted transactions are dealt with
here, a batch at a time; the records themselves are split by `streams/broker/records.py`.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from crc32c import crc32c

from streams.errors import CorruptBatchError
from streams.ports import Fetched, Place

HEADER_BYTES = 61
_OVERHEAD_BYTES = 12  # base offset and length stand before what the length counts
_CRC_FROM = 21  # the CRC covers all behind itself
_MAGIC = 2
_CODEC, _TRANSACTIONAL, _CONTROL = 0x07, 0x10, 0x20
_ABORT = 0
_CONTROL_KEY = struct.Struct(">hh")  # version, type
# base offset, length, leader epoch, magic, CRC, attributes, last offset delta, first and last time,
# producer id, epoch, sequence, count
_HEADER = struct.Struct(">qiibIhiqqqhii")
assert _HEADER.size == HEADER_BYTES


class Header(NamedTuple):
    """One whole, sound batch: bytes `start` to `end` are its records, compressed by `codec`."""

    begin: int
    start: int
    end: int
    base_offset: int
    last_delta: int
    records: int
    codec: int

    @property
    def next_offset(self) -> int:
        """Return the offset after its last record."""
        return self.base_offset + self.last_delta + 1


class Data(NamedTuple):
    """A batch with records to be read, or a stretch of offsets without any (`header` is None)."""

    header: Header | None
    next_offset: int


def last_offset(data: bytes, offset: int) -> int:
    """Return the offset after the last whole batch; `offset` where there is none.

    Looks at lengths alone, so that the next fetch can be asked for at once. Where they make no
    sense it stops there, and `read_batches` says why.
    """
    at = 0
    while at + HEADER_BYTES <= len(data):
        base, length = struct.unpack_from(">qi", data, at)
        if length < HEADER_BYTES - _OVERHEAD_BYTES or at + _OVERHEAD_BYTES + length > len(data):
            break
        (delta,) = struct.unpack_from(">i", data, at + 23)
        offset = max(offset, base + delta + 1)
        at += _OVERHEAD_BYTES + length
    return offset


def read_batches(place: Place, fetched: Fetched) -> Iterator[Data]:
    """Yield what is to be read, in order; the last part of a batch that is not whole is left out.

    Raises `CorruptBatchError` at the first batch that no broker can have meant.
    """
    view = memoryview(fetched.data)
    aborted = sorted(fetched.aborted, key=lambda each: each[1], reverse=True)
    skipped: set[int] = set()
    expected, at, before = fetched.offset, 0, 0
    while at + _OVERHEAD_BYTES <= len(view):
        length = struct.unpack_from(">i", view, at + 8)[0]
        if length < HEADER_BYTES - _OVERHEAD_BYTES:
            raise _corrupt(place, expected, f"its length is {length}")
        if at + _OVERHEAD_BYTES + length > len(view):
            return
        header, producer, attributes = _check(place, expected, view, at, length)
        if header.base_offset < before:
            # The CRC does not cover the base offset: only its order can be held.
            raise _corrupt(place, expected, f"it begins at {header.base_offset}, going back")
        before = header.next_offset
        expected = max(expected, header.next_offset)
        while aborted and aborted[-1][1] <= header.base_offset:
            skipped.add(aborted.pop()[0])
        if attributes & _CONTROL:
            if _is_abort(view[header.start : header.end]):
                skipped.discard(producer)
            yield Data(None, expected)
        elif attributes & _TRANSACTIONAL and producer in skipped:
            yield Data(None, expected)
        else:
            yield Data(header, expected)
        at = header.end


def _check(
    place: Place, expected: int, view: memoryview, at: int, length: int
) -> tuple[Header, int, int]:
    """Return the header of a batch, its producer and attributes."""
    base, _, _, magic, crc, attributes, delta, _, _, producer, _, _, count = _HEADER.unpack_from(
        view, at
    )
    end = at + _OVERHEAD_BYTES + length
    if magic != _MAGIC:
        raise _corrupt(place, expected, f"it is of format {magic}, and {_MAGIC} is read")
    if crc32c(view[at + _CRC_FROM : end]) != crc:
        raise _corrupt(place, expected, "its CRC is wrong")
    if base < 0 or delta < 0 or not 0 <= count <= delta + 1:
        raise _corrupt(
            place, expected, f"it has {count} records from offset {base} to {base + delta}"
        )
    start = at + HEADER_BYTES
    return Header(at, start, end, base, delta, count, attributes & _CODEC), producer, attributes


def _is_abort(records: memoryview) -> bool:
    """Say whether a control batch's only record ends a transaction by giving it up.

    Its key is version and type, 16 bits each, behind length, attributes, time, offset and length
    of the key. A marker is written by the broker, so all but the time are one byte.
    """
    at = 2  # behind length and attributes
    while at < len(records) and records[at] & 0x80:
        at += 1
    at += 3  # behind time, offset, length of the key
    if at + _CONTROL_KEY.size > len(records):
        return False
    _, kind = _CONTROL_KEY.unpack_from(records, at)
    return bool(kind == _ABORT)


def _corrupt(place: Place, offset: int, why: str) -> CorruptBatchError:
    return CorruptBatchError(place.topic, place.partition, offset, why)
