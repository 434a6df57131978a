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
_EVENTS_PER_HEAD = 20


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
    """Simulate a day of about so many events, one in ten a request, and replay it.

    Raises `DipperError` where a request has no decision.
    """
    people = max(10, events // _EVENTS_PER_HEAD)
    world = WorldConfig(
        applicants=people, rate_per_second=events / 86_400, closed_loop=False, for_file=True
    )
    with tempfile.TemporaryDirectory(prefix="dipper-bench-") as name:
        file, out = Path(name) / "events.jsonl", Path(name) / "out"
        on_stage("simulate")
        written = write_log(world, START_MS, 1.0, file)
        on_stage("compile")
        head = Path(name) / "head.jsonl"
        head.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:200]))
        replay(head, config)
        on_stage("replay")
        begin = time.monotonic()
        found = replay(file, config, out=out)
        seconds = time.monotonic() - begin
        if found.written[OUT_DECISION] != written.requests:
            decided = found.written[OUT_DECISION]
            raise DipperError(f"{written.requests} requests, and {decided} decisions")
        digest = hashlib.sha256((out / "decisions.jsonl").read_bytes()).hexdigest()
    rate = round(written.events / seconds, 1)
    return Replayed(written.events, written.requests, round(seconds, 2), rate, digest)
