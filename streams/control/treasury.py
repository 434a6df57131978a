"""The treasury: how each institution's budget lies in the partitions, and what moves it.

What is leased never exceeds the cap: an order to grant counts from when it is decided, money that a
partition gives back only from when its own lease-return stands in `dipper.funding`. So a partition
that runs dry is helped in two rounds: recall from those that have plenty, grant what came back.

1. Fold `dipper.funding` into the book (`take`).
2. Decide orders (`plan`); they count at once.
3. Keep `kept()` where it survives us, with the orders' numbers in the log; only then publish them.

If it dies between 2 and 3, nothing was ordered; after 3, the orders are published again, and each
partition takes a number once. Nothing here reads a clock, a file or a network.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from streams.control.book import Book, Place, Pots
from streams.control.level import level
from streams.control.part_leases import PartLeases
from streams.control.records import Caps, Order, Share, first_shares
from streams.errors import DipperError
from streams.funding.segments import SegmentCap
from streams.schema import Cap


class Treasury:
    """Budgets of one deployment over its partitions.

    Takes the caps, how many partitions there are, what `kept` gave before (None at the start: then
    each cap is cut into equal shares, as control grants them first), and caps by day and segment.
    """

    def __init__(
        self,
        caps: Caps,
        partitions: int,
        kept: Mapping[str, Any] | None = None,
        segments: Sequence[SegmentCap] = (),
    ) -> None:
        self.book = Book()
        self.parts = PartLeases(segments, partitions, kept.get("parts", ()) if kept else ())
        self._partitions = partitions
        self._caps: dict[Place, int] = {
            (institution, cap): amount
            for institution, budgets in sorted(caps.items())
            for cap, amount in sorted(budgets.items())
        }
        self._granted = {place: [0] * partitions for place in self._caps}
        self._recalls = {place: [0] * partitions for place in self._caps}
        self._returned = {place: [0] * partitions for place in self._caps}
        self._answers = {place: [0] * partitions for place in self._caps}
        if kept is None:
            for partition, shares in enumerate(first_shares(caps, partitions)):
                for share in shares:
                    self._granted[share.institution, share.cap][partition] = share.amount_cents
            return
        for institution, name, cap_cents, granted, recalls in kept["places"]:
            place = institution, Cap[name]
            if place in self._caps:
                self._caps[place] = cap_cents
                self._granted[place], self._recalls[place] = list(granted), list(recalls)

    @property
    def caps(self) -> dict[Place, int]:
        """Return the caps that hold now, cents."""
        return dict(self._caps)

    def kept(self) -> dict[str, Any]:
        """Return what must survive, as plain values."""
        return {
            "places": [
                [place[0], place[1].name, cap, self._granted[place], self._recalls[place]]
                for place, cap in self._caps.items()
            ],
            "parts": self.parts.kept(),
        }

    def take(self, move: Mapping[str, Any]) -> None:
        """Count one record of `dipper.funding`; a repeat counts once."""
        if not self.book.take(move):
            return
        self.parts.take(move)
        if move["type"] == "lease-return" and "part_ppm" not in move:
            place = move["institution"], Cap[move["cap"].upper()]
            self._returned[place][move["partition"]] += move["amount_cents"]
            self._answers[place][move["partition"]] += 1

    def leased(self, place: Place) -> int:
        """Return what all partitions hold, what is on its way to them included, cents."""
        return sum(self._granted[place]) - sum(self._returned[place])

    def set_cap(self, institution: str, cap: Cap, amount_cents: int) -> None:
        """Let a cap be another one from now on: `plan` gives or takes back what it changes.

        `DipperError`, with nothing changed, where more is promised and lent already.
        """
        place = institution, cap
        if place not in self._caps:
            raise DipperError(f"there is no institution {institution}")
        used = self.book.used(institution, cap)
        if amount_cents < used:
            raise DipperError(
                f"{institution} has promised and lent {used} cents of {cap.name.lower()} already; "
                f"a cap of {amount_cents} would be below it"
            )
        self._caps[place] = amount_cents

    def plan(self) -> list[Order]:
        """Return what is to be ordered now; it counts as ordered."""
        orders = [order for place in self._caps for order in self._plan(place)]
        for order in orders:
            place = order.share.institution, order.share.cap
            if order.verb == "grant":
                self._granted[place][order.partition] += order.share.amount_cents
            else:
                self._recalls[place][order.partition] += 1
        return orders + self.parts.plan()

    def _plan(self, place: Place) -> Iterator[Order]:
        everywhere = range(self._partitions)
        pots = self.book.pots.get(place, {})
        coming = [
            self._granted[place][n] - self._returned[place][n] - pots.get(n, Pots()).lease
            for n in everywhere
        ]
        free = [pots.get(n, Pots()).free + coming[n] for n in everywhere]
        headroom = self._caps[place] - self.leased(place)
        waiting = [self._recalls[place][n] > self._answers[place][n] for n in everywhere]
        for n, verb, amount in level(self._caps[place], free, headroom, waiting):
            yield Order(n, verb, Share(*place, amount))
