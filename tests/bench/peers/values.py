"""The features that models and rules read, in plain Python over an applicant's dict.

Each window is filtered once for all features that share it, as one would write it who cares for
speed; loans and lines are those of the twin in `tests/features/naive.py`.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from features.catalog import Catalog
from features.definitions import ANY_KIND, Feature
from streams.limits import DAY_MS
from streams.schema import LineState, LoanState
from tests.features.build import Due, Line, Loan
from tests.features.naive import line_values, loan_values

HOUR_MS = 3_600_000
Person = dict[str, Any]


def new_person() -> Person:
    """Return what is known of an applicant at first: JSON, so that any store can keep it."""
    return {"acts": [], "attrs": {}, "signals": {}, "seen": [], "requests": [], "lines": {},
            "offers": {}, "loans": {}}  # fmt: skip


class Values:
    """Computes the named columns of the catalog, and those that they are made of."""

    def __init__(self, catalog: Catalog, names: Iterable[str]) -> None:
        rows = {feature.name: feature for feature in catalog.features}
        wanted = set(names)
        for feature in reversed(catalog.features):
            if feature.name in wanted and feature.source == "ratio":
                wanted |= {feature.numerator, feature.denominator}
        self._rows = [row for name, row in rows.items() if name in wanted]
        self._ttl = {signal.column: signal.ttl_ms for signal in catalog.signals}
        self._windows: dict[tuple[int, tuple[str, ...]], list[Feature]] = {}
        for row in self._rows:
            if row.source == "window":
                self._windows.setdefault((row.window_ms, row.kinds), []).append(row)
        self._sources = {row.source for row in self._rows}

    def of(self, person: Person, request: Mapping[str, Any], own: str) -> dict[str, float]:
        """Return name to value; `own`: the id of the line that a purchase draws on, or ""."""
        at = request["at"]
        found: dict[str, float] = {}
        for (window_ms, kinds), features in self._windows.items():
            held = [
                act
                for act in person["acts"]
                if at - window_ms <= act[0] < at and (ANY_KIND in kinds or act[2] in kinds)
            ]
            for feature in features:
                found[feature.name] = _aggregate(feature.aggregate, held, at)
        facts = self._facts(person, request, own)
        for row in self._rows:
            name, source, value = row.name, row.source, math.nan
            if source == "window":
                value = found[name]
            elif source == "attribute":
                value = person["attrs"].get(row.of, math.nan)
            elif source == "signal":
                sent, sent_at = person["signals"].get(row.of, (math.nan, 0))
                if 0 < sent_at < at <= sent_at + self._ttl[row.of]:
                    value = sent if row.aggregate == "value" else (at - sent_at) / DAY_MS
            elif source == "ratio":
                below = found[row.denominator]
                value = found[row.numerator] / below if below else math.nan
            else:
                value = float(facts[source][row.aggregate])
            found[name] = row.missing if math.isnan(value) else value
        return found

    def _facts(
        self, person: Person, request: Mapping[str, Any], own: str
    ) -> dict[str, dict[str, float]]:
        at = request["at"]
        offers = [offer for offer in person["offers"].values() if offer["open"]]
        facts: dict[str, dict[str, float]] = {
            "request": {
                "amount_cents": request["amount_cents"],
                "tenor_days": request["tenor_days"],
                "is_drawdown": request["type"] == "drawdown",
                "hour": at % DAY_MS // HOUR_MS,
                "weekday": (at // DAY_MS + 3) % 7,  # the epoch began on a Thursday
            },
            "applicant": {
                "open_offers": len(offers),
                "reserved_cents": sum(offer["amount_cents"] for offer in offers),
                "history_truncated": 0,
            },
        }
        if "loans" in self._sources:
            facts["loans"] = loan_values([as_loan(loan) for loan in person["loans"].values()], at)
        if "lines" in self._sources:
            lines = {id: as_line(line) for id, line in person["lines"].items()}
            facts["lines"] = line_values(list(lines.values()), lines.get(own), at)
        return facts


def as_line(line: Mapping[str, Any]) -> Line:
    """Return a line as the twin takes it."""
    return Line(
        line["opened_at"], line["limit_cents"], line["available_cents"], int(LineState.ACTIVE)
    )


def as_loan(loan: Mapping[str, Any]) -> Loan:
    """Return another lender's loan as the twin takes it."""
    dues = tuple(Due(*due) for due in loan["dues"])
    return Loan(
        loan["at"], loan["principal_cents"], loan["outstanding_cents"], 0, int(LoanState.OPEN),
        -1, dues,
    )  # fmt: skip


def _aggregate(aggregate: str, held: list[list[Any]], at: int) -> float:
    n = len(held)
    if aggregate == "count":
        return float(n)
    if aggregate == "sum":
        return float(sum(act[1] for act in held))
    if aggregate == "distinct":
        return float(len({act[3] for act in held if act[3]}))
    if n == 0:
        return math.nan
    if aggregate == "mean":
        return float(sum(act[1] for act in held) / n)
    if aggregate == "min":
        return float(min(act[1] for act in held))
    if aggregate == "max":
        return float(max(act[1] for act in held))
    if aggregate == "first":
        return (at - min(act[0] for act in held)) / DAY_MS
    if aggregate == "last":
        return (at - max(act[0] for act in held)) / DAY_MS
    assert aggregate == "std"
    if n == 1:
        return math.nan
    total = sum(act[1] for act in held)
    squares = sum(act[1] * act[1] for act in held)
    return math.sqrt((n * squares - total * total) / (n * (n - 1)))
