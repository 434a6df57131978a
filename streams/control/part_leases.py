"""The treasury's part in caps by day and segment: what of each lies where, and what moves it.

In parts per million of a cap, so that no amount that a version changes matters to the sum. A day
and a deployment begin with equal parts, without an order; from then on what is granted is only what
came back: all parts together are never more than a million, whatever is lost or repeated.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streams.control.level import level
from streams.control.records import Order, Share
from streams.funding.segments import SegmentCap, equal_ppm
from streams.limits import PPM, SEGMENT_DAYS

_Place = tuple[str, int, int]
"""Institution, place among its caps by day and segment, day: 0 where it is none by day."""

_USES = {"reserve": 1, "release": -1, "expire": -1, "repay": -1, "reverse": 1}


@dataclass(slots=True)
class _Parts:
    """One cap on one day, by partition: cents in use, parts granted and given back, recalls."""

    used: list[int]
    granted: list[int]
    returned: list[int]
    recalls: list[int]
    answers: list[int]


class PartLeases:
    """Parts of caps by day and segment over the partitions. `kept`: what `kept` gave before."""

    def __init__(
        self, caps: Sequence[SegmentCap], partitions: int, kept: Iterable[Sequence[Any]] = ()
    ) -> None:
        self._caps: dict[str, list[SegmentCap]] = {}
        for cap in caps:
            self._caps.setdefault(cap.institution, []).append(cap)
        self._equal = [equal_ppm(n, partitions) for n in range(partitions)]
        self._parts: dict[_Place, _Parts] = {}
        self._newest: dict[str, int] = {}  # day of an institution
        self._stirred: set[_Place] = set()  # since the last plan
        for institution, segment, day, granted, recalls in kept:
            parts = self._of((institution, segment, day))
            parts.granted, parts.recalls = list(granted), list(recalls)

    def kept(self) -> list[list[Any]]:
        """Return what must survive, as plain values."""
        return [
            [*place, parts.granted, parts.recalls]
            for place, parts in self._parts.items()
            if any(parts.granted) or any(parts.recalls)
        ]

    def held_ppm(self, institution: str, segment: int, day: int) -> int:
        """Return what all partitions hold of a cap, what is on its way to them included."""
        parts = self._of((institution, segment, day))
        return PPM + sum(parts.granted) - sum(parts.returned)

    def take(self, move: Mapping[str, Any]) -> None:
        """Count one record of `dipper.funding` that has not been counted."""
        bits, day = move.get("segments", 0), move.get("day", -1)
        kind, partition = move["type"], move["partition"]
        sign = _USES.get(kind, 0)
        for segment, cap in enumerate(self._caps.get(move["institution"], ())):
            if not bits >> segment & 1 or (cap.daily and day < 0):
                continue
            place = cap.institution, segment, day if cap.daily else 0
            parts = self._of(place)
            if "part_ppm" not in move:
                parts.used[partition] += sign * move["amount_cents"]
            elif kind == "lease-return":
                parts.returned[partition] += move["part_ppm"]
                parts.answers[partition] += 1
            self._stirred.add(place)
            if cap.daily and day > self._newest.get(cap.institution, 0):
                self._newest[cap.institution] = day
                self._forget(cap.institution, day - SEGMENT_DAYS)

    def plan(self) -> list[Order]:
        """Return what is to be ordered now; it counts as ordered."""
        orders = []
        for place in sorted(self._stirred):
            if place in self._parts:
                orders += self._plan(place)
        self._stirred.clear()
        return orders

    def _plan(self, place: _Place) -> list[Order]:
        parts, cap = self._parts[place], self._caps[place[0]][place[1]]
        if not cap.amount_cents:
            return []
        free = [
            equal + granted - returned + -used * PPM // cap.amount_cents
            for equal, granted, returned, used in zip(
                self._equal, parts.granted, parts.returned, parts.used, strict=True
            )
        ]
        headroom = sum(parts.returned) - sum(parts.granted)
        waiting = [sent > got for sent, got in zip(parts.recalls, parts.answers, strict=True)]
        orders = []
        for n, verb, amount in level(PPM, free, headroom, waiting):
            if verb == "grant":
                parts.granted[n] += amount
            else:
                parts.recalls[n] += 1
            share = Share(cap.institution, cap.cap, 0, place[1], place[2], amount)
            orders.append(Order(n, verb, share))
        return orders

    def _of(self, place: _Place) -> _Parts:
        if place not in self._parts:
            self._parts[place] = _Parts(*([0] * len(self._equal) for _ in range(5)))
        return self._parts[place]

    def _forget(self, institution: str, last: int) -> None:
        for place in [place for place in self._parts if place[0] == institution]:
            if 0 < place[2] <= last:
                del self._parts[place]
