"""Which key, and so which partition, a line of a file has: found by the scanner that decides, and
with it the event, where it is asked for.

What the scanner is sure of is what orjson says, so `streams.broker.lines.read_line` need look only
at the rest: ticks, lines that are no event, and what is written in an unusual way.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

from streams.blocks import PAD_BYTES, Block
from streams.buffers import FOLLOW, Array, Batch
from streams.codec.hashing import partition_of
from streams.codec.resolve import resolve_row
from streams.codec.scan import scan
from streams.codec.symbols import Symbols, Vocabulary, make_entries, make_symbols
from streams.codec.words import WORD_BYTES, load_word, signed
from streams.compile import i64, kernel
from streams.intrinsics import trailing_zeros
from streams.schema import Lane, Refusal
from streams.wire import RAW, SPAN_FIELDS

ODD = -2  # key_len of a line that `find_keys` is not sure of

_SPACE, _TAB, _RETURN = (ord(c) for c in " \t\r")
_NEWLINES = np.uint64(0x0A0A0A0A0A0A0A0A)
_SEVEN_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
_HIGH_BITS = np.uint64(0x8080808080808080)
_ROWS_AT_ONCE = 16  # a raw row is larger than its record, and stays in the first cache
_APPLICANT = SPAN_FIELDS.index("applicant")
_APPLICANT_BIT = np.uint64(1 << _APPLICANT)
_NO_BITS = np.uint64(0)
_FAST, _SLOW, _NONE = int(Lane.FAST), int(Lane.SLOW), int(Refusal.NONE)


class Piece(NamedTuple):
    """Lines in one piece of memory, `PAD_BYTES` or more behind the last."""

    data: Array  # uint8[bytes]
    start: Array  # int64[lines]
    len: Array  # int64[lines]
    number: Array  # int64[lines]: of the line in its file, from 1 on


def split_lines(pieces: Iterator[bytearray]) -> Iterator[Piece]:
    """Yield the lines of pieces of a file (`LineFile.pieces`) that are not blank."""
    before, found = 0, np.zeros((3, 0), np.int64)
    for memory in pieces:
        data = np.frombuffer(memory, np.uint8)
        end = len(data) - PAD_BYTES
        if found.shape[1] <= end // 2:  # a line that is not blank has a byte, and its end
            found = np.zeros((3, end // 2 + 1), np.int64)
        count, lines = find_lines(data, end, *found)
        start, length, number = found[:, :count].copy()
        yield Piece(data, start, length, number + before)
        before += lines


def spans_of(columns: Iterator[pl.Series]) -> Iterator[Piece]:
    """Yield the values of columns of text or bytes as lines; null is an empty one."""
    before = 0
    for column in columns:
        values = [value or b"" for value in list_bytes(column)]
        length = np.array([len(value) for value in values], np.int64)
        data = np.frombuffer(bytearray(b"".join(values) + bytes(PAD_BYTES)), np.uint8)
        number = np.arange(before + 1, before + 1 + len(values))
        yield Piece(data, np.cumsum(length) - length, length, number)
        before += len(values)


def list_bytes(column: pl.Series) -> list[bytes | None]:
    """Return a column of text or bytes."""
    return column.cast(pl.Binary).to_list()


def make_symbols_of_events() -> Symbols:
    """Return the fields of the schema, which are the same for every deployment."""
    return make_symbols(make_entries(Vocabulary()), bytes(16))


def make_stage() -> Batch:
    """Return rows for the scanner to work in."""
    offset, key_start, key_len, value_start, value_len = np.zeros((5, _ROWS_AT_ONCE), np.int64)
    return Batch(
        np.zeros(PAD_BYTES, np.uint8),
        np.zeros(2, np.int64),
        offset,
        key_start,
        key_len,
        value_start,
        value_len,
        np.zeros(_ROWS_AT_ONCE, RAW),
        np.zeros(0, np.uint8),
        np.full(FOLLOW, -1, np.int32),
    )


@kernel
def _is_blank(byte: int) -> bool:
    """Return whether it is white space within a line."""
    return byte in (_SPACE, _TAB, _RETURN)


@kernel
def _find_newline(data: Array, at: int, end: int) -> int:
    """Return the first newline of data[at:end], or `end`."""
    while at < end:
        word = load_word(data, at) ^ _NEWLINES
        zero = ~(((word & _SEVEN_BITS) + _SEVEN_BITS) | word) & _HIGH_BITS
        if zero != _NO_BITS:
            return min(end, at + (signed(trailing_zeros(zero)) >> 3))
        at += WORD_BYTES
    return end


@kernel
def find_lines(
    data: Array, end: int, start: Array, length: Array, number: Array
) -> tuple[int, int]:
    """Find the lines of data[:end] (uint8) that are not blank, without white space around them.

    Writes start, length and number, int64[end // 2 + 1 or more]; the first line has number 1.
    Returns how many it found, and how many lines there are, blank ones too.
    """
    count, lines, at = 0, 0, 0
    while at < end:
        stop = _find_newline(data, at, end)
        lines += 1
        last = stop
        while at < last and _is_blank(data[at]):
            at += 1
        while at < last and _is_blank(data[last - 1]):
            last -= 1
        if at < last:
            start[count], length[count], number[count] = at, last - at, lines
            count += 1
        at = stop + 1
    return count, lines


@kernel
def find_keys(symbols: Symbols, stage: Batch, block: Block, partitions: int) -> int:
    """Find the key of each value of a block, its `applicant`, and the partition it belongs to.

    Reads data and the values' spans; writes the keys' spans, which lie in the values, and
    partition. Where the scanner is not sure of the record, or it has no applicant, key_len is ODD.
    Where the block has an event for each row, it is filled as decode does. `stage` is scratch; its
    data are the block's. Returns how many are ODD.
    """
    odd = 0
    wanted = block.events.shape[0] > 0
    rows = block.value_start.shape[0]
    for first in range(0, rows, stage.raw.shape[0]):
        count = min(stage.raw.shape[0], rows - first)
        for k in range(count):
            stage.value_start[k] = block.value_start[first + k]
            stage.value_len[k] = block.value_len[first + k]
        scan(symbols, stage, 0, count)
        for k in range(count):
            raw, row = stage.raw[k], first + k
            known = raw["spans_present"] & _APPLICANT_BIT != _NO_BITS
            if known and raw["lane"] == _FAST and raw["refusal"] == _NONE:
                start, length = i64(raw["span_start"][_APPLICANT]), i64(raw["span_len"][_APPLICANT])
                block.key_start[row], block.key_len[row] = start, length
                block.partition[row] = partition_of(block.data, start, length, partitions)
            else:
                block.key_len[row] = ODD
                odd += 1
            if wanted and raw["lane"] == _FAST:
                resolve_row(symbols, block.data, block.value_start[row], raw, block.events[row])
            elif wanted:
                block.events[row]["lane"] = _SLOW
    return odd
