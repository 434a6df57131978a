"""The second door: a file, a log or a topic through the very step that decides live.

What a replay never does: it writes to no network and to no topic, moves no offset, joins no group;
it reads no clock and draws nothing at random; it changes nothing in the deployment and keeps no
state behind. Its output is a function of the source, the deployment and the number of partitions.

1. Open the source; each partition of it gets a step of its own.
2. Give each block of records to all partitions, which take their own, each in a thread: run a step
   whenever its batch is full, and at the end.
3. Hand what the step writes to files or to memory of its partition; join them in their order.

Dying anywhere leaves files that are half written, and nothing else; run it again.
"""

import base64
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

import numpy as np
import orjson
import polars as pl

from streams import frames
from streams.blocks import Block
from streams.buffers import Array, Batch, Out
from streams.codec.fault import find_fault
from streams.config import load_deployment
from streams.control.keys import load_trusted, verifier
from streams.deployment import Deployment
from streams.dump import dump_path, pack_output
from streams.evidence import read_candidates, read_evidence, split_evidence
from streams.gather import LINES, PACKED, PACKED_BYTES, VALUES, gather
from streams.limits import DAY_MS
from streams.partition import Output, Partition, read_dead_letters
from streams.schema import Refusal
from streams.sources import Source, open_source
from streams.step import Step
from streams.topology import (
    OUT_DEAD_LETTER,
    OUT_DECISION,
    OUT_EVIDENCE,
    OUT_FUNDING,
    STEP_OUTPUTS,
)
from streams.versions import with_versions

_SORT = "sort lines and ticks by the time at which each fact became known"
# In the order of `topology.STEP_OUTPUTS`.
FILES = ("decisions.jsonl", "evidence.bin", "funding.jsonl", "dead-letters.jsonl")
LATE_MS = DAY_MS
"""Further behind the time that its partition had reached, an event is told as out of order."""
_REMEDIES = {
    Refusal.NOT_STARTED: 'a line {"type":"tick","at":…} must stand before them',
    Refusal.TOO_FAR_AHEAD: _SORT,
    Refusal.TOO_OLD: _SORT,
}
_COPY_BYTES = 1_048_576
_BLOCKS_AHEAD = 8  # read, and not yet decided by every partition
# How records of a topic stand in its file; dead letters are written one by one.
_FORMS = {OUT_DECISION: LINES, OUT_EVIDENCE: VALUES, OUT_FUNDING: LINES}


class Progress(NamedTuple):
    """How far a replay has come: records read, and bytes of the source (0 of 0: not known)."""

    records: int
    read_bytes: int
    size_bytes: int


@dataclass(frozen=True)
class ReplayResult:
    """What a replay wrote: counts, and frames that are read when first asked for.

    `written` counts records by output: decisions, evidence, funding, dead letters; `refused` those
    that changed nothing, by reason (`schema.Refusal`), repeats among them; `late` those taken more
    than LATE_MS behind the time that their partition had reached. Without `folder` the bytes stand
    in `data`, by output, partitions in order.
    """

    deployment: Deployment
    records: int
    written: tuple[int, ...]
    folder: Path | None
    data: tuple[bytes, ...]
    refused: Mapping[str, int]
    late: int

    def remarks(self) -> list[str]:
        """Return a sentence for what the log held and no decision knows, with counts: records
        refused, repeats, events out of order.
        """
        told = []
        for name, count in self.refused.items():
            remedy = _REMEDIES.get(
                Refusal[name.upper()], "--out FOLDER keeps their bytes and places"
            )
            if name == Refusal.DUPLICATE.name.lower():
                remedy = "only the first of the same id counts"
            told.append(f"{count:,} of {self.records:,} records are refused, {name}: {remedy}")
        if self.late:
            told.append(
                f"{self.late:,} of {self.records:,} records are out of order, a day or more behind"
                f" the log's time: requests before them do not know them; {_SORT}"
            )
        return told

    @cached_property
    def decisions(self) -> pl.DataFrame:
        """One row a decision (`streams.frames.DECISIONS`)."""
        return frames.read_lines(self.read(OUT_DECISION), frames.DECISIONS)

    @cached_property
    def evidence(self) -> pl.DataFrame:
        """One row a decision: features and scores behind it (`streams.evidence`); where a version
        went live on the way, what it decided stands behind what the one before it did.
        """
        return self._by_version(read_evidence)

    @cached_property
    def candidates(self) -> pl.DataFrame:
        """One row a policy that judged a request: outcome, terms, reasons, rules that fired."""
        return self._by_version(read_candidates)

    @cached_property
    def funding(self) -> pl.DataFrame:
        """One row a move of money (`streams.frames.FUNDING`)."""
        return frames.read_lines(self.read(OUT_FUNDING), frames.FUNDING)

    @cached_property
    def dead_letters(self) -> pl.DataFrame:
        """One row a refused record (`streams.frames.DEAD_LETTERS`)."""
        return frames.read_lines(self.read(OUT_DEAD_LETTER), frames.DEAD_LETTERS)

    def _by_version(self, read: Callable[[bytes, Deployment], pl.DataFrame]) -> pl.DataFrame:
        parts = split_evidence(self.read(OUT_EVIDENCE), self.deployment)
        return pl.concat([read(data, live) for live, data in parts], how="diagonal")

    def read(self, topic: int) -> bytes:
        """Return the bytes of one of `topology.STEP_OUTPUTS`, as they stand in its file."""
        return (self.folder / FILES[topic]).read_bytes() if self.folder else self.data[topic]

    def mapped(self, topic: int) -> Array:
        """Return the same as uint8[bytes], read from the file only where it is looked at."""
        if self.folder is None or not (self.folder / FILES[topic]).stat().st_size:
            return np.frombuffer(self.read(topic), np.uint8)
        return np.memmap(self.folder / FILES[topic], np.uint8, "r")


def replay(
    source: str | Path | pl.DataFrame,
    config: str | Path | Deployment,
    *,
    partitions: int | None = None,
    out: str | Path | None = None,
    dump: str | Path | None = None,
    batch_rows: int = 0,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> ReplayResult:
    """Decide everything in `source` again, or for the first time, under the deployment `config`.

    `source`: JSON Lines (.gz too), Parquet, a frame, or `kafka://HOST:PORT[/TOPIC]`, as told in
    `streams.sources.open_source`; `partitions` likewise. `out`: a folder for decisions.jsonl,
    evidence.bin, funding.jsonl and dead-letters.jsonl; without it the result holds them in memory
    (about 2 KB a request). `dump`: a folder for the bytes by topic and partition in the form of
    `streams.dump`. `batch_rows` limits a batch (0: as large as memory allows); no output depends on
    it. Raises `DipperError` where source or deployment cannot be read.
    """
    if not isinstance(config, Deployment):
        config = with_versions(load_deployment(Path(config)))
    deployment = config
    caps, key = deployment.caps, deployment.platform.decision_key
    opened = open_source(source, partitions, caps, key, deployment.symbols)
    verify = opened.verify or verifier(load_trusted(deployment.folder))
    folder = None if out is None else Path(out)
    with _Sink(opened.partitions, folder, None if dump is None else Path(dump)) as sink:
        lanes = [
            _Lane(Partition(Step(deployment, number, opened.partitions, verify)), sink, batch_rows)
            for number in range(opened.partitions)
        ]
        records = _decide(lanes, opened, on_progress)
        data = sink.finish()
    counts = sink.refused.sum(axis=0)
    refused = {each.name.lower(): int(counts[each]) for each in Refusal if each and counts[each]}
    written = tuple(sink.written.sum(axis=0).tolist())
    return ReplayResult(deployment, records, written, folder, data, refused, int(sink.late.sum()))


def _decide(
    lanes: Sequence["_Lane"], source: Source, on_progress: Callable[[Progress], None]
) -> int:
    """Give each block to every lane, which has a thread of its own; more are read meanwhile."""
    count = 0
    with ExitStack() as stack:
        threads = [stack.enter_context(ThreadPoolExecutor(1)) for _ in lanes]
        deciding: deque[list[Future[None]]] = deque()
        for block in source.blocks:
            deciding.append(
                [
                    thread.submit(lane.take, block)
                    for thread, lane in zip(threads, lanes, strict=True)
                ]
            )
            if len(deciding) == _BLOCKS_AHEAD:
                _wait(deciding.popleft())
            count += len(block.offset)
            on_progress(Progress(count, source.read_bytes(), source.size_bytes))
        for each in deciding:
            _wait(each)
        _wait([thread.submit(lane.flush) for thread, lane in zip(threads, lanes, strict=True)])
    on_progress(Progress(count, source.size_bytes, source.size_bytes))
    return count


def _wait(deciding: Sequence[Future[None]]) -> None:
    for each in deciding:
        each.result()


class _Lane:
    """One partition on its way through a source: whole batches, whatever the blocks."""

    def __init__(self, partition: Partition, sink: "_Sink", batch_rows: int) -> None:
        self._partition = partition
        self._sink = sink
        self._batch_rows = batch_rows

    def take(self, block: Block) -> None:
        """Take this partition's records; decide as often as the batch is full."""
        row = 0
        while row < len(block.offset):
            row = self._partition.fill(block, row, self._batch_rows)
            if row < len(block.offset) or self._partition.refused is not None:
                self.flush()

    def flush(self) -> None:
        """Decide what has been taken."""
        partition, sink = self._partition, self._sink
        if partition.refused is not None:
            sink.write_each(partition.step.partition, partition.refuse(partition.refused))
        for out in partition.flush():
            sink.write(partition.step.partition, out, partition.step.batch)


class _Sink:
    """Takes outputs of all partitions; in the end there is one file, or bytes, per topic.

    Partitions may write at the same time: each has files, memory and counts of its own.
    """

    def __init__(self, partitions: int, folder: Path | None, dump: Path | None) -> None:
        self.written = np.zeros((partitions, len(STEP_OUTPUTS)), np.int64)
        self.refused = np.zeros((partitions, len(Refusal)), np.int64)
        self.late = np.zeros(partitions, np.int64)
        self._reached = np.zeros(partitions, np.int64)
        self._partitions = partitions
        self._folder = folder
        self._dump = dump
        self._stack = ExitStack()
        self._parts: list[list[IO[bytes]]] = []
        self._dumps: list[list[IO[bytes]]] = []
        self._memory: list[Array] = [np.zeros(0, np.uint8)] * partitions

    def __enter__(self) -> Self:
        for folder in (self._folder, self._dump):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
        for number in range(self._partitions):
            self._parts.append([self._part(topic, number) for topic in range(len(FILES))])
            if self._dump is not None:
                self._dumps.append(
                    [
                        self._stack.enter_context(dump_path(self._dump, topic, number).open("wb"))
                        for topic in range(len(STEP_OUTPUTS))
                    ]
                )
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def write(self, partition: int, out: Out, batch: Batch) -> None:
        """Take what a step has written of `batch`."""
        needed = int(out.used[1]) + PACKED_BYTES * int(out.used[0])
        if len(self._memory[partition]) < needed:
            self._memory[partition] = np.zeros(2 * needed, np.uint8)
        memory = self._memory[partition]
        for topic, form in _FORMS.items():
            size, count = gather(out, topic, form, memory)
            if count:
                self._parts[partition][topic].write(memory[:size].data)
                self.written[partition, topic] += count
                if self._dumps:
                    size, _ = gather(out, topic, PACKED, memory)
                    self._dumps[partition][topic].write(memory[:size].data)
        self._count(partition, batch)
        self._write_letters(partition, read_dead_letters(out, batch, partition))

    def _count(self, partition: int, batch: Batch) -> None:
        """Count what of a batch was refused, and what stands out of order."""
        events = batch.events[: batch.used[0]]
        self.refused[partition] += np.bincount(events["refusal"], minlength=len(Refusal))
        at = np.append(self._reached[partition], events["at"][events["refusal"] == 0])
        reached = np.maximum.accumulate(at)
        self.late[partition] += np.count_nonzero(reached - at > LATE_MS)
        self._reached[partition] = reached[-1]

    def write_each(self, partition: int, letters: Iterable[Output]) -> None:
        """Take dead letters of records that no batch holds."""
        kept = list(letters)
        for letter in kept:
            self.refused[partition, Refusal[dict(letter.headers)["reason"].decode().upper()]] += 1
        self._write_letters(partition, kept)

    def _write_letters(self, partition: int, letters: Iterable[Output]) -> None:
        for letter in letters:
            self._parts[partition][OUT_DEAD_LETTER].write(_as_line(letter))
            self.written[partition, OUT_DEAD_LETTER] += 1
            if self._dumps:
                self._dumps[partition][OUT_DEAD_LETTER].write(pack_output(letter))

    def finish(self) -> tuple[bytes, ...]:
        """Join the partitions in their order; return the bytes where they are kept in memory."""
        data = []
        for topic in range(len(FILES)):
            first, *others = (parts[topic] for parts in self._parts)
            for part in others:
                part.seek(0)
                shutil.copyfileobj(part, first, _COPY_BYTES)
            if isinstance(first, BytesIO):
                data.append(first.getvalue())
        return tuple(data)

    def _part(self, topic: int, partition: int) -> IO[bytes]:
        if self._folder is None:
            return BytesIO()
        # The first partition's file is the one to which the others' are appended in the end.
        path = self._folder / (f".{FILES[topic]}.{partition}" if partition else FILES[topic])
        file = self._stack.enter_context(path.open("wb+"))
        if partition:
            self._stack.callback(path.unlink)
        return file


def _as_line(output: Output) -> bytes:
    named = {name: value.decode() for name, value in output.headers}
    letter: dict[str, Any] = {
        name: int(value) if name in _NUMBERS else value for name, value in named.items()
    }
    fault = find_fault(output.value, Refusal[letter["reason"].upper()])
    if fault.field:
        letter["field"] = fault.field
    if letter["position"] < 0:
        letter["position"] = fault.position
    letter |= {
        "key_base64": _base64(output.key),
        "value_base64": _base64(output.value),
    }
    return orjson.dumps(letter) + b"\n"


_NUMBERS = frozenset(name for name, kind in frames.DEAD_LETTERS.items() if kind == pl.Int64)


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()
