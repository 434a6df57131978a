"""A broker in memory with the rules of Apache Kafka that exactly once rests on, and nothing else.

Logs of v2 record batches as bytes; transactions with markers, aborted ones included; producers
fenced by epoch; a group's offsets that move with a transaction. Every call is one indivisible step:
what goes wrong on the way to it, or on the way back, is `network.py`'s.

Source: Kafka's protocol guide and KIP-98.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from streams.errors import BrokerError
from streams.ports import FencedError, Fetched, Place

_TRANSACTIONAL, _CONTROL = 0x10, 0x20
_ABORT, _COMMIT = 0, 1


class StateError(Exception):
    """The transaction is not open, or not the producer's."""


class Record(NamedTuple):
    """One record as a consumer sees it."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass
class _Log:
    batches: list[tuple[int, int, bytes]] = field(default_factory=list)  # first, last offset, bytes
    begin: int = 0  # what stands before it is deleted
    end: int = 0
    open: dict[int, int] = field(default_factory=dict)  # producer id: its first offset
    aborted: list[tuple[int, int, int]] = field(default_factory=list)  # id, first, marker's offset

    @property
    def stable_end(self) -> int:
        return min(self.open.values(), default=self.end)

    def append(self, batch: bytes) -> int:
        """Append a batch of the offsets that follow; return the first."""
        (delta,) = struct.unpack_from(">i", batch, 23)
        first = self.end
        self.batches.append((first, first + delta, struct.pack(">q", first) + batch[8:]))
        self.end = first + delta + 1
        return first


@dataclass
class _Producer:
    id: int
    epoch: int
    touched: set[Place] = field(default_factory=set)
    offsets: dict[Place, int] = field(default_factory=dict)
    open: bool = False


class FakeBroker:
    """One broker for one consumer group."""

    def __init__(self) -> None:
        self._logs: dict[Place, _Log] = {}
        self._producers: dict[str, _Producer] = {}
        self._ids = 0
        self.committed: dict[Place, int] = {}

    def publish(self, topic: Place, records: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Append records outside of any transaction, as one batch."""
        self._log(topic).append(_batch(records))

    def start(self, transactional_id: str) -> tuple[int, int]:
        """Give (producer id, epoch); whoever had the id before is fenced, and his work aborted."""
        found = self._producers.get(transactional_id)
        if found is None:
            self._ids += 1
            found = self._producers[transactional_id] = _Producer(self._ids, -1)
        self._end(found, commit=False)
        found.epoch += 1
        return found.id, found.epoch

    def begin(self, transactional_id: str, epoch: int) -> None:
        """Open a transaction, where none is."""
        self._mine(transactional_id, epoch).open = True

    def produce(self, transactional_id: str | None, epoch: int, topic: Place, batch: bytes) -> int:
        """Append one batch as it came; return its first offset."""
        log = self._log(topic)
        if transactional_id is None:
            return log.append(batch)
        producer = self._mine(transactional_id, epoch)
        if not producer.open:
            raise StateError("no transaction is open")
        id, batch_epoch = struct.unpack_from(">qh", batch, 43)
        assert (id, batch_epoch) == (producer.id, epoch)
        assert batch[22] & _TRANSACTIONAL
        first = log.append(batch)
        producer.touched.add(topic)
        log.open.setdefault(producer.id, first)
        return first

    def send_offsets(self, transactional_id: str, epoch: int, offsets: dict[Place, int]) -> None:
        """Let the group's offsets move when the transaction commits."""
        producer = self._mine(transactional_id, epoch)
        if not producer.open:
            raise StateError("no transaction is open")
        producer.offsets.update(offsets)

    def end(self, transactional_id: str, epoch: int, *, commit: bool) -> None:
        """Commit or abort. An end without a beginning is an error, as in Kafka."""
        producer = self._mine(transactional_id, epoch)
        if not producer.open:
            raise StateError("no transaction is open")
        self._end(producer, commit=commit)

    def commit_offsets(self, offsets: dict[Place, int]) -> None:
        """Move the group's offsets, outside of any transaction."""
        self.committed.update(offsets)

    def pending(self, topic: Place) -> bool:
        """Say whether an open transaction would move the group's offset of a partition."""
        return any(topic in producer.offsets for producer in self._producers.values())

    def fetch(self, topic: Place, offset: int, bytes_max: int = 1 << 20) -> Fetched:
        """Return committed batches from the one that holds `offset` on, at least one."""
        log = self._log(topic)
        if offset < log.begin:
            raise BrokerError(f"offset {offset} is out of range: the log begins at {log.begin}")
        stable = log.stable_end
        data = b""
        last = offset
        for first, end, batch in log.batches:
            if end < offset:
                continue
            if first >= stable or (data and len(data) + len(batch) > bytes_max):
                break
            data += batch
            last = end
        aborted = [
            (id, first) for id, first, marker in log.aborted if marker >= offset and first <= last
        ]
        return Fetched(offset, data, tuple(aborted), stable)

    def stable_end(self, topic: Place) -> int:
        """Return the offset after the last record that may be read."""
        return self._log(topic).stable_end

    def begin_of(self, topic: Place) -> int:
        """Return the offset of the first record that is left."""
        return self._log(topic).begin

    def trim(self, topic: Place, begin: int) -> None:
        """Delete what stands before an offset, as an administrator asks."""
        log = self._log(topic)
        log.begin = max(log.begin, begin)

    def visible(self, topic: Place) -> list[Record]:
        """Return what a `read_committed` reader sees now, found by reading the log's own bytes."""
        log = self._log(topic)
        dead = [(id, first, marker) for id, first, marker in log.aborted]
        seen = []
        for first, _, data in log.batches:
            if first >= log.stable_end:
                break
            (id,) = struct.unpack_from(">q", data, 43)
            attributes = data[22]
            if attributes & _CONTROL:
                continue
            if attributes & _TRANSACTIONAL and any(
                id == each and begin <= first < marker for each, begin, marker in dead
            ):
                continue
            batch = DefaultRecordBatch(data)
            assert batch.validate_crc()
            for record in batch:
                headers = tuple((name, bytes(value)) for name, value in record.headers)
                seen.append(Record(record.offset, record.key, record.value, headers))
        return seen

    def _log(self, topic: Place) -> _Log:
        return self._logs.setdefault(topic, _Log())

    def _mine(self, transactional_id: str, epoch: int) -> _Producer:
        producer = self._producers[transactional_id]
        if producer.epoch != epoch:
            raise FencedError("a newer producer has the id")
        return producer

    def _end(self, producer: _Producer, *, commit: bool) -> None:
        if not producer.open:
            return
        for topic in sorted(producer.touched):
            log = self._log(topic)
            first = log.open.pop(producer.id)
            marker = log.append(_marker(producer, commit=commit))
            if not commit:
                log.aborted.append((producer.id, first, marker))
        if commit:
            self.committed.update(producer.offsets)
        producer.touched.clear()
        producer.offsets.clear()
        producer.open = False


def _batch(records: Iterable[tuple[bytes | None, bytes | None]]) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 24,
    )
    for place, (key, value) in enumerate(records):
        added = builder.append(place, timestamp=0, key=key, value=value, headers=[])
        assert added is not None
    return bytes(builder.build())


def _marker(producer: _Producer, *, commit: bool) -> bytes:
    """Return a control batch: one record whose key tells the kind of end (KIP-98)."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=1,
        producer_id=producer.id,
        producer_epoch=producer.epoch,
        base_sequence=-1,
        batch_size=1 << 12,
    )
    key = struct.pack(">hh", 0, _COMMIT if commit else _ABORT)
    builder.append(0, timestamp=0, key=key, value=struct.pack(">hi", 0, 0), headers=[])
    data = bytearray(builder.build())
    data[22] |= _CONTROL
    struct.pack_into(">I", data, 17, calc_crc32c(bytes(data[21:])))
    return bytes(data)
