"""Caps by day and by segment: what else an offer must fit, beside the lease of its institution.

A partition holds a part of each cap, in parts per million of it: the equal one when a day or a
deployment begins, without an order; then the treasury moves parts from where there is plenty to
where little is left, by recall and grant. Each part is hard by itself, and all of them together are
never more than a million, so no cap is exceeded, also where a version says another amount. A
request counts on the day of its own `at`. Promised is what `reserve` takes; what is given up again
comes back, also to its day; repaid principal comes back to a segment, but not to a day.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from features.catalog import Catalog
from models.policy.documents import Place, suggestion
from models.policy.loader import readable
from models.policy.platform import Caps, Institution, Platform, Segment
from models.policy.policies import CatalogColumn, Policies
from streams.buffers import Array
from streams.compile import i64, kernel
from streams.limits import DAY_MS, LATE_MS_MAX, PPM, SEGMENT_DAYS, SEGMENTS_MAX
from streams.schema import Cap
from streams.state.tables import State

MINUTE_MS = 60_000
LATE_DAYS = LATE_MS_MAX // DAY_MS + 1
_ALL = (1 << 64) - 1
_CODES = 64  # that a mask tells apart
_EVERY, _ONE, _NOTHING = np.uint64(_ALL), np.uint64(1), np.uint64(0)
_AMOUNTS = {
    "outstanding_cents": (Cap.OUTSTANDING, False),
    "commitment_cents": (Cap.COMMITMENT, False),
    "outstanding_day_cents": (Cap.OUTSTANDING, True),
    "commitment_day_cents": (Cap.COMMITMENT, True),
}


class SegmentCap(NamedTuple):
    """One cap of an institution: its name, what it bounds, and how much. Masks: one bit a code."""

    institution: str
    name: str  # `outstanding_day`, `south.outstanding`
    cap: Cap
    daily: bool
    attribute: int  # place, -1: any applicant
    products: int
    bands: int
    values: int
    amount_cents: int
    day_starts_ms: int
    at_random: bool

    @property
    def meaning(self) -> tuple[object, ...]:
        """Return all but how much it is: what stands in the state of a partition."""
        return self._replace(amount_cents=0)


def read_segments(
    platform: Platform,
    institutions: Sequence[Institution],
    catalog: Catalog,
    columns: Mapping[str, CatalogColumn],
) -> tuple[SegmentCap, ...]:
    """Return every cap by day and segment, by institution, in the order of its file.

    PolicyError where one names what there is not, or what its institution may not read.
    """
    return tuple(
        cap
        for institution in institutions
        for cap in _Reader(platform, institution, catalog, columns).read()
    )


def check_budgets(policies: Policies, caps: Sequence[SegmentCap]) -> None:
    """Raise PolicyError where a policy lends at random and no segment of its caps bounds that."""
    bounded = {cap.institution for cap in caps if cap.at_random}
    for info in policies.infos:
        sections = {"application": info.document.application, "drawdown": info.document.drawdown}
        for name, section in sections.items():
            if section and section.random_share_ppm and info.id.partition("/")[0] not in bounded:
                raise info.text.fault(
                    (name, "random_share_ppm"),
                    "needs a budget: a [[caps.segments]] with at_random = true in institution.toml",
                )


class _Reader:
    def __init__(
        self,
        platform: Platform,
        institution: Institution,
        catalog: Catalog,
        columns: Mapping[str, CatalogColumn],
    ) -> None:
        self._products = [product.id for product in platform.products]
        self._institution = institution
        self._catalog = catalog
        self._columns = columns

    def read(self) -> list[SegmentCap]:
        caps, text = self._institution.caps, self._institution.text
        found = [cap for cap in self._amounts(caps, "", -1, (_ALL, _ALL, _ALL)) if cap.daily]
        ids = [segment.id for segment in caps.segments]
        for number, segment in enumerate(caps.segments):
            place = ("caps", "segments", number)
            if segment.id in ids[:number]:
                raise text.fault((*place, "id"), f"{segment.id} stands twice; rename one")
            attribute, values = self._attribute(segment, place)
            masks = (self._mask(segment, place), _bits(segment.bands), values)
            made = list(self._amounts(segment, f"{segment.id}.", attribute, masks))
            if not made:
                raise text.fault(place, "bounds nothing; give it an amount, as outstanding_cents")
            found += made
        if len(found) > SEGMENTS_MAX:
            what = f"{len(found)} caps by day and segment; at most {SEGMENTS_MAX} are possible"
            raise text.fault(("caps",), what)
        return found

    def _amounts(
        self, of: Caps | Segment, prefix: str, attribute: int, masks: tuple[int, int, int]
    ) -> Iterator[SegmentCap]:
        starts_ms = self._institution.caps.day_utc_offset_minutes * MINUTE_MS
        for field, (cap, daily) in _AMOUNTS.items():
            amount = getattr(of, field)
            if amount is not None:
                name = prefix + field.removesuffix("_cents")
                yield SegmentCap(
                    self._institution.id, name, cap, daily, attribute, *masks, amount, starts_ms,
                    at_random=isinstance(of, Segment) and of.at_random,
                )  # fmt: skip

    def _mask(self, segment: Segment, place: Place) -> int:
        for product in segment.products:
            if product not in self._products[:_CODES]:
                what = f"no product {product}; {suggestion(product, self._products)}"
                raise self._institution.text.fault((*place, "products"), what)
        return _bits([self._products.index(product) for product in segment.products])

    def _attribute(self, segment: Segment, place: Place) -> tuple[int, int]:
        text, name = self._institution.text, segment.attribute
        if name is None:
            if segment.values:
                raise text.fault((*place, "values"), "are of no attribute; name it")
            return -1, _ALL
        known = {
            each.name: (at, each.values)
            for at, each in enumerate(self._catalog.attributes)
            if each.type == "category" and len(each.values) <= _CODES
            if readable(self._columns[each.name], self._institution.id)
        }
        if name not in known:
            what = f"{name} is no category that this institution may read; "
            raise text.fault((*place, "attribute"), what + suggestion(name, tuple(known)))
        at, values = known[name]
        for value in segment.values:
            if value not in values:
                what = f"{name} has no value {value}; {suggestion(value, values)}"
                raise text.fault((*place, "values"), what)
        if not segment.values:
            raise text.fault((*place, "attribute"), "has no values; name some")
        return at, _bits([values.index(value) for value in segment.values])


def _bits(codes: Sequence[int]) -> int:
    """Return one bit a code, all where there is none."""
    return sum(1 << code for code in set(codes)) or _ALL


def equal_ppm(partition: int, partitions: int) -> int:
    """Return a partition's equal part of every cap: the remainder goes to the first ones."""
    part, rest = divmod(PPM, partitions)
    return part + (1 if partition < rest else 0)


def write_segments(state: State, caps: Sequence[SegmentCap], institutions: Sequence[str]) -> None:
    """Put the caps of the version that is live into the state; what is used of them stays."""
    number, count = int(state.partition[0]["number"]), int(state.partition[0]["count"])
    names = [cap.institution for cap in caps]
    for code, institution in enumerate(institutions):
        row = state.institutions[code]
        start = names.index(institution) if institution in names else 0
        row["segment_start"], row["segment_stop"] = start, start + names.count(institution)
        row["day_starts_ms"] = caps[start].day_starts_ms if institution in names else 0
    for place, cap in enumerate(caps):
        row = state.segments[place]
        row["cap"], row["daily"], row["attribute"] = cap.cap, cap.daily, cap.attribute
        row["products"], row["bands"], row["values"] = cap.products, cap.bands, cap.values
        row["random"] = cap.at_random
        row["cap_cents"], row["equal_ppm"] = cap.amount_cents, equal_ppm(number, count)


@kernel
def part_cents(cap_cents: int, part_ppm: int) -> int:
    """Return what a part of a cap is, rounded down: int64 holds neither factor times the other."""
    return cap_cents // PPM * part_ppm + cap_cents % PPM * part_ppm // PPM


@kernel
def day_of(institutions: Array, institution: int, at: int) -> int:
    """Return the number of the day in an institution's calendar."""
    return (at + institutions[institution]["day_starts_ms"]) // DAY_MS


@kernel
def _has(mask: np.uint64, code: int) -> bool:
    return bool(mask == _EVERY or (code < _CODES and mask >> np.uint64(code) & _ONE != _NOTHING))


@kernel
def find_segments(state: State, verdict: Array, product: int, applicant: int) -> np.uint64:
    """Return the segments that the offer VERDICT[1] falls in, one bit a row of its institution."""
    institution = i64(verdict[0]["institution"])
    band = i64(verdict[0]["band"])
    found = np.uint64(0)
    segments = state.segments
    start = i64(state.institutions[institution]["segment_start"])
    for row in range(start, state.institutions[institution]["segment_stop"]):
        if segments[row]["cap"] != verdict[0]["cap"]:
            continue
        # An approval bears a reason where chance alone overruled it.
        if segments[row]["random"] == 1 and verdict[0]["reasons"] == _NOTHING:
            continue
        if not _has(segments[row]["products"], product) or not _has(segments[row]["bands"], band):
            continue
        place = i64(segments[row]["attribute"])
        if place >= 0:
            value = state.applicants[applicant]["attributes"][place]
            # What is not known falls in no segment.
            if not value >= 0.0 or not _has(segments[row]["values"], i64(value)):
                continue
        found |= _ONE << np.uint64(row - start)
    return found


@kernel
def segments_can_hold(
    state: State, institution: int, mask: np.uint64, day: int, amount_cents: int
) -> bool:
    """Say whether every segment of `mask` has room for a new promise of that amount."""
    start = i64(state.institutions[institution]["segment_start"])
    for row in range(start, state.institutions[institution]["segment_stop"]):
        if not _has(mask, row - start):
            continue
        used = i64(0)
        part_ppm = i64(state.segments[row]["equal_ppm"])
        place = day % SEGMENT_DAYS
        if state.segments[row]["daily"] == 0:
            place = 0
        if state.segments[row]["daily"] == 0 or state.segments[row]["day"][place] == day:
            used = i64(state.segments[row]["used_cents"][place])
            part_ppm += state.segments[row]["moved_ppm"][place]
        if used + amount_cents > part_cents(state.segments[row]["cap_cents"], part_ppm):
            return False
    return True


@kernel
def _begin_day(segments: Array, row: int, day: int) -> None:
    """Let a cap by day know that day, unless its place is a later one's."""
    place = day % SEGMENT_DAYS
    if segments[row]["day"][place] < day:
        segments[row]["day"][place] = day
        segments[row]["used_cents"][place] = 0
        segments[row]["moved_ppm"][place] = 0


@kernel
def use_segments(
    state: State, institution: int, mask: np.uint64, day: int, amount_cents: int
) -> None:
    """Add to what is used (negative: take off); of caps by day only while that day is known, and
    not at all where it is -1.
    """
    if mask == _NOTHING:
        return
    segments = state.segments
    start = i64(state.institutions[institution]["segment_start"])
    place = day % SEGMENT_DAYS
    for row in range(start, state.institutions[institution]["segment_stop"]):
        if not _has(mask, row - start):
            continue
        if segments[row]["daily"] == 0:
            segments[row]["used_cents"][0] += amount_cents
        elif day >= 0:
            _begin_day(segments, row, day)
            if segments[row]["day"][place] == day:
                segments[row]["used_cents"][place] += amount_cents


@kernel
def _needed_ppm(cap_cents: int, used_cents: int) -> int:
    """Return the smallest part of a cap that holds what is used, a million where none does."""
    low, high = i64(0), i64(PPM)
    while low < high:
        middle = (low + high) // 2
        if part_cents(cap_cents, middle) >= used_cents:
            high = middle
        else:
            low = middle + 1
    return low


@kernel
def move_part(
    institutions: Array, segments: Array, institution: int, segment: int, day: int, wanted_ppm: int,
    time: int,
) -> int:  # fmt: skip
    """Add to the part of a cap that lies here, or (negative) give back as much as is not used.
    Return what was moved, by the same sign.

    `segment`: its place among those of its institution; `day`: 0 where it is no cap by day. A day
    that no request at this `time` may name moves nothing: its place could be another one's.
    """
    row = i64(institutions[institution]["segment_start"]) + segment
    if row >= institutions[institution]["segment_stop"]:
        return 0
    place = i64(0)
    if segments[row]["daily"] == 1:
        today = day_of(institutions, institution, time)
        if day > today + 1 or day < today - LATE_DAYS:
            return 0
        _begin_day(segments, row, day)
        place = day % SEGMENT_DAYS
    held = i64(segments[row]["equal_ppm"]) + segments[row]["moved_ppm"][place]
    if wanted_ppm > 0:
        moved = min(wanted_ppm, PPM - held)
    else:
        spare = held - _needed_ppm(segments[row]["cap_cents"], segments[row]["used_cents"][place])
        moved = -min(-wanted_ppm, max(spare, 0))
    segments[row]["moved_ppm"][place] += moved
    return i64(moved)
