"""Counting a decision, against counters in plain Python."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import counters
from streams.buffers import Array
from streams.count import count_decision
from streams.counters import APR_EDGES_BPS, PD_EDGES_PPM, Dimensions
from streams.schema import DECISION, EVENT, VERDICT, EventType, Outcome

pytestmark = pytest.mark.kernel

_NAMES = Dimensions(("a", "b", "c"), ("loan", "line"), ("app", "web", "shop"), ("x", "y", "z"))
_OUTCOMES = [outcome.name.lower() for outcome in Outcome]
_verdict = st.fixed_dictionaries(
    {
        "institution": st.integers(0, 2),
        "outcome": st.integers(1, len(Outcome) - 1),
        "pd_ppm": st.one_of(st.just(-1), st.sampled_from(PD_EDGES_PPM), st.integers(0, 1_000_000)),
        "apr_bps": st.one_of(st.sampled_from(APR_EDGES_BPS), st.integers(0, 6_000)),
        "amount_cents": st.integers(1, 10**12),
    }
)
_request = st.tuples(
    st.sampled_from((EventType.APPLICATION, EventType.DRAWDOWN)),
    st.integers(-1, 1),
    st.integers(-1, 2),
    st.lists(_verdict, max_size=3),
    st.booleans(),
    st.integers(0, 7),
)


def _bucket(value: float, edges: tuple[int, ...]) -> int:
    return sum(value > edge for edge in edges)


def _naive(said: Counter[tuple[str, ...]], request: tuple[Any, ...], outcome: int) -> None:
    kind, product, channel, verdicts, approved, reasons = request
    product_name = counters.UNKNOWN if product < 0 else _NAMES.products[product]
    channel_name = counters.UNKNOWN if channel < 0 else _NAMES.channels[channel]
    split = (kind.name.lower(), product_name, channel_name, _OUTCOMES[outcome])
    said["decided", _OUTCOMES[outcome]] += 1
    said["decided_by_product", *split] += 1
    for bit, name in enumerate(_NAMES.reasons):
        said["reasons", name] += reasons >> bit & 1
    for verdict in verdicts:
        name = _NAMES.institutions[verdict["institution"]]
        said["judged", name, _OUTCOMES[verdict["outcome"]]] += 1
    if verdicts and verdicts[0]["pd_ppm"] >= 0:
        place = "approved" if approved else "declined"
        said["pd_ratio", place, str(_bucket(verdicts[0]["pd_ppm"], PD_EDGES_PPM))] += 1
        said["pd_ratio", place, "sum"] += verdicts[0]["pd_ppm"]
    if approved:
        name = _NAMES.institutions[verdicts[0]["institution"]]
        said["approved", name] += 1
        said["approved_cents", name] += verdicts[0]["amount_cents"]
        said["approved_apr_bps", name] += verdicts[0]["apr_bps"]
        said["approved_pd_ppm", name] += max(verdicts[0]["pd_ppm"], 0)
        said["apr_ratio", str(_bucket(verdicts[0]["apr_bps"], APR_EDGES_BPS))] += 1
        said["apr_ratio", "sum"] += verdicts[0]["apr_bps"]


def _read(array: Array) -> Counter[tuple[str, ...]]:
    found: Counter[tuple[str, ...]] = Counter()
    for family in counters.layout(_NAMES):
        ends = [*map(str, range(len(family.edges) + 1)), "sum"] if family.edges else []
        for place, values in enumerate(family.values):
            first = family.start + place * family.slots_each
            for slot, end in enumerate(ends or [""]):
                key = (family.name, *values, end) if end else (family.name, *values)
                found[key] = int(array[first + slot])
    return found


@given(st.lists(_request, max_size=6))
def test_each_decision_is_counted_under_all_its_names(requests: list[Any]) -> None:
    """Outcome, product, channel, reasons, verdicts, PD and price of a decision are each counted
    once, under the names of the request and of who decided.
    """
    array = np.zeros(counters.size(_NAMES), np.int64)
    at = counters.places(_NAMES)
    said: Counter[tuple[str, ...]] = Counter()
    for request in requests:
        kind, product, channel, rows, approved, reasons = request
        approved = approved and bool(rows)
        events, decision = np.zeros(1, EVENT), np.zeros(1, DECISION)
        events["type"], events["product"], events["channel"] = kind, product, channel
        verdicts = np.zeros(3, VERDICT)
        for place, row in enumerate(rows):
            for name, value in row.items():
                verdicts[place][name] = value
        outcome = 0 if approved else int(Outcome.CREDIT)
        decision["outcome"], decision["candidates"] = outcome, len(rows)
        decision["nearest"] = 0 if rows else -1
        decision["chosen"] = 0 if approved else -1
        decision["reasons"] = reasons
        count_decision(array, at, decision, verdicts, events, 0)
        _naive(said, (kind, product, channel, rows, approved, reasons), outcome)
    assert +_read(array) == +said


def test_every_slot_has_one_name() -> None:
    """Families stand side by side from 0 to the size, none over another."""
    at = 0
    for family in counters.layout(_NAMES):
        assert family.start == at
        at += family.slots
    assert at == counters.size(_NAMES)
