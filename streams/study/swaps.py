"""Swap sets, and how bad those would be whom only the new policy approves.

The outcome of a request that was declined is not known. Two things can be said of swap-ins: where
the labels know them anyway (another lender, a random arm, a simulator) the rate is observed; else
it is an estimate: the new side's PD, recalibrated on requests that the old side approved and whose
outcome is known, carried over to the swap-ins. The assumption is named in METHOD.
"""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.train.quality import wilson

METHOD = (
    "logistic recalibration of the new side's PD on requests that the old side approved and whose"
    " outcome is known, carried over to the swap-ins; assumes that equal PD means equal risk,"
    " approved or not"
)
DRAWS = 2_000
BADS_MIN = 10
"""With fewer bads among the known the interval would say what was assumed, not what was seen."""
_ROUNDS = 30
_RIDGE = 1.0
"""Weight of the belief that the PD is right as it is, in units of one observation's information."""


def swap_sets(rows: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Return both, neither, only_old, only_new: requests, how many have an outcome, how many bad.

    `rows` has a_approved, b_approved and `bad` (null: not known).
    """
    old, new = pl.col("a_approved"), pl.col("b_approved")
    sets = {
        "both": old & new,
        "neither": ~old & ~new,
        "only_old": old & ~new,
        "only_new": ~old & new,
    }
    told = {}
    for name, members in sets.items():
        inside = rows.filter(members)
        known = inside.filter(pl.col("bad").is_not_null())
        bads = int(known["bad"].sum() or 0)
        low, high = wilson(bads, known.height)
        told[name] = {
            "requests": inside.height,
            "known": known.height,
            "bads": bads,
            "bad_rate": bads / known.height if known.height else None,
            "low": low if known.height else None,
            "high": high if known.height else None,
        }
    return told


def swap_figures(rows: pl.DataFrame) -> dict[str, Any]:
    """Return `swap_sets` as summaries tell them: sizes, and what is known of each."""
    sets = swap_sets(rows)
    return {
        "swap": {name: members["requests"] for name, members in sets.items()},
        "bad_rates": {
            name: {key: members[key] for key in ("known", "bads", "bad_rate", "low", "high")}
            for name, members in sets.items()
        },
    }


def swap_in_rate(rows: pl.DataFrame, seed: int = 1) -> dict[str, Any] | None:
    """Return the estimated bad rate of swap-ins with its 95 % interval, or None where unknown.

    Reads a_approved, b_approved, b_pd_ppm and bad of `rows`.
    """
    scored = rows.filter(pl.col("b_pd_ppm").is_not_null())
    known = scored.filter(pl.col("a_approved") & pl.col("bad").is_not_null())
    swapped = scored.filter(~pl.col("a_approved") & pl.col("b_approved"))
    bad = known["bad"].to_numpy() == 1
    if not swapped.height or bad.sum() < BADS_MIN or (~bad).sum() < BADS_MIN:
        return None
    x, target = (_logit(frame["b_pd_ppm"].to_numpy() / 1e6) for frame in (known, swapped))
    weights, covariance = recalibrate(x, bad)
    rng = np.random.default_rng([seed, 11])
    drawn = rng.multivariate_normal(weights, covariance, DRAWS)
    groups, counts = np.unique(np.round(target, 3), return_counts=True)
    rates = _sigmoid(drawn[:, :1] + drawn[:, 1:] * groups[None, :])
    # Both what is not known of the rate and what chance makes of a group of this size.
    samples = rng.binomial(counts[None, :], rates).sum(axis=1) / counts.sum()
    low, high = np.quantile(samples, [0.025, 0.975])
    value = float((_sigmoid(weights[0] + weights[1] * groups) * counts).sum() / counts.sum())
    return {"value": value, "low": float(low), "high": float(high), "method": METHOD}


def recalibrate(
    x: NDArray[np.float64], bad: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return intercept and slope of the outcome's log-odds on `x`, and their covariance.

    Newton's method; the prior (0, 1) with weight _RIDGE keeps it finite on little data.
    """
    design = np.column_stack([np.ones(len(x)), x])
    prior = np.array([0.0, 1.0])
    weights = prior.copy()
    information = np.eye(2)
    for _ in range(_ROUNDS):
        rate = _sigmoid(design @ weights)
        slope = design.T @ (bad - rate) - _RIDGE * (weights - prior)
        information = (design * (rate * (1 - rate))[:, None]).T @ design + _RIDGE * np.eye(2)
        step = np.linalg.solve(information, slope)
        weights += step
        if np.abs(step).max() < 1e-9:
            break
    covariance = np.asarray(np.linalg.inv(information), np.float64)
    return weights, covariance


def _logit(pd: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(pd, 1e-6, 1 - 1e-6)
    return np.log(inside / (1 - inside))


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))
