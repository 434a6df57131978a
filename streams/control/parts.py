"""What is promised and lent of each cap by day and segment, folded from `dipper.funding` alone.

A reservation names its segments; what later happens to its decision is found by the decision's id.
Nothing is taken from the step: days and sums are counted here. Principal that a bounced payment
takes back is no new promise: what goes beyond the cap by it does not count.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from streams.funding.segments import SegmentCap
from streams.limits import DAY_MS

Part = tuple[str, str, int | None]
"""Institution, name of the cap, and its day where it is one by day."""


class _Promise(NamedTuple):
    segments: int
    at: int


class PartBook:
    """Uses of caps by day and segment, of all partitions together. `most` is the largest so far."""

    def __init__(self, caps: Sequence[SegmentCap]) -> None:
        self._caps: dict[str, list[SegmentCap]] = {}
        for cap in caps:
            self._caps.setdefault(cap.institution, []).append(cap)
        self._promised: dict[str, _Promise] = {}
        self._bounced: dict[Part, int] = {}
        self.used: dict[Part, int] = {}
        self.most: dict[Part, int] = {}

    def take(self, move: Mapping[str, Any]) -> None:
        """Count one record of `dipper.funding`, each once."""
        kind, amount = move["type"], move["amount_cents"]
        if kind == "reserve" and "segments" in move:
            self._promised[move["decision"]] = _Promise(move["segments"], move["at"])
        promise = self._promised.get(move.get("decision", ""))
        if promise is None or kind == "draw":
            return
        for place, cap in enumerate(self._caps.get(move["institution"], ())):
            if not promise.segments >> place & 1 or (cap.daily and kind in {"repay", "reverse"}):
                continue
            day = (promise.at + cap.day_starts_ms) // DAY_MS if cap.daily else None
            self._count((cap.institution, cap.name, day), kind, amount)

    def _count(self, part: Part, kind: str, amount: int) -> None:
        bounced = self._bounced.get(part, 0)
        if kind == "reverse":
            self._bounced[part] = bounced + amount
        elif kind != "reserve":
            self._bounced[part] = bounced - min(bounced, amount)
        sign = 1 if kind in {"reserve", "reverse"} else -1
        self.used[part] = self.used.get(part, 0) + sign * amount
        promised = self.used[part] - self._bounced.get(part, 0)
        self.most[part] = max(self.most.get(part, 0), promised)

    def exceeded(self) -> list[Part]:
        """Return the caps of which more was promised and lent at a time than there is."""
        limits = {
            (cap.institution, cap.name): cap.amount_cents
            for caps in self._caps.values()
            for cap in caps
        }
        return [
            part for part, most in sorted(self.most.items(), key=str) if most > limits[part[:2]]
        ]
