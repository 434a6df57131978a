"""Eight bytes at a time: the loads, stores, search and cheap hash that scanner, symbol table and
encoder share.

A word is a little-endian uint64 of eight neighbouring bytes. Reading one never leaves the array:
bytes past its end count as zero. Bytes past the end of a record but inside the array are read and
then masked away.
"""

from typing import Any

import numpy as np

from streams.buffers import Array
from streams.compile import kernel

WORD_BYTES = 8

_I1, _I2, _I3, _I4, _I5, _I6, _I7 = (np.uint64(k) for k in range(1, 8))
_S1, _S2, _S3, _S4, _S5, _S6, _S7 = (np.uint64(8 * k) for k in range(1, 8))
_ONE = np.uint64(1)
_BYTE = np.uint64(0xFF)
_LOW_BITS = np.uint64(0x0101010101010101)
_SEVEN_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
_HIGH_BITS = np.uint64(0x8080808080808080)
_QUOTES = np.uint64(0x2222222222222222)
_BACKSLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)
# Added to seven bits of a byte it reaches the eighth from a space (0x20) on.
_TO_SPACE = np.uint64(0x6060606060606060)
_TOP_BYTE = np.uint64(56)
# Odd and with bits all over: the fractional part of the golden ratio, as in Fibonacci hashing.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


@kernel
def signed(value: Any) -> Any:
    """Return `value`, an unsigned integer below 2**63, as int64: Numba mixes the two to float64."""
    return np.int64(value)


@kernel
def _load(data: Array, start: int) -> np.uint64:
    """Return the word at byte `start`, of which all eight bytes lie in `data`."""
    at = np.uint64(start)
    # One load instruction in machine code: unsigned indices need no test for a negative one.
    return (
        np.uint64(data[at])
        | np.uint64(data[at + _I1]) << _S1
        | np.uint64(data[at + _I2]) << _S2
        | np.uint64(data[at + _I3]) << _S3
        | np.uint64(data[at + _I4]) << _S4
        | np.uint64(data[at + _I5]) << _S5
        | np.uint64(data[at + _I6]) << _S6
        | np.uint64(data[at + _I7]) << _S7
    )


@kernel
def load_word(data: Array, start: int) -> np.uint64:
    """Return the word at byte `start` (0 or more) of `data` (uint8, 8 bytes or more); 0 past its
    end.
    """
    over = start + WORD_BYTES - data.shape[0]
    if over > 0:
        # No loop over the bytes that are left: it would be unrolled into every caller.
        assert data.shape[0] >= WORD_BYTES
        if over >= WORD_BYTES:
            return np.uint64(0)
        return _load(data, data.shape[0] - WORD_BYTES) >> np.uint64(8 * over)
    return _load(data, start)


@kernel
def store_word(data: Array, start: int, word: np.uint64) -> None:
    """Write the eight bytes of `word` at byte `start` (0 or more) of `data` (uint8): all must
    fit.
    """
    at = np.uint64(start)
    # One store instruction in machine code, as in load_word.
    data[at] = word & _BYTE
    data[at + _I1] = (word >> _S1) & _BYTE
    data[at + _I2] = (word >> _S2) & _BYTE
    data[at + _I3] = (word >> _S3) & _BYTE
    data[at + _I4] = (word >> _S4) & _BYTE
    data[at + _I5] = (word >> _S5) & _BYTE
    data[at + _I6] = (word >> _S6) & _BYTE
    data[at + _I7] = (word >> _S7) & _BYTE


@kernel
def load_part(data: Array, start: int, length: int) -> np.uint64:
    """Return the word at byte `start` with only its first `length` bytes (0 or more); others are
    0.
    """
    word = load_word(data, start)
    if length >= WORD_BYTES:
        return word
    return word & ((_ONE << np.uint64(8 * length)) - _ONE)


@kernel
def find_text_end(data: Array, start: int, end: int) -> int:
    """Return the first byte of data[start:end] that is no plain text of a JSON string, or `end`.

    Plain is 0x20 to 0x7F without quote and backslash. The tests are exact for each byte: no sum
    carries over.
    """
    at = start
    while at < end:
        word = load_word(data, at)
        low = word & _SEVEN_BITS
        quote = word ^ _QUOTES
        backslash = word ^ _BACKSLASHES
        plain = (
            (low + _TO_SPACE)
            & (((quote & _SEVEN_BITS) + _SEVEN_BITS) | quote)
            & (((backslash & _SEVEN_BITS) + _SEVEN_BITS) | backslash)
            & ~word
        )
        odd = ~plain & _HIGH_BITS
        if odd != 0:
            # One low bit for each byte up to the first odd one, summed in the top byte.
            count = ((((odd - _ONE) & ~odd) & _LOW_BITS) * _LOW_BITS) >> _TOP_BYTE
            at += signed(count) - 1
            return min(end, at)
        at += WORD_BYTES
    return end


@kernel
def same_bytes(one: Array, one_start: int, other: Array, other_start: int, length: int) -> bool:
    """Return whether `length` bytes of `one` and `other` (uint8) are equal."""
    for k in range(0, length, WORD_BYTES):
        left = load_part(one, one_start + k, length - k)
        if left != load_part(other, other_start + k, length - k):
            return False
    return True


@kernel
def hash_name(seed: np.uint64, data: Array, start: int, length: int) -> np.uint64:
    """Return a cheap hash of data[start : start + length]; for tables whose entries we choose.

    It does not withstand chosen collisions; a table of fixed names needs no such hash, since a
    flood of unknown names leaves its chains as they are.
    """
    value = seed + np.uint64(length)
    for k in range(0, length, WORD_BYTES):
        value = (value ^ load_part(data, start + k, length - k)) * _SPREAD
        value ^= value >> _HALF
    return value
