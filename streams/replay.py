"""The second door: a file, a log or a topic through the very step that decides live.

What a replay never does: it writes to no network and to no topic, moves no offset, joins no group;
it reads no clock and draws nothing at random; it changes nothing in the deployment and keeps no
state behind. Its output is a function of the source, the deployment and the number of partitions.

1. Open the source; each partition of it gets a step of its own.
2. Give each record to its partition; run a step whenever its batch is full, and at the end.
3. Hand what the step writes to files or to memory, partition by partition.

Dying anywhere leaves files that are half written, and nothing else; run it again.
"""

import base64
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

import orjson
import polars as pl

from streams import frames
from streams.codec.fault import find_fault
from streams.config import load_deployment
from streams.control.keys import load_trusted, verifier
from streams.deployment import Deployment
from streams.dump import dump_path, pack_output
from streams.evidence import read_candidates, read_evidence, split_evidence
from streams.partition import Output, Partition
from streams.schema import Refusal
from streams.sources import Source, open_source
from streams.step import Step, Verify
from streams.topology import (
    OUT_DEAD_LETTER,
    OUT_DECISION,
    OUT_EVIDENCE,
    OUT_FUNDING,
    STEP_OUTPUTS,
)
from streams.versions import with_versions

# In the order of `topology.STEP_OUTPUTS`.
FILES = ("decisions.jsonl", "evidence.bin", "funding.jsonl", "dead-letters.jsonl")
_PROGRESS_RECORDS = 10_000


class Progress(NamedTuple):
    """How far a replay has come: records read, and bytes of the source (0 of 0: not known)."""

    records: int
    read_bytes: int
    size_bytes: int


@dataclass(frozen=True)
class ReplayResult:
    """What a replay wrote: counts, and frames that are read when first asked for.

    `written` counts records by output: decisions, evidence, funding, dead letters. Without `folder`
    the bytes stand in `data`, by output, partitions in order.
    """

    deployment: Deployment
    records: int
    written: tuple[int, ...]
    folder: Path | None
    data: tuple[bytes, ...]

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
    opened = open_source(source, partitions, deployment.caps, deployment.platform.decision_key)
    verify = opened.verify or verifier(load_trusted(deployment.folder))
    folder = None if out is None else Path(out)
    with _Sink(opened.partitions, folder, None if dump is None else Path(dump)) as sink:
        records = _decide(deployment, opened, verify, sink, batch_rows, on_progress)
        data = sink.finish()
    return ReplayResult(deployment, records, tuple(sink.written), folder, data)


def _decide(
    deployment: Deployment,
    source: Source,
    verify: Verify,
    sink: "_Sink",
    batch_rows: int,
    on_progress: Callable[[Progress], None],
) -> int:
    lanes = [
        Partition(Step(deployment, number, source.partitions, verify))
        for number in range(source.partitions)
    ]
    taken = [0] * source.partitions
    count = 0
    for count, (number, record) in enumerate(source.records, 1):
        lane = lanes[number]
        if taken[number] == batch_rows > 0 or not lane.add(record):
            sink.write(number, lane.run())
            taken[number] = 0
            added = lane.add(record)
            assert added, "an empty batch takes any record"
        taken[number] += 1
        if count % _PROGRESS_RECORDS == 0:
            on_progress(Progress(count, source.read_bytes(), source.size_bytes))
    for number, lane in enumerate(lanes):
        sink.write(number, lane.run())
    on_progress(Progress(count, source.size_bytes, source.size_bytes))
    return count


class _Sink:
    """Takes outputs of all partitions; in the end there is one file, or bytes, per topic."""

    def __init__(self, partitions: int, folder: Path | None, dump: Path | None) -> None:
        self.written = [0] * len(STEP_OUTPUTS)
        self._partitions = partitions
        self._folder = folder
        self._dump = dump
        self._stack = ExitStack()
        self._parts: list[list[IO[bytes]]] = []
        self._dumps: list[list[IO[bytes]]] = []

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

    def write(self, partition: int, outputs: Iterator[Output]) -> None:
        """Take what one run of a partition's step writes."""
        parts = self._parts[partition]
        for output in outputs:
            parts[output.topic].write(_as_line(output))
            self.written[output.topic] += 1
            if self._dumps:
                self._dumps[partition][output.topic].write(pack_output(output))

    def finish(self) -> tuple[bytes, ...]:
        """Join the partitions in their order; return the bytes where they are kept in memory."""
        data = []
        for topic, name in enumerate(FILES):
            joined: IO[bytes] = BytesIO()
            if self._folder is not None:
                joined = self._stack.enter_context((self._folder / name).open("wb"))
            for parts in self._parts:
                parts[topic].seek(0)
                shutil.copyfileobj(parts[topic], joined)
            if isinstance(joined, BytesIO):
                data.append(joined.getvalue())
        return tuple(data)

    def _part(self, topic: int, partition: int) -> IO[bytes]:
        if self._folder is None:
            return BytesIO()
        path = self._folder / f".{FILES[topic]}.{partition}"
        file = self._stack.enter_context(path.open("wb+"))
        self._stack.callback(path.unlink)
        return file


def _as_line(output: Output) -> bytes:
    assert output.topic in {OUT_DEAD_LETTER, OUT_DECISION, OUT_EVIDENCE, OUT_FUNDING}
    if output.topic == OUT_EVIDENCE:
        assert output.value is not None
        return output.value
    if output.topic != OUT_DEAD_LETTER:
        assert output.value is not None
        return output.value + b"\n"
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
