"""Turn what an archiver knows into metrics: how far the archive is, how far the log."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from prometheus_client.core import Metric as Samples
from prometheus_client.registry import Collector

from monitoring import metrics
from monitoring.collector import counts, gauges


class Reached(NamedTuple):
    """How far one partition of one topic is: all before `offset` is archived, without a gap.

    `log_begin` and `log_end`: what the broker has. `since_s`: epoch seconds since when the oldest
    record that is not archived waits, at the latest; 0 where records are lost to the archive.
    """

    topic: str
    partition: int
    offset: int
    log_begin: int
    log_end: int
    since_s: float


class ArchiverCollector(Collector):
    """Collects one archiver: `read` gives what stands in each partition, `failures` the runs that
    failed, `now_s` epoch seconds.
    """

    def __init__(
        self,
        read: Callable[[], Sequence[Reached]],
        failures: Callable[[], int],
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._read = read
        self._failures = failures
        self._now_s = now_s

    def collect(self) -> Iterator[Samples]:
        """Yield every metric of an archiver that the catalogue names.

        What is lost has no age: a lag would fall back to nothing where it is worst.
        """
        now_s = self._now_s()
        reached = [((each.topic, str(each.partition)), each) for each in self._read()]
        yield gauges(metrics.ARCHIVE_OFFSET, [(labels, each.offset) for labels, each in reached])
        yield gauges(
            metrics.ARCHIVE_LOG_START, [(labels, each.log_begin) for labels, each in reached]
        )
        yield gauges(metrics.ARCHIVE_LOG_END, [(labels, each.log_end) for labels, each in reached])
        yield gauges(
            metrics.ARCHIVE_LAG,
            [
                (labels, max(now_s - each.since_s, 0.0))
                for labels, each in reached
                if each.since_s > 0
            ],
        )
        yield counts(metrics.ARCHIVE_FAILURES, [((), self._failures())])

    def describe(self) -> Iterator[Samples]:
        """Yield nothing: names come from the catalogue."""
        return iter(())
