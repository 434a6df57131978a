"""What the step counts, as slots of one int64 array. A scrape reads them; the step only adds.

The order is that of `streams/topology.py`; `monitoring/` turns this list into metrics, docs and
dashboards.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.limits import BPS, PPM
from streams.schema import EventType, Outcome, Refusal

# Upper edges of the histograms' buckets; one more bucket stands above the last.
PD_EDGES_PPM = (
    2_500, 5_000, 10_000, 20_000, 30_000, 50_000, 75_000, 100_000, 150_000, 200_000, 300_000,
    500_000,
)  # fmt: skip
APR_EDGES_BPS = (600, 900, 1_200, 1_500, 1_800, 2_100, 2_400, 2_700, 3_000, 3_600)
UNKNOWN = "unknown"  # product and channel of a drawdown on a line that there is not


class Dimensions(NamedTuple):
    """What a deployment names, each in code order: the values that labels may have."""

    institutions: tuple[str, ...]
    products: tuple[str, ...]
    channels: tuple[str, ...]
    reasons: tuple[str, ...]


class Family(NamedTuple):
    """One family of counters: `array[start : start + slots]`, for each value of its labels one slot
    or, of a histogram, one for each bucket and one for the sum.

    `edges` are upper edges in the array's unit, which is `scale` to the metric's unit.
    """

    name: str
    help: str
    stage: str
    labels: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    edges: tuple[int, ...] = ()
    scale: int = 1
    start: int = 0

    @property
    def slots_each(self) -> int:
        """Return how many slots one combination of label values has."""
        return len(self.edges) + 2 if self.edges else 1

    @property
    def slots(self) -> int:
        """Return how many slots the family has."""
        return len(self.values) * self.slots_each


def _names(codes: type[EventType] | type[Refusal] | type[Outcome]) -> tuple[tuple[str, ...], ...]:
    return tuple((code.name.lower(),) for code in codes)


_ONE: tuple[tuple[str, ...], ...] = ((),)
_OUTCOMES = tuple(outcome.name.lower() for outcome in Outcome)
_ASKED = ("application", "drawdown")
_VERDICTS = ("declined", "approved")

# Slots whose place no deployment changes; those of `layout` after them stand where `places` says.
EVENTS = 0
SLOW = EVENTS + len(EventType)
REFUSED = SLOW + 1
WAVES = REFUSED + len(Refusal)
DECIDED = WAVES + 1
EXPIRED = DECIDED + len(Outcome)
HALTED_ROOM = EXPIRED + 1
FIXED = HALTED_ROOM + 1

# Columns of `places`.
(
    AT_SPLIT, AT_REASONS, AT_JUDGED, AT_APPROVED, AT_CENTS, AT_APR_SUM, AT_PD_SUM, AT_PD, AT_APR,
    N_PRODUCTS, N_CHANNELS, N_REASONS,
) = range(12)  # fmt: skip
_PLACED = (
    "decided_by_product", "reasons", "judged", "approved", "approved_cents",
    "approved_apr_bps", "approved_pd_ppm", "pd_ratio", "apr_ratio",
)  # fmt: skip


def _families(names: Dimensions) -> tuple[Family, ...]:
    institutions = tuple((name,) for name in names.institutions)
    by_institution = ("institution",)
    split = tuple(
        product(_ASKED, (UNKNOWN, *names.products), (UNKNOWN, *names.channels), _OUTCOMES)
    )
    return (
        Family("events", "Records read, by event type", "decode", ("type",), _names(EventType)),
        Family("slow_lane", "Records decoded by the slow lane", "decode", (), _ONE),
        Family("refused", "Records refused, by reason", "admit", ("reason",), _names(Refusal)),
        Family("waves", "Waves that the step ran", "score", (), _ONE),
        Family("decided", "Decisions, by outcome", "decide", ("outcome",), _names(Outcome)),
        Family("expired", "Offers that expired", "reserve", (), _ONE),
        Family("no_room", "Approvals lost for lack of room", "record", (), _ONE),
        Family("decided_by_product", "Decisions, by what was asked, product, channel and outcome",
               "decide", ("type", "product", "channel", "outcome"), split),
        Family("reasons", "Reason codes on declined requests, as recorded", "decide",
               ("reason",), tuple((code,) for code in names.reasons)),
        Family("judged", "Verdicts of an institution's policies, by outcome", "decide",
               ("institution", "outcome"), tuple(product(names.institutions, _OUTCOMES))),
        Family("approved", "Approvals, by institution", "record", by_institution, institutions),
        Family("approved_cents", "Approved amount in cents, by institution", "record",
               by_institution, institutions),
        Family("approved_apr_bps", "Sum of the all-in yearly cost of approvals, basis points",
               "record", by_institution, institutions),
        Family("approved_pd_ppm", "Sum of the probability of default of approvals, millionths",
               "record", by_institution, institutions),
        Family("pd_ratio", "Probability of default that a decision rests on", "score",
               ("verdict",), tuple((verdict,) for verdict in _VERDICTS), PD_EDGES_PPM, PPM),
        Family("apr_ratio", "All-in yearly cost of approvals", "record", (), _ONE,
               APR_EDGES_BPS, BPS),
    )  # fmt: skip


def layout(names: Dimensions) -> tuple[Family, ...]:
    """Return every family for a deployment of these names, in slot order."""
    found: list[Family] = []
    start = 0
    for family in _families(names):
        found.append(family._replace(start=start))
        start += family.slots
    assert next(f.start for f in found if f.name == _PLACED[0]) == FIXED
    return tuple(found)


def size(names: Dimensions) -> int:
    """Return the length of the array."""
    last = layout(names)[-1]
    return last.start + last.slots


def places(names: Dimensions) -> NDArray[np.int64]:
    """Return int64[12] for kernels: starts of the families behind FIXED, and their widths."""
    starts = {family.name: family.start for family in layout(names)}
    widths = [len(names.products) + 1, len(names.channels) + 1, len(names.reasons)]
    return np.array([*(starts[name] for name in _PLACED), *widths], np.int64)
