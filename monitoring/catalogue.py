"""Every metric of a worker: name, help, labels, in one list; docs and dashboards are made from it.

What the step counts is taken over from `streams/counters.py`, so a new counter there is a new
metric here without a line of code.
"""

from collections.abc import Sequence
from typing import NamedTuple

from streams import counters


class Metric(NamedTuple):
    """One metric: its name (unit last), what it tells, its labels, "counter" or "gauge"."""

    name: str
    help: str
    labels: tuple[str, ...]
    kind: str


# What the door knows of each partition beside the step's counters.
OFFSET = Metric("dipper_partition_offset", "Next offset to be decided", ("partition",), "gauge")
COMMITTED = Metric(
    "dipper_partition_committed_offset",
    "Offset that the group has committed",
    ("partition",),
    "gauge",
)
READY = Metric(
    "dipper_partition_ready",
    "1 once the log is folded and requests are decided",
    ("partition",),
    "gauge",
)
DOOR_METRICS = (OFFSET, COMMITTED, READY)


def step_metric(family: counters.Counter) -> Metric:
    """Return the metric of one family of the step's counters."""
    labels = ("partition", family.label) if family.label else ("partition",)
    return Metric(f"dipper_{family.name}_total", family.help, labels, "counter")


def catalogue(institutions: Sequence[str]) -> tuple[Metric, ...]:
    """Return every metric of a worker for a deployment with these institutions."""
    families = counters.layout(institutions)
    return (*(step_metric(family) for family in families), *DOOR_METRICS)
