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

import numpy as np
import orjson
import polars as pl
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.blocks import PAD_BYTES, Block, make_block, number_rows
from streams.broker.client import log_end, make_consumer
from streams.broker.lines import Line, LineFile, read_line
from streams.broker.publish import partition_of
from streams.broker.topics import count_partitions
from streams.codec.symbols import Symbols
from streams.control.records import Caps, ControlLog, Entry, Position, split_signature
from streams.errors import BrokerError, DipperError
from streams.partition import Input, input_of
from streams.schema import EVENT
from streams.split import (
    ODD,
    Piece,
    find_keys,
    list_bytes,
    make_stage,
    make_symbols_of_events,
    spans_of,
    split_lines,
)
from streams.step import Verify
from streams.topology import EVENTS

KAFKA = "kafka://"
_PARQUET = frozenset({".parquet", ".pq"})
_CHUNK_ROWS = 10_000
_TEXTS = (pl.String, pl.Binary)
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
    blocks: Iterable[Block]
    verify: Verify | None = None
    read_bytes: Callable[[], int] = lambda: 0
    size_bytes: int = 0

    def records(self) -> Iterator[Placed]:
        """Yield record by record, for whoever looks at few of them and decides none."""
        for block in self.blocks:
            for row, number in enumerate(block.partition.tolist()):
                yield Placed(number, input_of(block, row))


def open_source(
    source: str | Path | pl.DataFrame,
    partitions: int | None,
    caps: Caps,
    secret: bytes,
    symbols: Symbols | None = None,
) -> Source:
    """Open what is to be replayed; `DipperError` where it cannot be read.

    `source`: a path to JSON Lines (.gz too) or Parquet, a frame, or `kafka://HOST:PORT[/TOPIC]`.
    Parquet and frames have a column `value` (events, as lines of a file), and where they are a log
    also `partition`, `key` and `offset`. `partitions` is 1 for files where not given; of a log it
    is what the log has. `secret` marks the control events that are made here. With `symbols`, those
    of the deployment that decides, lines of a file are read into events at once.
    """
    if isinstance(source, str) and source.startswith(KAFKA):
        return _topic(source)
    if isinstance(source, pl.DataFrame):
        return _frame(source.lazy(), "the frame", partitions, caps, secret, symbols)
    path = Path(source)
    if path.suffix in _PARQUET:
        if not path.is_file():
            raise DipperError(f"{path}: no such file")
        return _frame(pl.scan_parquet(path), str(path), partitions, caps, secret, symbols)
    lines = LineFile(path)
    pieces = split_lines(lines.pieces())
    events = _events(pieces, str(path), partitions or 1, caps, secret, symbols)
    return events._replace(read_bytes=lambda: lines.read_bytes, size_bytes=lines.size_bytes)


def _events(
    pieces: Iterator[Piece],
    name: str,
    partitions: int,
    caps: Caps,
    secret: bytes,
    symbols: Symbols | None,
) -> Source:
    """Make the logs that publishing these lines beside `dipper control --clock file` makes."""

    def mark(body: bytes) -> bytes:
        return hashlib.blake2b(body, key=secret, digest_size=64).digest()

    def verify(_partition: int, value: bytes, _offset: int) -> bool:
        parts = split_signature(value)
        if parts is not None and mark(parts[0]) == parts[1]:
            return True
        # A loan or line event of a file counts as if control had taken it in and signed it.
        return _is_of_an_institution(value)

    control = ControlLog(mark, caps, [Position()] * partitions)
    log = _EventLog(name, partitions, control, symbols)
    return Source(partitions, log.blocks(pieces), verify)


class _EventLog:
    """Numbers the events of a file, with control's own among them."""

    def __init__(
        self, name: str, partitions: int, control: ControlLog, symbols: Symbols | None
    ) -> None:
        self._name = name
        self._partitions = partitions
        self._control = control
        self._next = np.zeros(partitions, np.int64)
        self._reads_events = symbols is not None
        self._symbols = symbols or make_symbols_of_events()
        self._stage = make_stage()
        self._usable, self._first = False, ""

    def blocks(self, pieces: Iterator[Piece]) -> Iterator[Block]:
        """Yield the grants, then a block for each piece."""
        granted = list(self._control.grants())
        nothing = [None] * len(granted)
        numbers = np.array([entry.partition for entry in granted], np.int32)
        yield self._numbered(
            make_block(numbers, numbers, nothing, [entry.value for entry in granted])
        )
        for piece in pieces:
            yield self._numbered(self._block(piece))
        if self._first and not self._usable:
            raise DipperError(
                f"{self._name} holds no event: {self._first}; name a file of JSON Lines"
            )

    def _numbered(self, block: Block) -> Block:
        number_rows(block.partition, self._next, block.offset)
        return block

    def _block(self, piece: Piece) -> Block:
        rows = len(piece.start)
        partition, offset = np.zeros(rows, np.int32), np.zeros(rows, np.int64)
        key_start, key_len = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        block = Block(piece.data, partition, offset, key_start, key_len, piece.start, piece.len)
        if self._reads_events:
            block = block._replace(
                events=np.empty(rows, EVENT), event_row=np.arange(rows, dtype=np.int32)
            )
        stage = self._stage._replace(data=piece.data)
        odd = find_keys(self._symbols, stage, block, self._partitions)
        self._usable = self._usable or odd < rows
        return self._read_odd(piece, block) if odd else block

    def _read_odd(self, piece: Piece, block: Block) -> Block:
        """Read what the scanner left; events of control take the place of what tells it."""
        more = bytearray()
        told: list[tuple[int, int, int, int]] = []  # row, partition, start, length
        keep = np.ones(len(block.offset), np.bool_)
        for row in np.flatnonzero(block.key_len == ODD).tolist():
            start = int(piece.start[row])
            value = piece.data[start : start + int(piece.len[row])].tobytes()
            line = read_line(int(piece.number[row]), value)
            self._usable = self._usable or not line.fault
            self._first = self._first or (f"line {line.number} {line.fault}" if line.fault else "")
            block.key_len[row] = -1 if line.key is None else len(line.key)
            if line.key is not None:
                block.partition[row] = partition_of(line.key, self._partitions)
                block.key_start[row] = len(piece.data) + len(more)
                more += line.key
            if line.tick_at is not None or line.command is not None:
                keep[row] = False
                for entry in self._told(line):
                    place = len(piece.data) + len(more)
                    told.append((row, entry.partition, place, len(entry.value)))
                    more += entry.value
        data = np.concatenate([piece.data, np.frombuffer(more + bytes(PAD_BYTES), np.uint8)])
        before, numbers, starts, lengths = np.array(told, np.int64).reshape(-1, 4).T
        keep = np.insert(keep, before, True)
        places = block.event_row if self._reads_events else np.full(len(block.offset), -1, np.int32)
        *columns, places = (
            np.insert(column, before, inserted)[keep]
            for column, inserted in (
                (block.partition, numbers), (block.offset, 0), (block.key_start, 0),
                (block.key_len, -1), (block.value_start, starts), (block.value_len, lengths),
                (places, -1),
            )
        )  # fmt: skip
        return Block(data, *columns)._replace(events=block.events, event_row=places)

    def _told(self, line: Line) -> Iterator[Entry]:
        if line.tick_at is not None:
            return self._control.ticks(line.tick_at)
        assert line.command is not None
        return self._control.commands(line.command)


def _is_of_an_institution(value: bytes) -> bool:
    record = orjson.loads(value)
    return isinstance(record, dict) and record.get("type") in ("loan", "line")


def _frame(
    frame: pl.LazyFrame,
    name: str,
    partitions: int | None,
    caps: Caps,
    secret: bytes,
    symbols: Symbols | None,
) -> Source:
    try:
        schema = frame.collect_schema()
        columns = schema.names()
        if "value" not in columns:
            raise DipperError(f"{name} has no column value; it has {', '.join(columns)}")
        for column in ("key", "value"):
            kind = schema.get(column, pl.Binary())
            if kind not in _TEXTS:
                raise DipperError(f"{name} has {kind} in column {column}: text or bytes are read")
        if "partition" not in columns:
            values = (found["value"] for found in _chunks(frame.select("value")))
            return _events(spans_of(values), name, partitions or 1, caps, secret, symbols)
        if missing := {"key", "offset"} - set(columns):
            raise DipperError(f"{name} has partition but no {' and no '.join(sorted(missing))}")
        last = frame.select(pl.col("partition").max()).collect().item()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DipperError(f"{name} cannot be read: {error}") from error
    log = frame.select("partition", "offset", "key", "value").sort(
        "partition", "offset", maintain_order=True
    )
    blocks = (
        make_block(
            found["partition"].cast(pl.Int32).to_numpy(),
            found["offset"].cast(pl.Int64).to_numpy(),
            list_bytes(found["key"]),
            list_bytes(found["value"]),
        )
        for found in _chunks(log)
    )
    return Source(partitions or (0 if last is None else last) + 1, blocks)


def _chunks(frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    yield from frame.collect_batches(chunk_size=_CHUNK_ROWS)


def _topic(address: str) -> Source:
    bootstrap, _, topic = address.removeprefix(KAFKA).partition("/")
    reader = _TopicReader(bootstrap, topic or EVENTS.name)
    return Source(reader.partitions, reader.blocks())


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

    def blocks(self) -> Iterator[Block]:
        """Yield every record; close the client at the end."""
        try:
            for number in range(self.partitions):
                partition = TopicPartition(self._topic, number)
                end = self._run(self._seek, partition)
                while self._run(self._consumer.position, partition) < end:
                    found = [r for r in self._run(self._more, partition) if r.offset < end]
                    yield make_block(
                        number,
                        [record.offset for record in found],
                        [record.key for record in found],
                        [record.value for record in found],
                    )
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
