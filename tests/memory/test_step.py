"""The step takes its memory at start: resident memory stays flat however much it decides."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams import counters
from streams.buffers import append_record
from streams.control.records import Share, grant, signed, tick
from streams.deployment import Deployment
from streams.limits import DAY_MS
from streams.schema import Cap, Outcome
from streams.step import Step
from tests.naive.logs import GENUINE, START, LogMaker
from tests.naive.run import make_step

WEEKS = 300
REQUESTS = 100  # a week, of each kind
# Some 90,000 records: 22 bytes lost on each would show. The allocator's own slack is far below.
GROWTH_BYTES_MAX = 2_000_000

Record = tuple[int, bytes | None, bytes | None]


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def control(record: bytes) -> bytes:
    """Return a control event with a signature that `make_step` takes for good."""
    return signed(record, lambda _: GENUINE)


def week(number: int, seq: int) -> Iterator[Record]:
    """Yield a week: a tick, then applications, activity, answers to nothing, and junk."""
    at = START + 8 * number * DAY_MS
    yield 0, None, control(tick(LogMaker.partition, seq, at))
    for n in range(REQUESTS):
        who = b"gina" if n % 2 else b"hans"
        head = b'","id":"%d-%d","applicant":"%s","at":%d,' % (number, n, who, at)
        asks = b'"product":"instalment_loan","channel":"app","amount_cents":1000,"tenor_days":30}'
        yield n, who, b'{"type":"application' + head + asks
        if n % 10 == 0:
            yield n, who, b'{"type":"activity' + head + b'"kind":"order","amount_cents":%d}' % n
        yield n, who, b'{"type":"cancel' + head.replace(b"-", b"c") + b'"decision":"\\u0061"}'
        yield n, who, b'{"type":'


def run(step: Step, weeks: range) -> None:
    """Decide those weeks; every batch holds one, and every output is read."""
    for number in weeks:
        seq = int(step.core.state.partition[0]["seq"]) + 1
        for record in week(number, seq):
            assert append_record(step.batch, *record)
        for out in step.run():
            assert out.used[0]


@pytest.mark.timeout(900)
def test_resident_memory_is_flat(step_deployment: Deployment) -> None:
    """After a warm-up, hundreds of weeks of requests, activity and records of the slow lane leave
    resident memory where it was.
    """
    step = make_step(step_deployment)
    share = Share("meadow", Cap.OUTSTANDING, 10**12)
    assert append_record(step.batch, 0, None, control(grant(LogMaker.partition, 1, share)))
    list(step.run())
    run(step, range(40))
    before = resident_bytes()
    run(step, range(40, 40 + WEEKS))
    assert resident_bytes() - before < GROWTH_BYTES_MAX
    approved = step.counters[counters.DECIDED + Outcome.APPROVED]
    assert approved == (40 + WEEKS) * REQUESTS
