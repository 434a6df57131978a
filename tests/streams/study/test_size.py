"""A report of many requests stays small: processor time, memory, page."""

import subprocess
import sys

import orjson

from tests.tidy.source import ROOT

REQUESTS = 30_000
# Of a million: 30 s and 10 MB for the report, and 2 GB with all that stands behind it; twice that
# for a machine that does other things too.
REPORT_US_MAX = 60
BYTES_MAX = 4_000
PAGE_BYTES_MAX = 1_000_000


def test_a_request_costs_little() -> None:
    """A request takes a bounded share of processor time and memory, and the page does not grow."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.streams.study.size", "--requests", str(REQUESTS)],
        capture_output=True, text=True, timeout=600, check=True, cwd=ROOT,
    )  # fmt: skip
    told = orjson.loads(done.stdout)
    assert told["requests"] > 0.9 * REQUESTS
    assert told["report_cpu_s"] / told["requests"] < REPORT_US_MAX / 1e6
    assert told["bytes_a_request"] < BYTES_MAX
    assert told["page_bytes"] < PAGE_BYTES_MAX
