"""How fast `dipper replay` decides a simulated history from a file, and that it decides it all."""

import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from streams.errors import DipperError
from streams.limits import DAY_MS
from streams.replay import replay
from streams.simulate.log import write_log
from streams.simulate.world import WorldConfig
from streams.topology import OUT_DECISION

START_MS = 20_454 * DAY_MS  # 2026-01-01
PARTITIONS = 2  # a thread each: the goal is stated for two cores
_EVENTS_PER_HEAD = 20
_SMALL_ROWS = 256


class Replayed(NamedTuple):
    """One replay of a file of JSON Lines into files, mixed traffic."""

    events: int
    requests: int
    seconds: float
    events_per_second: float
    sha256: str  # of the decisions


def bench_replay(
    config: Path, events: int, on_stage: Callable[[str], None] = lambda _: None
) -> Replayed:
    """Simulate a day of about so many events, one in ten a request, and replay it in `PARTITIONS`.

    It is replayed twice: once to warm up, in small batches, once to be timed. Raises `DipperError`
    where a request has no decision, or the two have not written the same decisions.
    """
    people = max(10, events // _EVENTS_PER_HEAD)
    world = WorldConfig(
        applicants=people, rate_per_second=events / 86_400, closed_loop=False, for_file=True
    )
    with tempfile.TemporaryDirectory(prefix="dipper-bench-") as name:
        file, out = Path(name) / "events.jsonl", Path(name) / "out"
        on_stage("simulate")
        written = write_log(world, START_MS, 1.0, file)
        on_stage("warm up")
        replay(file, config, partitions=PARTITIONS, out=out, batch_rows=_SMALL_ROWS)
        expected = _digest(out)
        on_stage("replay")
        begin = time.monotonic()
        found = replay(file, config, partitions=PARTITIONS, out=out)
        seconds = time.monotonic() - begin
        digest = _digest(out)
        if found.written[OUT_DECISION] != written.requests:
            decided = found.written[OUT_DECISION]
            raise DipperError(f"{written.requests} requests, and {decided} decisions")
        if digest != expected:
            raise DipperError(f"decisions in small batches {expected}, in large ones {digest}")
    rate = round(written.events / seconds, 1)
    return Replayed(written.events, written.requests, round(seconds, 2), rate, digest)


def _digest(folder: Path) -> str:
    with (folder / "decisions.jsonl").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
