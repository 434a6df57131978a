"""Turn what a follower knows into metrics: how far it is, what stands, what went wrong."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from prometheus_client.core import Metric as Samples
from prometheus_client.registry import Collector

from monitoring import metrics
from monitoring.collector import counts, gauges


class Kept(NamedTuple):
    """One partition as its follower sees it.

    `position`: all before it is folded; `published`, `published_at`: offset and partition time
    (epoch milliseconds) of the newest snapshot, 0 where none; then snapshots that could not be
    written, and those that were passed over since they are corrupt or could not be read.
    """

    partition: int
    position: int
    published: int
    published_at: int
    failures: int
    skipped: int


class KeeperCollector(Collector):
    """Collects one follower process; `read` gives what stands in each partition."""

    def __init__(self, read: Callable[[], Sequence[Kept]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Samples]:
        """Yield every metric of a follower that the catalogue names."""
        kept = [((str(each.partition),), each) for each in self._read()]
        yield gauges(metrics.FOLLOWED, [(labels, each.position) for labels, each in kept])
        yield gauges(metrics.SNAPSHOT_OFFSET, [(labels, each.published) for labels, each in kept])
        yield gauges(
            metrics.SNAPSHOT_TIME, [(labels, each.published_at / 1_000) for labels, each in kept]
        )
        yield counts(metrics.SNAPSHOT_FAILURES, [(labels, each.failures) for labels, each in kept])
        yield counts(metrics.SNAPSHOTS_SKIPPED, [(labels, each.skipped) for labels, each in kept])

    def describe(self) -> Iterator[Samples]:
        """Yield nothing: names come from the catalogue."""
        return iter(())
