"""A snapshot as bytes: what it is of, the arrays, checksums.

    magic, 8 bytes
    chunks: rows of an array as they stand in memory (little endian), one after the other
    footer: JSON: facts, and for each chunk its array, first row, rows, place and sha256
    trailer, 48 bytes: magic, length of the footer (int64), sha256 of the footer

Rows that are as in an empty table are left out, so an image is as large as what the partition
knows, not as large as its limits. An image whose end is missing has no trailer; a bit that is wrong
anywhere is in a chunk or in the footer, and each has its sha256.

Three fields number waves: they depend on where batches ended, no output depends on them, and they
mean nothing between two batches. In an image they are 0; all else is there bit for bit.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import orjson
from pydantic import BaseModel, ValidationError

from streams.buffers import Array
from streams.counters import WAVES
from streams.errors import SnapshotError
from streams.state.tables import State, empty_rows

MAGIC = b"DIPSNAP1"
CHUNK_BYTES = 4 * 1024 * 1024
TRAILER = struct.Struct("<8sq32s")
READERS = 4  # threads that read and check an image at once: reading and hashing leave the GIL

# Reads so many bytes from a place into the buffer; may be called by several threads.
ReadInto = Callable[[int, memoryview], None]


class Facts(NamedTuple):
    """What a snapshot is of. Every hash is hex sha256."""

    partition: int
    partitions: int
    offset: int  # all before it is in the state
    layout: str  # of every array: names, record layouts, rows
    engine: str  # of the code that folded
    manifest: str  # of all that decides
    names: str  # of what stands in state as a place in a list: institutions, products ...


def layout_hash(state: State) -> str:
    """Return the hash of every array's name, record layout and shape."""
    arrays = [(name, _layout(a.dtype), a.shape) for name, a in state._asdict().items()]
    return hashlib.sha256(orjson.dumps(arrays)).hexdigest()


@cache
def _layout(dtype: np.dtype[Any]) -> str:
    return str(dtype.descr)


def write_image(state: State, facts: Facts) -> Iterator[bytes | memoryview]:
    """Yield the image of a state, part by part. No step may run on it meanwhile."""
    assert facts.layout == layout_hash(state)
    yield MAGIC
    at = len(MAGIC)
    chunks = []
    for name, table in state._asdict().items():
        step = _rows_per_chunk(table)
        for first in range(0, table.shape[0], step):
            part = _settled(name, table, first, min(first + step, table.shape[0]))
            if _is_empty(table, part):
                continue
            data = _bytes_of(part)
            digest = hashlib.sha256(data).hexdigest()
            chunks.append(Chunk(name, first, part.shape[0], at, data.nbytes, digest))
            at += data.nbytes
            yield data
    footer = orjson.dumps({"facts": facts._asdict(), "chunks": [list(each) for each in chunks]})
    yield footer
    yield TRAILER.pack(MAGIC, len(footer), hashlib.sha256(footer).digest())


class Chunk(NamedTuple):
    """Rows of one array: which, where their bytes stand, how many, and their sha256 in hex."""

    array: str
    first: int
    rows: int
    at: int
    length: int
    sha256: str


class Image(NamedTuple):
    """An image whose footer has been read and found whole."""

    facts: Facts
    chunks: list[Chunk]
    read: ReadInto

    def load(self, state: State) -> None:
        """Fill an empty state of this very layout; `SnapshotError` where a chunk is corrupt.

        After an error the state is neither the old nor the new: throw it away.
        """
        assert self.facts.layout == layout_hash(state)
        arrays = state._asdict()

        def fill(chunk: Chunk) -> None:
            table = arrays.get(chunk.array)
            last = chunk.first + chunk.rows
            if table is None or not 0 <= chunk.first < last <= table.shape[0]:
                raise SnapshotError(f"rows {chunk.first} to {last - 1} of {chunk.array} are none")
            self._read_checked(chunk, _bytes_of(table[chunk.first : last]))

        with ThreadPoolExecutor(READERS, "snapshot") as pool:
            for _ in pool.map(fill, self.chunks):
                continue

    def check(self) -> None:
        """Read it all; `SnapshotError` where a chunk is corrupt."""
        for chunk in self.chunks:
            self._read_checked(chunk, memoryview(bytearray(chunk.length)))

    def _read_checked(self, chunk: Chunk, data: memoryview) -> None:
        if data.nbytes != chunk.length:
            raise SnapshotError(f"rows of {chunk.array} have another length than they should")
        self.read(chunk.at, data)
        if hashlib.sha256(data).hexdigest() != chunk.sha256:
            last = chunk.first + chunk.rows - 1
            raise SnapshotError(f"rows {chunk.first} to {last} of {chunk.array} are corrupt")


def open_image(size: int, read: ReadInto) -> Image:
    """Read the footer of an image of so many bytes; `SnapshotError` where it is not whole."""
    if size < len(MAGIC) + TRAILER.size:
        raise SnapshotError("it is cut short")
    magic, length, digest = TRAILER.unpack(_read(read, size - TRAILER.size, TRAILER.size))
    if magic != MAGIC or not 0 <= length <= size - TRAILER.size - len(MAGIC):
        raise SnapshotError("it is cut short, or no snapshot of this version")
    footer = _read(read, size - TRAILER.size - length, length)
    if hashlib.sha256(footer).digest() != digest:
        raise SnapshotError("its footer is corrupt")
    return Image(*_read_footer(footer, size - TRAILER.size - length), read)


class _Footer(BaseModel):
    facts: Facts
    chunks: list[Chunk]


def _read_footer(footer: bytes, end: int) -> tuple[Facts, list[Chunk]]:
    """Return what a footer says. Its sha256 is right, but whoever wrote it may have been wrong."""
    try:
        found = _Footer.model_validate_json(footer, strict=True)
    except ValidationError as error:
        raise SnapshotError("its footer is no footer of this version") from error
    if any(c.at < len(MAGIC) or c.length < 0 or c.at + c.length > end for c in found.chunks):
        raise SnapshotError("its footer names bytes that it does not have")
    return found.facts, found.chunks


def same_state(one: State, other: State) -> list[str]:
    """Return the arrays in which two states differ, but for what numbers waves."""
    return [
        name
        for name, table in one._asdict().items()
        if not np.array_equal(
            _bytes_of(_settled(name, table, 0, table.shape[0])),
            _bytes_of(_settled(name, getattr(other, name), 0, table.shape[0])),
        )
    ]


def _settled(name: str, table: Array, first: int, stop: int) -> Array:
    """Return those rows with what numbers waves at 0: a copy where there is any."""
    part = table[first:stop]
    if name == "counters":
        part = part.copy()
        part[WAVES - first : WAVES - first + 1] = 0
    elif "wave" in (table.dtype.names or ()):
        # As bytes, since a copy of records leaves what stands between fields to chance.
        part = part.view(np.uint8).copy().view(part.dtype)
        part["wave"] = 0
    return part


def _is_empty(table: Array, part: Array) -> bool:
    if part.ndim > 1:
        return not part.view(np.uint8).any()
    empty = empty_rows(table.dtype, part.shape[0])
    return bool(np.array_equal(_bytes_of(part), _bytes_of(empty)))


def _rows_per_chunk(table: Array) -> int:
    return max(1, CHUNK_BYTES // max(1, table.nbytes // table.shape[0]))


def _bytes_of(part: Array) -> memoryview:
    return part.view(np.uint8).reshape(-1).data


def _read(read: ReadInto, at: int, length: int) -> bytes:
    data = bytearray(length)
    read(at, memoryview(data))
    return bytes(data)
