"""Caps by day and segment in a scrape: shares and use over partitions, a day only as its own."""

import pytest
from prometheus_client import CollectorRegistry

from monitoring.collector import PartitionStatus, WorkerCollector
from monitoring.meter import WorkerMeter
from streams import counters
from streams.deployment import Deployment
from streams.funding.segments import write_segments
from streams.limits import DAY_MS, SEGMENT_DAYS
from streams.state.tables import State, make_state

_DAY = 20_000
_SHIFT_MS = 480 * 60_000  # of the institution's calendar


def _state(deployment: Deployment, number: int) -> State:
    size = counters.size(deployment.dimensions)
    segments = len(deployment.segments)
    ids = deployment.institution_ids
    state = make_state(deployment.limits, len(ids), number, 2, size, segments)
    write_segments(state, deployment.segments, ids)
    return state


def _registry(deployment: Deployment, states: list[State]) -> CollectorRegistry:
    held = [PartitionStatus(n, 0, 0, 0, ready=True, state=each) for n, each in enumerate(states)]
    names = [(segment.institution, segment.name) for segment in deployment.segments]
    registry = CollectorRegistry()
    info = {"version": "0", "manifest": ""}
    registry.register(
        WorkerCollector(deployment.dimensions, WorkerMeter(), lambda: held, lambda: info, names)
    )
    return registry


@pytest.mark.parametrize(
    ("at_ms", "daily_cents"),
    [
        (_DAY * DAY_MS - _SHIFT_MS, 1_200),
        (_DAY * DAY_MS - _SHIFT_MS - 1, 0),  # a millisecond before that day begins
        ((_DAY + 1) * DAY_MS - _SHIFT_MS - 1, 1_200),
        ((_DAY + 1) * DAY_MS - _SHIFT_MS, 0),
        ((_DAY + SEGMENT_DAYS) * DAY_MS - _SHIFT_MS, 0),  # the same place, another day
    ],
)
def test_a_scrape_shows_caps_by_day_and_segment(
    segmented: Deployment, at_ms: int, daily_cents: int
) -> None:
    """Parts of all partitions make the cap, less than a cent a partition lost; use of a
    standing cap is the sum, of a cap by day that of the day which partition time is in, in the
    institution's calendar.
    """
    states = [_state(segmented, number) for number in range(2)]
    for number, state in enumerate(states):
        state.partition["time"] = at_ms
        for row in range(len(segmented.segments)):
            place = _DAY % SEGMENT_DAYS if state.segments[row]["daily"] else 0
            state.segments[row]["day"][place] = _DAY
            state.segments[row]["used_cents"][place] = 500 + 200 * number
    registry = _registry(segmented, states)
    for cap in segmented.segments:
        labels = {"institution": cap.institution, "segment": cap.name}
        shown = registry.get_sample_value("dipper_segment_cap_cents", labels)
        assert shown is not None
        assert 0 <= cap.amount_cents - shown < 2
        used = registry.get_sample_value("dipper_segment_used_cents", labels)
        if not cap.daily:
            assert used == 1_200
        elif cap.institution == "dawn":
            assert used == daily_cents
        assert cap.daily == cap.name.endswith("_day")  # what the alert tells them apart by
    assert {cap.daily for cap in segmented.segments} == {True, False}
