"""What a replay reads: files of events, a log kept as Parquet or a frame, a Kafka topic.

Files of events hold no control events: each partition first gets its grants, each tick line becomes
a tick in every partition, each line that tells control something (`{"type":"pause",
"institution":"dawn"}`) such an event, by control's own code, and loan events count as signed by it.
A log holds all of that already, and is taken record for record, offset for offset, signatures
checked with the deployment's keys.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import polars as pl
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.broker.client import log_end, make_consumer
from streams.broker.lines import Line, LineFile, read_line
from streams.broker.publish import partition_of
from streams.broker.topics import count_partitions
from streams.control.records import Caps, ControlLog, Entry, Position, split_signature
from streams.errors import BrokerError, DipperError
from streams.partition import Input
from streams.step import Verify
from streams.topology import EVENTS

KAFKA = "kafka://"
_PARQUET = frozenset({".parquet", ".pq"})
_CHUNK_ROWS = 100_000
_POLL_MS = 500


class Placed(NamedTuple):
    """A record and the partition whose log it stands in."""

    partition: int
    record: Input


class Source(NamedTuple):
    """Records in log order within each partition, and how to tell true control events.

    `verify` is None where the deployment's public key must be used. `read_bytes` and `size_bytes`
    tell the progress (0, 0 where it is not known).
    """

    partitions: int
    records: Iterable[Placed]
    verify: Verify | None = None
    read_bytes: Callable[[], int] = lambda: 0
    size_bytes: int = 0


def open_source(
    source: str | Path | pl.DataFrame, partitions: int | None, caps: Caps, secret: bytes
) -> Source:
    """Open what is to be replayed; `DipperError` where it cannot be read.

    `source`: a path to JSON Lines (.gz too) or Parquet, a frame, or `kafka://HOST:PORT[/TOPIC]`.
    Parquet and frames have a column `value` (events, as lines of a file), and where they are a log
    also `partition`, `key` and `offset`. `partitions` is 1 for files where not given; of a log it
    is what the log has. `secret` marks the control events that are made here.
    """
    if isinstance(source, str) and source.startswith(KAFKA):
        return _topic(source)
    if isinstance(source, pl.DataFrame):
        return _frame(source.lazy(), "the frame", partitions, caps, secret)
    path = Path(source)
    if path.suffix in _PARQUET:
        if not path.is_file():
            raise DipperError(f"{path}: no such file")
        return _frame(pl.scan_parquet(path), str(path), partitions, caps, secret)
    lines = LineFile(path)
    events = _events(lines, str(path), partitions or 1, caps, secret)
    return events._replace(read_bytes=lambda: lines.read_bytes, size_bytes=lines.size_bytes)


def _events(lines: Iterable[Line], name: str, partitions: int, caps: Caps, secret: bytes) -> Source:
    """Make the logs that publishing these lines beside `dipper control --clock file` makes."""

    def mark(body: bytes) -> bytes:
        return hashlib.blake2b(body, key=secret, digest_size=64).digest()

    def verify(_partition: int, value: bytes, _offset: int) -> bool:
        parts = split_signature(value)
        if parts is not None and mark(parts[0]) == parts[1]:
            return True
        # A loan event of a file counts as if control had taken it in and signed it.
        return _is_loan(value)

    def records() -> Iterator[Placed]:
        control = ControlLog(mark, caps, [Position()] * partitions)
        offsets = [0] * partitions
        entries: Iterable[Entry] = control.grants()
        usable, first = False, ""
        for line in lines:
            usable = usable or not line.fault
            first = first or f"line {line.number} {line.fault}"
            for entry in entries:
                yield Placed(entry.partition, Input(offsets[entry.partition], None, entry.value))
                offsets[entry.partition] += 1
            if line.tick_at is not None:
                entries = control.ticks(line.tick_at)
                continue
            if line.command is not None:
                entries = control.commands(line.command)
                continue
            entries = ()
            at = 0 if line.key is None else partition_of(line.key, partitions)
            yield Placed(at, Input(offsets[at], line.key, line.value))
            offsets[at] += 1
        if first and not usable:
            raise DipperError(f"{name} holds no event: {first}; name a file of JSON Lines")
        for entry in entries:
            yield Placed(entry.partition, Input(offsets[entry.partition], None, entry.value))
            offsets[entry.partition] += 1

    return Source(partitions, records(), verify)


def _is_loan(value: bytes) -> bool:
    record = orjson.loads(value)
    return isinstance(record, dict) and record.get("type") == "loan"


def _frame(
    frame: pl.LazyFrame, name: str, partitions: int | None, caps: Caps, secret: bytes
) -> Source:
    try:
        columns = frame.collect_schema().names()
        rows = frame.select(pl.len()).collect().item()
        if "value" not in columns:
            raise DipperError(f"{name} has no column value; it has {', '.join(columns)}")
        if "partition" not in columns:
            values = (row[0] for row in _rows(frame.select("value"), rows))
            lines = (read_line(n, _bytes(value) or b"") for n, value in enumerate(values, 1))
            return _events(lines, name, partitions or 1, caps, secret)
        if missing := {"key", "offset"} - set(columns):
            raise DipperError(f"{name} has partition but no {' and no '.join(sorted(missing))}")
        last = frame.select(pl.col("partition").max()).collect().item()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DipperError(f"{name} cannot be read: {error}") from error
    log = frame.select("partition", "offset", "key", "value").sort(
        "partition", "offset", maintain_order=True
    )
    records = (
        Placed(partition, Input(offset, _bytes(key), _bytes(value)))
        for partition, offset, key, value in _rows(log, rows)
    )
    return Source(partitions or (0 if last is None else last) + 1, records)


def _rows(frame: pl.LazyFrame, rows: int) -> Iterator[tuple[Any, ...]]:
    for start in range(0, rows, _CHUNK_ROWS):
        yield from frame.slice(start, _CHUNK_ROWS).collect().iter_rows()


def _bytes(value: object) -> bytes | None:
    if isinstance(value, str):
        return value.encode()
    assert value is None or isinstance(value, bytes)
    return value


def _topic(address: str) -> Source:
    bootstrap, _, topic = address.removeprefix(KAFKA).partition("/")
    reader = _TopicReader(bootstrap, topic or EVENTS.name)
    return Source(reader.partitions, reader.records())


class _TopicReader:
    """Reads a topic from its start to the end that it has now, one partition after another.

    A client of its own in a thread of its own, since the caller may stand in a running event loop.
    """

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._bootstrap = bootstrap
        self._pool = ThreadPoolExecutor(1)
        self._runner = asyncio.Runner()
        self._consumer: AIOKafkaConsumer
        self.partitions = self._run(self._open)

    def records(self) -> Iterator[Placed]:
        """Yield every record; close the client at the end."""
        try:
            for number in range(self.partitions):
                partition = TopicPartition(self._topic, number)
                end = self._run(self._seek, partition)
                while self._run(self._consumer.position, partition) < end:
                    for record in self._run(self._more, partition):
                        if record.offset < end:
                            yield Placed(number, Input(record.offset, record.key, record.value))
        finally:
            self._close()

    def _run(self, make: Callable[..., Any], *arguments: TopicPartition) -> Any:
        return self._pool.submit(lambda: self._runner.run(make(*arguments))).result()

    def _close(self) -> None:
        self._run(self._consumer.stop)
        self._pool.submit(self._runner.close).result()
        self._pool.shutdown()

    async def _open(self) -> int:
        count = await count_partitions(self._bootstrap, self._topic)
        try:
            self._consumer = make_consumer(self._bootstrap)
            await self._consumer.start()
        except (KafkaError, OSError) as error:
            raise BrokerError(
                f"{KAFKA}{self._bootstrap} cannot be read: {error}; is a broker running there?"
            ) from error
        return count

    async def _seek(self, partition: TopicPartition) -> int:
        self._consumer.assign([partition])
        end = await log_end(self._consumer, partition)
        await self._consumer.seek_to_beginning(partition)
        return end

    async def _more(self, partition: TopicPartition) -> list[Any]:
        found = await self._consumer.getmany(partition, timeout_ms=_POLL_MS)
        return list(found.get(partition, ()))
