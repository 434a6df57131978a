"""The book of all leases, folded from `dipper.funding` alone: what a partition holds of each cap.

Independent of the step: pots are counted here from the moves, and the pots that a record tells must
agree. A record that comes twice (at least once) counts once, by its partition and `seq`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from streams.control.records import Caps
from streams.schema import Cap

Place = tuple[str, Cap]


@dataclass(slots=True)
class Pots:
    """Money of one cap in one partition, cents; `lease` is granted less returned."""

    lease: int = 0
    free: int = 0
    reserved: int = 0
    drawn: int = 0
    overdrawn: int = 0

    @property
    def used(self) -> int:
        """Return what is promised or lent."""
        return self.reserved + self.drawn

    def come_free(self, amount: int) -> None:
        """Pay what is overdrawn first."""
        paid = min(amount, self.overdrawn)
        self.overdrawn -= paid
        self.free += amount - paid


def _grant(pots: Pots, amount: int) -> None:
    pots.lease += amount
    pots.come_free(amount)


def _reserve(pots: Pots, amount: int) -> None:
    pots.free -= amount
    pots.reserved += amount


def _draw(pots: Pots, amount: int) -> None:
    pots.reserved -= amount
    pots.drawn += amount


def _release(pots: Pots, amount: int) -> None:
    pots.reserved -= amount
    pots.come_free(amount)


def _repay(pots: Pots, amount: int) -> None:
    pots.drawn -= amount
    pots.come_free(amount)


def _reverse(pots: Pots, amount: int) -> None:
    taken = min(amount, pots.free)
    pots.free -= taken
    pots.drawn += amount
    pots.overdrawn += amount - taken


def _return(pots: Pots, amount: int) -> None:
    pots.lease -= amount
    pots.free -= amount


_MOVES: Mapping[str, Callable[[Pots, int], None]] = {
    "grant": _grant,
    "reserve": _reserve,
    "draw": _draw,
    "release": _release,
    "expire": _release,
    "repay": _repay,
    "reverse": _reverse,
    "lease-return": _return,
}


@dataclass
class Book:
    """Leases by institution, cap and partition. `faults` are sentences: what did not add up."""

    pots: dict[Place, dict[int, Pots]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    _seq: dict[int, int] = field(default_factory=dict)

    def take(self, move: Mapping[str, Any]) -> bool:
        """Count one record of `dipper.funding`; False where it repeats one that counted."""
        partition, seq = move["partition"], move["seq"]
        last = self._seq.get(partition, 0)
        if seq <= last:
            return False
        if seq != last + 1:
            self.faults.append(f"partition {partition}: move {last + 1} is missing before {seq}")
        self._seq[partition] = seq
        place = move["institution"], Cap[move["cap"].upper()]
        pots = self.pots.setdefault(place, {}).setdefault(partition, Pots())
        _MOVES[move["type"]](pots, move["amount_cents"])
        told = tuple(move[f"{name}_cents"] for name in ("free", "reserved", "drawn", "overdrawn"))
        counted = (pots.free, pots.reserved, pots.drawn, pots.overdrawn)
        name = f"partition {partition}, {place[0]}, {move['cap']}, move {seq}"
        if told != counted:
            self.faults.append(f"{name}: the record tells {told}, its moves make {counted}")
        if min(counted) < 0 or pots.used > pots.lease + pots.overdrawn:
            self.faults.append(f"{name}: {counted} cannot stand on a lease of {pots.lease}")
        return True

    def leased(self, institution: str, cap: Cap) -> int:
        """Return what all partitions hold of a cap, cents."""
        return sum(pots.lease for pots in self.pots.get((institution, cap), {}).values())

    def used(self, institution: str, cap: Cap) -> int:
        """Return what is promised or lent of a cap, cents."""
        return sum(pots.used for pots in self.pots.get((institution, cap), {}).values())

    def free(self, institution: str, cap: Cap) -> int:
        """Return what could still be promised of a cap in all partitions together, cents."""
        return sum(pots.free for pots in self.pots.get((institution, cap), {}).values())

    def exceeded(self, caps: Caps) -> list[Place]:
        """Return the caps of which more is leased, or more is promised and lent, than there is.

        A payment that bounced and found nothing free is no new promise: it does not count.
        """
        return [
            (institution, cap)
            for (institution, cap), by_partition in sorted(self.pots.items())
            for limit in [caps.get(institution, {}).get(cap, 0)]
            if sum(pots.lease for pots in by_partition.values()) > limit
            or sum(pots.used - pots.overdrawn for pots in by_partition.values()) > limit
        ]
