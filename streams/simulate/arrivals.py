"""Background arrivals of the whole population: one Poisson stream, drawn in blocks by NumPy."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from streams.simulate.population import PARTNERS, Population

_BLOCK = 8_192
MERCHANTS = 2_000

# What may arrive. Activity kinds come first and bear the names of the wire.
KINDS = (
    "order", "refund", "login", "bill_paid", "top_up", "transfer_in", "transfer_out",
    "device_change", "invoice_in", "invoice_out", "invoice_in_credit", "invoice_out_credit",
)  # fmt: skip
ACTIVITIES = len(KINDS)
REQUEST, FOREIGN_LOAN, ENQUIRY = range(ACTIVITIES, ACTIVITIES + 3)
FOREIGN_LOAN_SHARE = 0.012
ENQUIRY_SHARE = 0.02

# Kind: share for people, share for firms, amount in months of income, what one unit of risk does
# to the share.
_HABITS = {
    "order": (0.44, 0.02, 0.02, -0.05),
    "refund": (0.03, 0.00, 0.015, 0.45),
    "login": (0.27, 0.15, 0.0, 0.05),
    "bill_paid": (0.09, 0.05, 0.06, -0.25),
    "top_up": (0.05, 0.00, 0.01, 0.25),
    "transfer_in": (0.05, 0.08, 0.10, -0.20),
    "transfer_out": (0.06, 0.06, 0.08, 0.20),
    "device_change": (0.01, 0.01, 0.0, 0.40),
    "invoice_in": (0.0, 0.26, 0.05, 0.05),
    "invoice_out": (0.0, 0.30, 0.06, -0.10),
    "invoice_in_credit": (0.0, 0.03, 0.03, 0.10),
    "invoice_out_credit": (0.0, 0.04, 0.03, 0.35),
}


class Arrival(NamedTuple):
    """One arrival. `amount_cents` and `counterparty` are those of an activity; draws are uniform
    in 0..1.
    """

    at: int
    row: int
    kind: int
    amount_cents: int
    counterparty: int  # merchant number of a person's order, row of a firm's partner
    draw: float
    draw_2: float


def _thresholds(population: Population, request_share: float) -> np.ndarray:
    """Return cumulative shares of what may arrive, float64[n, ENQUIRY + 1]; the last is 1."""
    habits = np.array(list(_HABITS.values()))
    base = np.where(population.firm[:, None], habits[:, 1], habits[:, 0])
    tilted = base * np.exp(np.clip(population.risk, -2.5, 2.5)[:, None] * habits[:, 3])
    fixed = np.array([request_share, FOREIGN_LOAN_SHARE, ENQUIRY_SHARE])
    tilted *= (1 - fixed.sum()) / tilted.sum(axis=1, keepdims=True)
    shares = np.hstack([tilted, np.broadcast_to(fixed, (base.shape[0], 3))])
    cumulative: np.ndarray = np.cumsum(shares, axis=1)
    cumulative[:, -1] = 1.0
    return cumulative


def arrivals(
    population: Population, seed: int, start_ms: int, rate_per_second: float, request_share: float
) -> Iterator[Arrival]:
    """Yield arrivals in order of time without end; the same arguments give the same stream.

    `rate_per_second` counts arrivals of the whole population per second of event time.
    """
    assert rate_per_second > 0, "a rate is positive"
    assert 0 <= request_share < 0.9, "requests leave room for what applicants do otherwise"
    rng = np.random.default_rng([seed, 2])
    thresholds = _thresholds(population, request_share)
    who = np.cumsum(population.activity)
    month_share = np.array([habit[2] for habit in _HABITS.values()] + [0.0] * 3)
    gap_ms = 1_000 / rate_per_second
    at = float(start_ms)
    while True:
        times = at + np.cumsum(rng.exponential(gap_ms, _BLOCK))
        at = float(times[-1])
        rows = np.minimum(np.searchsorted(who, rng.random(_BLOCK)), who.shape[0] - 1)
        kinds = (thresholds[rows] < rng.random(_BLOCK)[:, None]).sum(axis=1)
        amounts = population.income_cents[rows] * month_share[kinds]
        amounts *= np.exp(rng.normal(0, 0.7, _BLOCK))
        # Worse risks live nearer to their limit: they spend more of what they earn.
        amounts *= np.exp(0.1 * population.risk[rows])
        merchants = np.minimum(rng.zipf(1.3, _BLOCK), MERCHANTS)
        partner = population.partners[rows, rng.integers(0, PARTNERS, _BLOCK)]
        counterparty = np.where(population.firm[rows], partner, merchants)
        columns = (
            times.astype(np.int64), rows, kinds, np.maximum(amounts, 0).astype(np.int64),
            counterparty, rng.random(_BLOCK), rng.random(_BLOCK),
        )  # fmt: skip
        yield from map(Arrival._make, zip(*(c.tolist() for c in columns), strict=True))
