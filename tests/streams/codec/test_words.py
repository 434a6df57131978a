"""Eight bytes at a time against one byte at a time."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.codec.words import find_text_end, hash_name, load_part, same_bytes

BYTES = st.binary(min_size=8, max_size=40)


def _array(content: bytes | bytearray) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(bytearray(content), np.uint8)


@pytest.mark.kernel
@given(BYTES, st.integers(0, 40), st.integers(0, 12))
def test_a_part_is_the_bytes_and_then_zeros(content: bytes, start: int, length: int) -> None:
    """A load past the end of the array gives zeros there and never reads beyond it."""
    start = min(start, len(content))
    expected = content[start : start + min(length, 8)].ljust(8, b"\0")
    assert int(load_part(_array(content), start, length)) == int.from_bytes(expected, "little")


@pytest.mark.kernel
@given(
    st.lists(
        st.sampled_from([*b'a ~"\\\x7f!#[]\x1f\x20\x80\xff\0\x22\x5c']), min_size=8, max_size=40
    ),
    st.integers(0, 40),
    st.integers(0, 40),
)
@example([*b"abcdefghijklmnop", 0x22], 0, 16)
def test_text_ends_at_the_first_byte_that_is_not_plain(
    content: list[int], start: int, end: int
) -> None:
    """Quote, backslash, control and non-ASCII bytes end a text, exactly, wherever they stand."""
    start, end = sorted((min(start, len(content)), min(end, len(content))))
    expected = start
    while expected < end and 0x20 <= content[expected] < 0x80 and content[expected] not in b'"\\':
        expected += 1
    assert find_text_end(_array(bytes(content)), start, end) == expected


@pytest.mark.kernel
def test_every_byte_is_plain_or_not_at_every_place_of_a_word() -> None:
    """All 256 bytes at all 8 places, among neighbours that could carry over."""
    for neighbour in b"\x20\x7f\x21\x5b\x5d\x23":
        for byte in range(256):
            for place in range(8):
                word = bytearray([neighbour] * 9)
                word[place] = byte
                plain = 0x20 <= byte < 0x80 and byte not in b'"\\'
                assert find_text_end(_array(word), 0, 9) == (9 if plain else place)


@pytest.mark.kernel
@given(BYTES, BYTES, st.integers(0, 8))
def test_bytes_are_the_same_or_not(one: bytes, other: bytes, skip: int) -> None:
    """Spans compare as bytes do, at any place in their arrays."""
    length = min(len(one), len(other))
    padded = bytes(skip) + other
    expected = one[:length] == other[:length]
    assert same_bytes(_array(one), 0, _array(padded), skip, length) == expected
    assert same_bytes(_array(one), 0, _array(bytes(skip) + one), skip, len(one))


@pytest.mark.kernel
@given(BYTES, st.integers(0, 8))
def test_a_hash_depends_on_the_bytes_alone(content: bytes, skip: int) -> None:
    """The hash of a name is the same wherever the name stands, whatever follows it."""
    seed = np.uint64(3)
    here = hash_name(seed, _array(content), 0, len(content))
    there = hash_name(seed, _array(b"x" * skip + content + b"yz"), skip, len(content))
    assert int(here) == int(there)
