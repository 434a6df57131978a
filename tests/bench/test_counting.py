"""What counting and logging cost the hot path, beside the path itself, in one run."""

import io
import time

import numpy as np

from monitoring.logs import log_batch, start_logs
from monitoring.meter import WorkerMeter
from streams import counters
from streams.bench import step as bench
from streams.buffers import Array
from streams.compile import kernel
from streams.count import count_decision
from streams.counters import Dimensions
from streams.schema import DECISION, EVENT, VERDICT, EventType

_NAMES = Dimensions(
    tuple(f"i{n}" for n in range(5)), tuple(f"p{n}" for n in range(5)),
    tuple(f"c{n}" for n in range(5)), tuple(f"r{n}" for n in range(40)),
)  # fmt: skip
_ROWS = 4_096
_TRIES = 30
SHARE_MAX = 0.02


@kernel
def _count_all(counts: Array, at: Array, decision: Array, verdicts: Array, events: Array) -> None:
    for i in range(events.shape[0]):
        count_decision(counts, at, decision, verdicts, events, i)


def _counting_us() -> float:
    """Return what counting one decision takes: an approval with a reason, of five candidates."""
    counts, at = np.zeros(counters.size(_NAMES), np.int64), counters.places(_NAMES)
    decision, verdicts, events = np.zeros(1, DECISION), np.zeros(5, VERDICT), np.zeros(_ROWS, EVENT)
    events["type"] = EventType.APPLICATION
    decision["candidates"], decision["reasons"] = 5, 6
    verdicts["institution"], verdicts["pd_ppm"] = np.arange(5), 90_000
    _count_all(counts, at, decision, verdicts, events)
    took = []
    for _ in range(20):
        began = time.thread_time()
        _count_all(counts, at, decision, verdicts, events)
        took.append(time.thread_time() - began)
    return 1e6 * min(took) / _ROWS


def _batch_us() -> float:
    """Return what one batch's adding up and log line take."""
    start_logs(io.StringIO())
    meter = WorkerMeter()
    meter.on_batch = log_batch
    counts = np.zeros(counters.size(_NAMES), np.int64)
    meter.begin(0, counts, 0.0, kept=False)
    took = []
    for _ in range(200):
        counts[counters.EVENTS + EventType.APPLICATION] += _ROWS
        began = time.thread_time()
        meter.commit(0, counts, _ROWS, 0.001, 0.001)
        took.append(time.thread_time() - began)
    return 1e6 * min(took)


def test_metrics_cost_the_hot_path_less_than_two_percent() -> None:
    """With metrics and logs on, a request takes less than 2 % longer than without: counting its
    decision, and its share of a full batch's adding up and log line.
    """
    size = bench.Size(events=12_000, applicants=1_000, history=10, rounds=2)
    # Before and after the step, and the least: a machine's slow moments are nobody's cost, and a
    # try is short, so that many of them find a quick one beside whatever else is running.
    tries = [(_counting_us(), _batch_us()) for _ in range(_TRIES)]
    step = bench.bench_step(size).results[0]
    tries += [(_counting_us(), _batch_us()) for _ in range(_TRIES)]
    each, batch = map(min, zip(*tries, strict=True))
    without_us = step.cpu_us_per_event - each
    share = (each + batch / _ROWS) / without_us
    print(f"step {step.cpu_us_per_event:.3f} us, counting {each:.4f} us, batch {batch:.1f} us")
    print(f"metrics on against off: {100 * share:.2f} %")
    assert share < SHARE_MAX
