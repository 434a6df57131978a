"""Count what a demo published against what came back: every request decided, once, within caps."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from streams.control.book import Book
from streams.control.parts import PartBook
from streams.control.records import Caps
from streams.funding.segments import SegmentCap
from streams.schema import Cap

Request = tuple[str, str]  # applicant, id of the request


class Tally:
    """Requests out, decisions in. Times are seconds of one monotonic clock of the caller."""

    def __init__(self, segments: Sequence[SegmentCap] = ()) -> None:
        self.published = 0
        self.decided: set[str] = set()
        self.outcomes: Counter[str] = Counter()
        self.institutions: Counter[str] = Counter()  # approved by
        self.judged: Counter[str] = Counter()  # requests that an institution decided, by it
        self.reasons: Counter[str] = Counter()
        self.dead_letters: Counter[str] = Counter()
        self.duplicated = 0
        self.waits_s: list[float] = []
        self.book = Book()
        self.parts = PartBook(segments)
        self.refused_with_budget = 0  # for capacity, while a lender had the money elsewhere
        self._asked_cents: dict[Request, int] = {}
        self._sent: dict[Request, float] = {}
        self._answered: set[Request] = set()

    @property
    def lost(self) -> int:
        """Return how many distinct admissible requests have no decision (yet)."""
        return len(self._sent.keys() - self._answered)

    def sent(self, request: Request | None, now_s: float, asked_cents: int = 0) -> None:
        """Count a published event; `request` names an admissible request, None: another event."""
        self.published += 1
        if request is not None:
            self._sent.setdefault(request, now_s)
            self._asked_cents[request] = asked_cents

    def on_decision(self, decision: Mapping[str, Any], now_s: float) -> bool:
        """Count a decision; say whether it is the first on its request."""
        request = (decision["applicant"], decision["request"])
        self.decided.add(decision["id"])
        if request in self._answered:
            self.duplicated += 1
            return False
        self._answered.add(request)
        if request in self._sent:
            self.waits_s.append(now_s - self._sent[request])
        self.outcomes[decision["outcome"]] += 1
        if decision["outcome"] == "approved":
            self.institutions[decision["institution"]] += 1
        self.reasons.update(decision["reasons"])
        candidates = decision["candidates"]
        self.judged.update({candidate["institution"] for candidate in candidates})
        if decision["outcome"] == "capacity":
            poor = [each["institution"] for each in candidates if each["outcome"] == "capacity"]
            self.refused_with_budget += self._has_budget(poor, self._asked_cents.pop(request, 0))
        return True

    def _has_budget(self, institutions: Iterable[str], asked_cents: int) -> bool:
        """Say whether one of them could have lent as much, were its money in one partition.

        Both of its budgets count: a decision does not tell from which it would have taken.
        """
        return any(
            min(self.book.free(each, cap) for cap in Cap) >= asked_cents for each in institutions
        )

    def on_move(self, move: Mapping[str, Any]) -> None:
        """Count a record of `dipper.funding`; a repeat counts once."""
        if self.book.take(move):
            self.parts.take(move)

    def on_dead_letter(self, reason: str) -> None:
        """Count a dead letter by its reason."""
        self.dead_letters[reason] += 1

    def wait_ms(self, share: float) -> float | None:
        """Return the wait that `share` of the decisions did not exceed; None before the first."""
        if not self.waits_s:
            return None
        ordered = sorted(self.waits_s)
        return round(1_000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)], 1)

    def summary(self, seconds: float, caps: Caps) -> dict[str, Any]:
        """Return the demo's result over the `seconds` in which requests were sent.

        `caps_exceeded` counts budgets of which more is leased or lent than there is, caps by day
        and segment among them, and moves of money that do not add up, by the books alone.
        """
        approved = self.outcomes["approved"]
        refused = self.refused_with_budget
        return {
            "published": self.published,
            "decided": len(self.decided),
            "approved": approved,
            "declined": self.outcomes.total() - approved,
            "dead_letters": self.dead_letters.total(),
            "lost": self.lost,
            "duplicated": self.duplicated,
            "decisions_per_second": round(len(self.decided) / seconds, 1) if seconds else 0.0,
            "p50_ms": self.wait_ms(0.50),
            "p99_ms": self.wait_ms(0.99),
            "caps_exceeded": len(self.book.exceeded(caps))
            + len(self.parts.exceeded())
            + len(self.book.faults),
            "capacity_with_budget_percent": round(100 * refused / approved, 3) if approved else 0.0,
            "institutions": len(caps),
            "institutions_deciding": len(self.judged),
            "by_institution": {
                each: {"decided": self.judged[each], "approved": self.institutions[each]}
                for each in sorted(caps)
            },
        }
