"""What a comparison and its report of many requests take: processor time, memory, bytes of page.

    python -m tests.streams.study.size --requests 1000000

1. Write a log of a simulated population. 2. Compare and report a small log, so that all is compiled
and loaded. 3. Do the same with the large one and watch the memory of this process that no file
stands behind.
"""

import argparse
import re
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from models.train.dataset import read_labels
from streams.simulate.log import write_log
from streams.simulate.world import WorldConfig
from streams.study.compare import compare
from streams.study.grid import Cell
from streams.study.money import Economics
from streams.study.page import render
from streams.study.sections import report_figures
from tests.tidy.source import ROOT

POLICIES = ROOT / "examples" / "policies"
START_MS = 1_767_225_600_000  # 2026-01-01
DAYS = 8
SMALL = 4_000
_SAMPLE_S = 0.02


class Watched:
    """The most anonymous memory, in bytes, that the process holds while it is entered."""

    def __init__(self) -> None:
        self.most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            self.most = max(self.most, anonymous())


def anonymous() -> int:
    """Return the bytes of this process's memory that no file stands behind."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def write(folder: Path, requests: int) -> tuple[Path, Path]:
    """Write a log of about so many requests, and its labels."""
    events, labels = folder / f"{requests}.jsonl", folder / f"{requests}.csv"
    applicants = max(requests // 8, 2)
    world = WorldConfig(
        applicants=applicants, firm_share=0.2, rate_per_second=applicants * 2 / 86_400,
        request_share=0.5, closed_loop=False, for_file=True,
    )  # fmt: skip
    write_log(world, START_MS, DAYS, events, labels)
    return events, labels


def report(events: Path, labels: Path) -> dict[str, float]:
    """Return what a comparison of the example with itself and its report took."""
    with Watched() as watched:
        started = time.process_time()
        compared = compare(events, POLICIES, POLICIES, labels=read_labels(labels))
        reported = time.process_time()
        figures = report_figures(
            compared, names=("a", "b"), economics=Economics(), groups=("region", "age_years:40"),
            events=str(events), cells=(Cell(50_000), Cell(100_000)),
        )  # fmt: skip
        page = render(figures).encode()
        ended = time.process_time()
    return {
        "requests": compared.rows.height,
        "events": compared.result.records,
        "compare_cpu_s": reported - started,
        "report_cpu_s": ended - reported,
        "anonymous_bytes": watched.most,
        "page_bytes": len(page),
    }


def measure(requests: int) -> dict[str, float]:
    """Return the figures of `requests`, after a small log has warmed all up; `bytes_a_request` is
    what one more takes.
    """
    with tempfile.TemporaryDirectory(prefix="dipper-size-") as name:
        small = report(*write(Path(name), SMALL))
        large = report(*write(Path(name), requests))
    more = large["anonymous_bytes"] - small["anonymous_bytes"]
    return {**large, "bytes_a_request": more / (large["requests"] - small["requests"])}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=100_000)
    print(orjson.dumps(measure(parser.parse_args().requests)).decode())
