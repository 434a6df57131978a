"""Turn arrays into metrics when somebody asks, so that counting costs the path one addition."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Samples
from prometheus_client.registry import Collector

from monitoring import metrics
from monitoring.meter import Histogram, WorkerMeter
from monitoring.metrics import Metric
from streams import counters
from streams.limits import DAY_MS, PPM, SEGMENT_DAYS
from streams.schema import CAPS, LEASE, Cap
from streams.state.tables import State

# Table → its rows taken, in PARTITION.
_TABLES = {
    "applicants": "applicants_used", "pages": "pages_used", "ids": "ids_used",
    "lines": "lines_used", "loans": "loans_used", "dues": "dues_used", "offers": "offers_used",
    "timers": "timers",
}  # fmt: skip
# Combinations of more names than this are too many to show those that never happened.
_LABELS_ALWAYS = 2
_POTS = tuple(name.removesuffix("_cents") for name in LEASE.names or ())


class PartitionStatus(NamedTuple):
    """What one partition shows at this moment; `end` -1: not known yet."""

    partition: int
    offset: int
    committed: int
    end: int
    ready: bool
    state: State | None


class WorkerCollector(Collector):
    """Collects one worker.

    Takes the deployment's names, the worker's meter, a function that gives the status of every
    partition held at this moment, one that tells what runs here (`version`, `manifest`), and
    institution and name of each cap by day and segment in order of its row, which no version
    changes. A scrape runs in a thread of its own: it reads each int64 while the step may write it,
    so figures of one scrape may be a few events apart, never torn.
    """

    def __init__(
        self,
        names: counters.Dimensions,
        meter: WorkerMeter,
        read: Callable[[], Iterable[PartitionStatus]],
        info: Callable[[], Mapping[str, str]],
        segments: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._families = counters.layout(names)
        self._size = counters.size(names)
        self._institutions = names.institutions
        self._meter = meter
        self._read = read
        self._info = info
        self._segments = segments

    def collect(self) -> Iterator[Samples]:
        """Yield every metric of the worker that the catalogue names."""
        totals = self._meter.totals
        if totals.size == 0:  # no partition yet: all zero, so that a rate begins at once
            totals = np.zeros(self._size, np.int64)
        values = totals.tolist()
        for family in self._families:
            yield _family(family, values)
        yield from _meter(self._meter)
        held = list(self._read())
        yield from _partitions(held, self._meter)
        yield from _tables(held)
        yield _leases(held, self._institutions)
        yield from _segments(held, self._segments, self._institutions)
        info = self._info()
        yield gauges(metrics.INFO, [((info["version"], info["manifest"]), 1)])

    def describe(self) -> Iterator[Samples]:
        """Yield nothing: names come from the catalogue, so that registering reads no partition."""
        return iter(())


def gauges(metric: Metric, values: Iterable[tuple[Sequence[str], float]]) -> Samples:
    """Return a gauge's samples: label values and value each."""
    samples = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in values:
        samples.add_metric(labels, value)
    return samples


def counts(metric: Metric, values: Iterable[tuple[Sequence[str], float]]) -> Samples:
    """Return a counter's samples: label values and value each."""
    samples = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in values:
        samples.add_metric(labels, value)
    return samples


def histograms(metric: Metric, values: Iterable[tuple[Sequence[str], Histogram]]) -> Samples:
    """Return the samples of histograms: label values and histogram each."""
    samples = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, histogram in values:
        edges = [*map(repr, histogram.edges), "+Inf"]
        buckets = list(zip(edges, accumulate(histogram.counts), strict=True))
        samples.add_metric(labels, buckets, histogram.sum)
    return samples


def _family(family: counters.Family, values: list[int]) -> Samples:
    metric = metrics.step_metric(family)
    slots = values[family.start : family.start + family.slots]
    if not family.edges:
        rows = list(zip(family.values, slots, strict=True))
        if len(family.labels) > _LABELS_ALWAYS:
            rows = [(labels, value) for labels, value in rows if value]
        return counts(metric, rows)
    found = []
    each = family.slots_each
    for place, labels in enumerate(family.values):
        mine = slots[place * each : (place + 1) * each]
        histogram = Histogram([edge / family.scale for edge in family.edges])
        histogram.counts, histogram.sum = mine[:-1], mine[-1] / family.scale
        found.append((labels, histogram))
    return histograms(metric, found)


def _meter(meter: WorkerMeter) -> Iterator[Samples]:
    stages = [((stage,), histogram) for stage, histogram in meter.stages.items()]
    yield histograms(metrics.STAGE_SECONDS, stages)
    yield histograms(metrics.RECORD_SECONDS, [((), meter.records)])
    yield histograms(metrics.BATCH_RECORDS, [((), meter.batches)])
    yield histograms(metrics.RECOVERY_SECONDS, [((), meter.recoveries)])
    yield counts(metrics.COMMITS, [((), meter.commits)])
    yield counts(metrics.ABORTS, [((), meter.aborts)])
    yield counts(metrics.FENCES, [((), meter.fences)])
    yield counts(metrics.REBALANCES, [((), meter.rebalances)])


def _partitions(held: Sequence[PartitionStatus], meter: WorkerMeter) -> Iterator[Samples]:
    def each(
        metric: Metric, value: Callable[[PartitionStatus], float], among: Sequence[PartitionStatus]
    ) -> Samples:
        return gauges(metric, [((str(one.partition),), value(one)) for one in among])

    known = [one for one in held if one.end >= 0]
    yield each(metrics.OFFSET, lambda one: one.offset, held)
    yield each(metrics.COMMITTED, lambda one: one.committed, held)
    yield each(metrics.END, lambda one: one.end, known)
    yield each(metrics.LAG, lambda one: max(one.end - one.committed, 0), known)
    yield each(metrics.READY, lambda one: int(one.ready), held)
    ticked = [one for one in held if one.state is not None]
    yield each(metrics.TIME, _time_s, ticked)
    none = {one.partition: 0 for one in held}
    still = none | dict.fromkeys(meter.halted, 1)
    yield gauges(metrics.HALTED, [((str(number),), value) for number, value in still.items()])
    skips = none | meter.skipped
    yield counts(metrics.RECOVERY_SKIPS, [((str(number),), n) for number, n in skips.items()])


def _time_s(status: PartitionStatus) -> float:
    assert status.state is not None
    return float(status.state.partition[0]["time"]) / 1_000


def _tables(held: Sequence[PartitionStatus]) -> Iterator[Samples]:
    rows: list[tuple[Sequence[str], float]] = []
    capacity: list[tuple[Sequence[str], float]] = []
    for status in held:
        if status.state is None:
            continue
        head = status.state.partition[0]
        for table, used in _TABLES.items():
            labels = (str(status.partition), table)
            rows.append((labels, int(head[used])))
            capacity.append((labels, len(getattr(status.state, table))))
    yield gauges(metrics.TABLE_ROWS, rows)
    yield gauges(metrics.TABLE_CAPACITY, capacity)


def _leases(held: Sequence[PartitionStatus], institutions: Sequence[str]) -> Samples:
    pots: NDArray[np.int64] = np.zeros((len(institutions) * CAPS, len(_POTS)), np.int64)
    states = [status.state for status in held if status.state is not None]
    for state in states:
        for column, pot in enumerate(_POTS):
            pots[:, column] += state.leases[f"{pot}_cents"][: len(pots)]
    names = [(id, cap.name.lower()) for id in institutions for cap in Cap]
    rows = zip(names, pots.tolist(), strict=True) if states else ()
    return gauges(
        metrics.LEASE,
        (
            ((*name, pot), value)
            for name, values in rows
            for pot, value in zip(_POTS, values, strict=True)
        ),
    )


def _segments(
    held: Sequence[PartitionStatus], names: Sequence[tuple[str, str]], institutions: Sequence[str]
) -> Iterator[Samples]:
    """Yield caps and their use, summed over partitions; nothing where none is held."""
    caps, used = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    states = [status.state for status in held if status.state is not None]
    for state in states:
        starts = dict(zip(institutions, state.institutions["day_starts_ms"].tolist(), strict=False))
        now = int(state.partition[0]["time"])
        for row, name in zip(state.segments, names, strict=False):
            day = (now + starts[name[0]]) // DAY_MS
            place = day % SEGMENT_DAYS if row["daily"] else 0
            part_ppm = int(row["equal_ppm"])
            if not row["daily"] or int(row["day"][place]) == day:
                used[name] += int(row["used_cents"][place])
                part_ppm += int(row["moved_ppm"][place])
            caps[name] += int(row["cap_cents"]) * part_ppm // PPM
    yield gauges(metrics.SEGMENT_CAP, caps.items() if states else ())
    yield gauges(metrics.SEGMENT_USED, used.items() if states else ())
