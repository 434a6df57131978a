"""What the encoder appends, against Python's own formatting."""

import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.codec.text import put_hex, put_int, put_json_text, put_place, put_span

_BEFORE = 3


def _written(data: np.ndarray[tuple[int], np.dtype[np.uint8]], end: int) -> bytes:
    return data[_BEFORE:end].tobytes()


def _source(text: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(bytearray(text.ljust(8, b"~")), np.uint8)


@pytest.mark.kernel
@given(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 63).map(lambda bits: 2**bits - 1))
@example(0)
@example(-(2**63))
@example(10**18)
@example(10**18 - 1)
def test_an_integer_is_its_decimal_digits(value: int) -> None:
    """Every int64 is written as Python writes it."""
    data = np.zeros(40, np.uint8)
    assert _written(data, put_int(data, _BEFORE, value)) == str(value).encode()


@pytest.mark.kernel
def test_every_length_of_a_number_is_right_at_both_ends() -> None:
    """The first and the last number of each count of digits come out whole."""
    data = np.zeros(40, np.uint8)
    for digits in range(1, 19):
        for value in (10 ** (digits - 1), 10**digits - 1):
            assert _written(data, put_int(data, _BEFORE, value)) == str(value).encode()


@pytest.mark.kernel
@given(st.integers(0, 2**64 - 1))
@example(0x0123456789ABCDEF)
@example(2**64 - 1)
def test_hex_is_sixteen_lower_case_digits(value: int) -> None:
    """64 bits are written as Python writes them, highest digit first."""
    data = np.zeros(40, np.uint8)
    assert _written(data, put_hex(data, _BEFORE, np.uint64(value))) == f"{value:016x}".encode()


@pytest.mark.kernel
@given(st.text(max_size=30), st.integers(0, 9))
@example('a"b\\c\n\x1f', 0)
def test_text_reads_back_as_it_was(text: str, start: int) -> None:
    """Any text becomes the inside of a JSON string that orjson reads back as the same text."""
    raw = text.encode("utf-8", "ignore")
    data = np.zeros(400, np.uint8)
    end = put_json_text(data, _BEFORE, _source(b"x" * start + raw), start, len(raw))
    assert orjson.loads(b'"' + _written(data, end) + b'"') == raw.decode()


@pytest.mark.kernel
@given(st.binary(max_size=40), st.integers(0, 9))
def test_pieces_are_copied_whole(piece: bytes, start: int) -> None:
    """A literal and a span come out byte for byte; a literal overwrites at most seven behind it."""
    source = _source(b"x" * start + piece)
    data = np.full(80, 255, np.uint8)
    end = put_place(data, _BEFORE, source, start << 16 | len(piece))
    assert _written(data, end) == piece
    assert (data[:_BEFORE] == 255).all()
    assert (data[end + 7 :] == 255).all()
    data = np.full(80, 255, np.uint8)
    end = put_span(data, _BEFORE, source, start, len(piece))
    assert _written(data, end) == piece
    assert (data[end:] == 255).all()
