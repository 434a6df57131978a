"""Append text to the output buffer: literals, numbers, ids. Kernels; each returns the next free
byte.

Nothing here checks for room: `step` asks once a row, before it begins, for the most that a row can
write. Each kernel asserts that its places are not negative: without that the compiler must allow
for indices that count from the end, copies byte by byte, and a row of evidence takes 70 times as
long.
"""

import numpy as np

from streams.buffers import Array
from streams.compile import i64, kernel

_TEXT = bytearray()


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
    assert at >= 0
    assert start >= 0
    for k in range(length):
        data[at + k] = text[start + k]
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
    assert at >= 0
    assert start >= 0
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
    assert at >= 0
    left = i64(value)
    if left < 0:
        data[at] = 45
        at += 1
        left = -left
    digits = 1
    bound = i64(10)
    while digits < 19 and left >= bound:
        digits += 1
        if digits < 19:
            bound *= 10
    end = at + digits
    k = end - 1
    while k >= at:
        data[k] = 48 + left % 10
        left //= 10
        k -= 1
    return end


@kernel
def put_hex(data: Array, at: int, value: np.uint64 | int) -> int:
    """Write 64 bits as 16 lowercase hex digits, highest first."""
    assert at >= 0
    left = np.uint64(value)
    for k in range(16):
        data[at + 15 - k] = _hex_digit(i64(left & np.uint64(15)))
        left >>= np.uint64(4)
    return at + 16
