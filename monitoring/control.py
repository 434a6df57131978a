"""Turn what control knows into metrics: ticks written, caps as they hold now."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import Metric as Samples
from prometheus_client.registry import Collector

from monitoring import metrics
from monitoring.collector import counts, gauges
from streams.schema import Cap


class ControlCollector(Collector):
    """Collects the one control process: `ticks` gives their number, `caps` cents by institution and
    budget, as the treasury has them: a budget may change while all runs.
    """

    def __init__(
        self, ticks: Callable[[], int], caps: Callable[[], Mapping[tuple[str, Cap], int]]
    ) -> None:
        self._ticks = ticks
        self._caps = caps

    def collect(self) -> Iterator[Samples]:
        """Yield every metric of control that the catalogue names."""
        yield counts(metrics.TICKS, [((), self._ticks())])
        yield gauges(
            metrics.CAP,
            [
                ((institution, cap.name.lower()), cents)
                for (institution, cap), cents in self._caps().items()
            ],
        )

    def describe(self) -> Iterator[Samples]:
        """Yield nothing: names come from the catalogue."""
        return iter(())
