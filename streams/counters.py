"""What the step counts, as slots of one int64 array. A scrape reads them; the step only adds.

The order is that of `streams/topology.py`; `monitoring/` turns this list into metrics, docs and
dashboards.
"""

from collections.abc import Sequence
from typing import NamedTuple

from streams.schema import EventType, Outcome, Refusal


class Counter(NamedTuple):
    """A family of counters: values `array[start : start + len(values)]`, one per value of its
    label.
    """

    name: str
    help: str
    start: int
    label: str
    values: tuple[str, ...]


def _names(codes: type[EventType] | type[Refusal] | type[Outcome]) -> tuple[str, ...]:
    return tuple(code.name.lower() for code in codes)


EVENTS = 0
SLOW = EVENTS + len(EventType)
REFUSED = SLOW + 1
WAVES = REFUSED + len(Refusal)
DECIDED = WAVES + 1
EXPIRED = DECIDED + len(Outcome)
HALTED_ROOM = EXPIRED + 1
APPROVED = HALTED_ROOM + 1  # then, by institution: count and amount


def layout(institutions: Sequence[str]) -> tuple[Counter, ...]:
    """Return every family for a deployment with these institutions, in slot order."""
    n = len(institutions)
    names = tuple(institutions)
    return (
        Counter("events", "Records read, by event type", EVENTS, "type", _names(EventType)),
        Counter("slow_lane", "Records decoded by the slow lane", SLOW, "", ("",)),
        Counter("refused", "Records refused, by reason", REFUSED, "reason", _names(Refusal)),
        Counter("waves", "Waves that the step ran", WAVES, "", ("",)),
        Counter("decided", "Decisions, by outcome", DECIDED, "outcome", _names(Outcome)),
        Counter("expired", "Offers that expired", EXPIRED, "", ("",)),
        Counter("no_room", "Approvals lost for lack of room", HALTED_ROOM, "", ("",)),
        Counter("approved", "Approvals, by institution", APPROVED, "institution", names),
        Counter(
            "approved_cents", "Approved amount, by institution", APPROVED + n, "institution", names
        ),
    )


def size(institutions: int) -> int:
    """Return the length of the array for so many institutions."""
    return APPROVED + 2 * max(institutions, 1)
