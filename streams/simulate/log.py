"""A simulated log as a file: JSON Lines with ticks between, and the truth beside it."""

import csv
import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import orjson

from streams.limits import DAY_MS
from streams.simulate.world import Truth, World, WorldConfig

TICK_MS = 3_600_000  # a request is at most this far behind its partition's time
LABEL_COLUMNS = ("applicant", "id", "bad", "known_at")
TRUTH_COLUMNS = (*LABEL_COLUMNS, "true_pd")


class Written(NamedTuple):
    """What a run wrote: records without ticks, ticks, requests, and how many of those go bad."""

    events: int
    ticks: int
    requests: int
    hostile: int
    bad: int


@contextmanager
def open_lines(path: Path) -> Iterator[BinaryIO]:
    """Open a file of lines for writing; a name that ends in .gz is compressed, without a time in
    its header.
    """
    if path.suffix != ".gz":
        with path.open("wb") as file:
            yield file
        return
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1, mtime=0) as file,
    ):
        yield cast("BinaryIO", file)


def write_log(
    config: WorldConfig,
    start_ms: int,
    days: float,
    out: Path,
    labels: Path | None = None,
    *,
    progress: Callable[[float], None] | None = None,
) -> Written:
    """Write an open-loop world of `days` from `start_ms` to `out` (.jsonl or .jsonl.gz), labels
    beside it.

    Each hour's tick stands before the hour's events and bears its end, so that no event is ahead
    of its partition's time. `labels` gets the columns `LABEL_COLUMNS` of every request; a file of
    the same name with `.truth` before its suffix also gets the true PD. `progress` is told the
    share done, in 0..1.
    """
    assert not config.closed_loop, "nobody decides while a file is written"
    assert config.for_file, "a file has no keys: hostile records must fit a line"
    world = World(config, start_ms)
    events = ticks = requests = hostile = bad = 0
    end_ms = start_ms + round(days * DAY_MS)
    rows = _Labels(labels)
    with open_lines(out) as file:
        now_ms = start_ms
        while now_ms < end_ms:
            now_ms = min(now_ms + TICK_MS, end_ms)
            lines = [orjson.dumps({"type": "tick", "at": now_ms})]
            for record in world.next_events(now_ms):
                assert record.value is not None, "a file holds no null"
                lines.append(record.value)
                requests += record.is_request
                hostile += not record.admissible
            file.write(b"\n".join(lines) + b"\n")
            events += len(lines) - 1
            ticks += 1
            bad += rows.write(world.truth)
            world.truth.clear()
            if progress is not None:
                progress((now_ms - start_ms) / (end_ms - start_ms))
    rows.close()
    return Written(events, ticks, requests, hostile, bad)


class _Labels:
    """The labels file and the truth file, or neither."""

    def __init__(self, labels: Path | None) -> None:
        self._files = []
        if labels is not None:
            for path, columns in ((labels, LABEL_COLUMNS), (truth_path(labels), TRUTH_COLUMNS)):
                file = path.open("w", newline="", encoding="utf-8")
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(columns)
                self._files.append((file, writer, len(columns)))

    def write(self, rows: list[Truth]) -> int:
        """Write rows to both files; return how many are bad."""
        for _, writer, count in self._files:
            writer.writerows(
                (row.applicant, row.id, int(row.bad), row.known_at, f"{row.true_pd:.6f}")[:count]
                for row in rows
            )
        return sum(row.bad for row in rows)

    def close(self) -> None:
        """Close both."""
        for file, _, _ in self._files:
            file.close()


def truth_path(labels: Path) -> Path:
    """Return where the truth stands that belongs to a labels file."""
    return labels.with_name(f"{labels.stem}.truth{labels.suffix}")
