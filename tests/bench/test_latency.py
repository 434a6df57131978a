"""The load of `dipper bench latency`: what is due when, and how times are told."""

import numpy as np
import pytest

from streams.bench.latency import (
    curve,
    fault_of,
    make_bursts,
    make_histogram,
    percentiles,
    request_id,
)
from streams.bench.traffic import Traffic
from streams.codec.hashing import partition_of_key

LINES = dict.fromkeys((b"p-00000000", b"p-9e3779b1", b"p-3c6ef362"), b"0" * 32)


@pytest.mark.parametrize("rate", [5_000, 33_333, 50_000])
def test_a_rate_is_a_rate(rate: int) -> None:
    """After each burst as many events were due as the rate says, one at most away; none is lost."""
    records = list(Traffic(3).mixed(rate // 5, LINES, 0.1))
    bursts = make_bursts(records, rate, 2)
    due = 0
    for burst in bursts:
        due += sum(len(part) for part in burst.parts)
        assert abs(due - rate * (burst.due_s + 0.001)) <= 1
    assert due == len(records)
    assert bursts[-1].due_s == pytest.approx(0.2, abs=0.0011)


def test_records_go_where_they_belong_in_order() -> None:
    """Each record stands in its key's partition, in the order of the log, requests by their ids."""
    records = list(Traffic(3).mixed(2_000, LINES, 0.5))
    bursts = make_bursts(records, 10_000, 2)
    for partition in range(2):
        mine = [record for burst in bursts for record in burst.parts[partition]]
        assert mine == [r for r in records if r[0] and partition_of_key(r[0], 2) == partition]
    ids = [request_id(v, b'"id":"') for _, v in records if b'"tenor_days"' in v]
    assert [name for burst in bursts for name in burst.requests] == ids


def test_percentiles_are_those_of_the_samples() -> None:
    """Of 1,000 samples of 1 to 1,000 ms, p99.9 is the last but one, to three digits; what is longer
    than the histogram reaches counts as that long.
    """
    samples = np.random.default_rng(1).permutation(np.arange(1, 1_001) / 1_000)
    found = percentiles(make_histogram(samples))
    expected = {"p50_ms": 500, "p90_ms": 900, "p99_ms": 990, "p99_9_ms": 999, "max_ms": 1_000}
    assert found == pytest.approx(expected, rel=1e-3)
    assert percentiles(make_histogram(np.array([500.0])))["max_ms"] == pytest.approx(120_000, 1e-3)


def test_a_curve_ends_where_samples_end() -> None:
    """A percentile is drawn only where at least one sample lies beyond it."""
    few, many = curve(make_histogram(np.ones(10))), curve(make_histogram(np.ones(10_000)))
    assert few[-1][0] <= 90.0 < many[-1][0] <= 99.99
    assert [at for at, _ in many] == sorted(at for at, _ in many)


@pytest.mark.parametrize(
    ("behind", "drained_s", "late_ms", "said"),
    [
        (12, 0.01, 2.0, ""),
        (12, 0.01, 40.0, ""),
        (9_000, 3.0, 2.0, "not sustained: 9,000 decisions behind at the end, for 3.0 s"),
        (12, 0.01, 80.0, "the load itself was late, by 80 ms (p99): the machine was too busy"),
    ],
)
def test_a_figure_is_told_from_a_backlog(
    behind: int, drained_s: float, late_ms: float, said: str
) -> None:
    """A rate counts as sustained where decisions end with the load, and the load was on time."""
    assert fault_of(behind, drained_s, late_ms, 150.0) == said
