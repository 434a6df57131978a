"""Turn arrays into metrics when somebody asks, so that counting costs the path one addition."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monitoring import catalogue
from streams import counters


class PartitionStatus(NamedTuple):
    """What one partition shows at this moment; `counts` is int64[counters.size(institutions)]."""

    partition: int
    offset: int
    committed: int
    ready: bool
    counts: NDArray[np.int64]


class StepCollector(Collector):
    """Collects the partitions of one worker.

    Takes the deployment's institutions in code order and a function that gives the status of every
    partition held at this moment. A scrape runs in a thread of its own: it reads each int64 while
    the step may add to it, so figures of one scrape may be a few events apart, never torn.
    """

    def __init__(
        self, institutions: Sequence[str], read: Callable[[], Iterable[PartitionStatus]]
    ) -> None:
        self._families = counters.layout(institutions)
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of the catalogue, with one sample a partition and label value."""
        held = list(self._read())
        for family in self._families:
            yield _counter(family, held)
        yield _gauge(catalogue.OFFSET, {each.partition: each.offset for each in held})
        yield _gauge(catalogue.COMMITTED, {each.partition: each.committed for each in held})
        yield _gauge(catalogue.READY, {each.partition: int(each.ready) for each in held})

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: names come from the catalogue, so that registering reads no partition."""
        return iter(())


def _counter(family: counters.Counter, held: Sequence[PartitionStatus]) -> Metric:
    metric = catalogue.step_metric(family)
    samples = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for status in held:
        for slot, value in enumerate(family.values, family.start):
            labels = [str(status.partition), value][: len(metric.labels)]
            samples.add_metric(labels, int(status.counts[slot]))
    return samples


def _gauge(metric: catalogue.Metric, values: dict[int, int]) -> Metric:
    samples = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for partition, value in values.items():
        samples.add_metric([str(partition)], value)
    return samples
