"""Open a compressed record batch into memory that was taken before, with a limit.

A batch says nowhere how large its records are uncompressed, so the limit is the size of that
memory: two kilobytes of zstd can stand for gigabytes.
"""

import struct
from collections.abc import Callable
from typing import Any

import cramjam

from streams.buffers import Array

INFLATED_BYTES_MAX = 32 * 1024 * 1024  # of one batch; honest ones of 2 MiB seldom hold a third

_XERIAL = b"\x82SNAPPY\0"
_XERIAL_HEADER_BYTES = 16
_TOO_LARGE = ("write whole buffer", "smaller than required")


class TooLargeError(Exception):
    """The records are larger uncompressed than the memory for them."""


class UnreadableError(Exception):
    """The bytes are not what their codec says."""


def _snappy_into(source: memoryview, target: memoryview) -> int:
    """Read one block, or the blocks that the Java client's library frames them in."""
    if bytes(source[: len(_XERIAL)]) != _XERIAL:
        return int(cramjam.snappy.decompress_raw_into(source, target))
    at, done = _XERIAL_HEADER_BYTES, 0
    while at < len(source):
        if at + 4 > len(source):
            raise UnreadableError("a block's length is cut off")
        (length,) = struct.unpack_from(">i", source, at)
        at += 4
        if length < 0 or at + length > len(source):
            raise UnreadableError("a block is longer than the batch")
        block = source[at : at + length]
        if cramjam.snappy.decompress_raw_len(block) > len(target) - done:
            raise TooLargeError
        done += int(cramjam.snappy.decompress_raw_into(block, target[done:]))
        at += length
    return done


# By the codec's number in the attributes of a batch.
_CODECS: dict[int, Callable[[Any, Any], int]] = {
    1: cramjam.gzip.decompress_into,
    2: _snappy_into,
    3: cramjam.lz4.decompress_into,
    4: cramjam.zstd.decompress_into,
}


def inflate_into(codec: int, source: memoryview, target: Array) -> int:
    """Fill `target` (uint8) with the uncompressed records; return how many bytes.

    Raises `TooLargeError` where they are more than `target` holds and `UnreadableError` where they
    cannot be read.
    """
    if codec not in _CODECS:
        raise UnreadableError(f"no codec has the number {codec}")
    try:
        return int(_CODECS[codec](source, target.data))
    except cramjam.DecompressionError as error:
        if any(text in str(error) for text in _TOO_LARGE):
            raise TooLargeError from error
        raise UnreadableError(str(error)) from error
