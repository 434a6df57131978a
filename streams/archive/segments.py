"""Topics as Parquet files in a store: a piece of one partition each, the next beginning where one
ends.

    <topic>/partition-00003/<first>-<next>.parquet     20 digits each

Columns: offset; owner (16 bytes, null where the record belongs to no applicant: control events,
funding); body: `pack_body` of key, value and headers, sealed under the owner's key, null where that
was destroyed before. Offsets without a record (ends of transactions) are in no row and in a range.
"""

import io
import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import polars as pl

from streams.archive.vault import ErasedError, Vault
from streams.errors import DipperError
from streams.partition import Headers
from streams.snapshot.store import Store, read_all
from streams.topology import DECISIONS, EVENTS, EVIDENCE, FUNDING, Topic

ARCHIVED = (EVENTS, DECISIONS, EVIDENCE, FUNDING)
_BY_APPLICANT = frozenset({EVENTS.name, DECISIONS.name, EVIDENCE.name})
_SCHEMA = pl.Schema({"offset": pl.Int64(), "owner": pl.Binary(), "body": pl.Binary()})
_LENGTHS = struct.Struct("<ii")
_SUFFIX = ".parquet"


class Archived(NamedTuple):
    """One record as it stood; `erased`: it can no longer be read, and key and value are None."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    erased: bool = False


class Segment(NamedTuple):
    """A file: all of its partition from offset `first` to before `next`."""

    name: str
    first: int
    next: int


class Shelf:
    """The segments of one partition of one topic."""

    def __init__(self, store: Store, topic: Topic, partition: int) -> None:
        self._store = store
        self._topic = topic
        self._partition = partition
        self._folder = f"{topic.name}/partition-{partition:05d}"

    def segments(self) -> list[Segment]:
        """Return the segments in order; `DipperError` where one is missing between two."""
        found = []
        for name in self._store.names(self._folder):
            stem = name.rpartition("/")[2]
            if stem.endswith(_SUFFIX):
                first, _, end = stem.removesuffix(_SUFFIX).partition("-")
                found.append(Segment(name, int(first), int(end)))
        for before, after in pairwise(found):
            if before.next != after.first:
                raise DipperError(
                    f"the archive of {self._topic.name} partition {self._partition} has a gap: "
                    f"from offset {before.next} to {after.first}; restore the file that is missing"
                )
        return found

    def append(self, records: Sequence[Archived], first: int, after: int, vault: Vault) -> None:
        """Write a segment. Keys are durable before what stands under them."""
        rows = [self._sealed(record, vault) for record in records]
        vault.commit()
        data = io.BytesIO()
        pl.DataFrame(rows, schema=_SCHEMA, orient="row").write_parquet(data, compression="zstd")
        self._store.write(f"{self._folder}/{first:020d}-{after:020d}{_SUFFIX}", [data.getvalue()])

    def read(self, first: int, stop: int, vault: Vault) -> Iterator[Archived]:
        """Yield the records from offset `first` to before `stop`; `DipperError` where the archive
        does not hold all of them.
        """
        reached = None
        for segment in self.segments():
            if segment.next <= first or segment.first >= stop:
                continue
            if reached is None and segment.first > first:
                break
            reached = segment.next
            frame = pl.read_parquet(io.BytesIO(read_all(self._store, segment.name)))
            for offset, owner, body in frame.iter_rows():
                if first <= offset < stop:
                    yield self._opened(offset, owner, body, vault)
        if first < stop and (reached is None or reached < stop):
            raise DipperError(
                f"the archive of {self._topic.name} partition {self._partition} does not hold "
                f"offsets {first} to {stop}; it ends at {reached or 0}"
            )

    def _sealed(self, record: Archived, vault: Vault) -> tuple[int, bytes | None, bytes | None]:
        body = _pack_body(record)
        if record.key is None or self._topic.name not in _BY_APPLICANT:
            return record.offset, None, body
        owner = vault.owner(record.key)
        return record.offset, owner, vault.seal(owner, body, self._place(record.offset))

    def _opened(
        self, offset: int, owner: bytes | None, body: bytes | None, vault: Vault
    ) -> Archived:
        if owner is not None:
            try:
                body = None if body is None else vault.unseal(owner, body, self._place(offset))
            except ErasedError:
                body = None
        return Archived(offset, None, None, (), True) if body is None else _read_body(offset, body)

    def _place(self, offset: int) -> bytes:
        return f"{self._folder}/{offset}".encode()


def _pack_body(record: Archived) -> bytes:
    key, value = record.key, record.value
    parts = [_LENGTHS.pack(-1 if key is None else len(key), -1 if value is None else len(value))]
    parts += [key or b"", value or b""]
    for name, text in record.headers:
        parts += [_LENGTHS.pack(len(name.encode()), len(text)), name.encode(), text]
    return b"".join(parts)


def _read_body(offset: int, body: bytes) -> Archived:
    key_len, value_len = _LENGTHS.unpack_from(body)
    at = _LENGTHS.size
    key = None if key_len < 0 else body[at : at + key_len]
    at += max(key_len, 0)
    value = None if value_len < 0 else body[at : at + value_len]
    at += max(value_len, 0)
    headers = []
    while at < len(body):
        name_len, text_len = _LENGTHS.unpack_from(body, at)
        at += _LENGTHS.size
        name = body[at : at + name_len].decode()
        headers.append((name, body[at + name_len : at + name_len + text_len]))
        at += name_len + text_len
    return Archived(offset, key, value, tuple(headers))
