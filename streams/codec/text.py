"""Append text to the output buffer: literals, numbers, ids. Kernels; each returns the next free
byte.

Nothing here checks for room: `step` asks once a row, before it begins, for the most that a row can
write. Short text goes eight bytes at a time, so up to seven bytes behind what was asked for are
overwritten: the next piece of the record stands there, or nothing.

`put_span` asserts that its places are not negative: without that the compiler must allow for
indices that count from the end, copies byte by byte, and a row of evidence takes 70 times as long.
"""

import numpy as np

from streams.buffers import Array
from streams.codec.words import WORD_BYTES, find_text_end, load_word, store_word
from streams.compile import i64, kernel

_TEXT = bytearray()
# "00" to "99", and the powers of ten that a uint64 holds.
_PAIRS = np.frombuffer("".join(f"{n:02}" for n in range(100)).encode(), np.uint8).copy()
_POWERS = np.array([10**k for k in range(20)], np.uint64)
_ONE, _TWO = np.uint64(1), np.uint64(2)
_HUNDRED = np.uint64(100)
_DIGIT_0 = np.uint64(48)
_LOW_HALF, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_S4, _S8, _S16 = np.uint64(4), np.uint64(8), np.uint64(16)
_PAIRS_OF_BYTES = np.uint64(0x0000FFFF0000FFFF)
_BYTES = np.uint64(0x00FF00FF00FF00FF)
_NIBBLES = np.uint64(0x0F0F0F0F0F0F0F0F)
_DIGITS_0 = np.uint64(0x3030303030303030)
_SIXES = np.uint64(0x0606060606060606)
_ONES = np.uint64(0x0101010101010101)
_TO_LETTER = np.uint64(ord("a") - ord("0") - 10)


def literal(text: str) -> int:
    """Add `text` to the literals, at import, and return its place: start << 16 | length."""
    place = len(_TEXT) << 16 | len(text)
    _TEXT.extend(text.encode())
    assert len(text) < 1 << 16
    return place


def frozen_literals() -> Array:
    """Return the bytes of all literals so far. Called by the module that has added its own."""
    return np.frombuffer(bytes(_TEXT), np.uint8).copy()


@kernel
def put_place(data: Array, at: int, text: Array, place: int) -> int:
    """Copy a literal. Reads text uint8[], writes data uint8[]."""
    start = place >> 16
    length = place & 0xFFFF
    for k in range(0, length, WORD_BYTES):
        store_word(data, at + k, load_word(text, start + k))
    return at + length


@kernel
def put_span(data: Array, at: int, text: Array, start: int, length: int) -> int:
    """Copy `length` bytes of `text` as they are."""
    assert at >= 0
    assert start >= 0
    for k in range(length):
        data[at + k] = text[start + k]
    return at + length


@kernel
def _hex_digit(value: int) -> int:
    return 48 + value if value < 10 else 87 + value


@kernel
def put_json_text(data: Array, at: int, text: Array, start: int, length: int) -> int:
    r"""Copy UTF-8 text as the inside of a JSON string.

    Quote, backslash and control bytes become \u00XX.
    """
    if find_text_end(text, start, start + length) == start + length:
        for k in range(0, length, WORD_BYTES):
            store_word(data, at + k, load_word(text, start + k))
        return at + length
    for k in range(length):
        byte = i64(text[start + k])
        if byte >= 32 and byte not in (34, 92):
            data[at] = byte
            at += 1
        else:
            data[at] = 92
            data[at + 1] = 117
            data[at + 2] = 48
            data[at + 3] = 48
            data[at + 4] = _hex_digit(byte >> 4)
            data[at + 5] = _hex_digit(byte & 15)
            at += 6
    return at


@kernel
def put_int(data: Array, at: int, value: int) -> int:
    """Write a decimal integer."""
    to = np.uint64(at)
    if value < 0:
        data[to] = 45
        to += _ONE
        left = np.uint64(-(value + 1)) + _ONE  # the least int64 has no positive twin
    else:
        left = np.uint64(value)
    digits = _ONE
    while digits < _POWERS.shape[0] and left >= _POWERS[digits]:
        digits += _ONE
    end = to + digits
    to = end
    while left >= _HUNDRED:
        pair = _TWO * (left % _HUNDRED)
        left //= _HUNDRED
        to -= _TWO
        data[to] = _PAIRS[pair]
        data[to + _ONE] = _PAIRS[pair + _ONE]
    if digits & _ONE:
        data[to - _ONE] = _DIGIT_0 + left
    else:
        data[to - _TWO] = _PAIRS[_TWO * left]
        data[to - _ONE] = _PAIRS[_TWO * left + _ONE]
    return i64(end)


@kernel
def _put_hex_half(data: Array, at: int, half: np.uint64) -> None:
    """Write the low 32 bits of `half` as 8 hex digits: a byte a digit, all digits at once."""
    word = (half | half << _S16) & _PAIRS_OF_BYTES
    word = (word | word << _S8) & _BYTES
    word = (word | word << _S4) & _NIBBLES
    letters = ((word + _SIXES) >> _S4) & _ONES
    word += _DIGITS_0 + letters * _TO_LETTER
    # The highest digit comes first: turn the eight bytes round.
    word = (word << _HALF) | (word >> _HALF)
    word = ((word & _PAIRS_OF_BYTES) << _S16) | ((word >> _S16) & _PAIRS_OF_BYTES)
    word = ((word & _BYTES) << _S8) | ((word >> _S8) & _BYTES)
    store_word(data, at, word)


@kernel
def put_hex(data: Array, at: int, value: np.uint64 | int) -> int:
    """Write 64 bits as 16 lowercase hex digits, highest first."""
    bits = np.uint64(value)
    _put_hex_half(data, at, bits >> _HALF)
    _put_hex_half(data, at + 8, bits & _LOW_HALF)
    return at + 16
