"""Reject inference: let requests that nobody lent on teach too, under an assumption that is named.

A model that learns from the approved alone has not seen whom it will decline. Fuzzy parcelling:
1. Learn from known outcomes. 2. Take each declined request of the rows to learn from twice, as bad
and as good, with the weights p and 1 - p, where p is that model's PD with its odds times
`odds_factor`. 3. Learn and calibrate again on both. A factor of 1 (fuzzy augmentation) says that
equal score is equal risk, and then nothing new is learnt; the factor is the assumption, and no data
of the approved can tell it. Rows to stop by and to measure on are known outcomes alone.

Where chance had a part in who was approved (`propensity`), outcomes weighted by its inverse stand
for everybody who asked, declined or not, and the assumption is held against them.

Sources: N. Siddiqi, "Credit Risk Scorecards" (2006), chapter 6; R. Anderson, "Credit Intelligence
and Modelling" (2021), chapter 23. That a factor of 1 changes nothing: A. Ehrhardt et al., Journal
of Applied Statistics 48 (2021). Weights: D. Horvitz and D. Thompson, Journal of the American
Statistical Association 47 (1952).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import ModelError
from models.train.metrics import auc_weighted
from models.train.split import Part, inputs

Floats = NDArray[np.float64]

DECLINED = ("declined", "unlabelled")
"""Labels of requests that nobody is known to have lent on (`models.train.label`)."""
ARM_OUTCOMES_MIN = 20
"""Bads and goods of a random arm: with fewer nothing is said of it."""
DRAWS = 500
MODELS = ("with declined", "without")


@dataclass(frozen=True, slots=True)
class Declined:
    """Requests without an outcome, oldest first: [rows] of features, times and the factor."""

    X: Floats
    at_ms: NDArray[np.int64]
    odds_factor: float

    @property
    def assumption(self) -> str:
        """What is assumed, in one sentence."""
        return (
            f"the odds that a declined request goes bad are {self.odds_factor:g} times those of an"
            " approved one with the same score"
        )


def declined_of(
    frame: pl.DataFrame, features: Sequence[str], time: str, odds_factor: float
) -> Declined:
    """Return the rows of `frame` (`label` says which) that reject inference may use.

    Raises ModelError where there is none.
    """
    rows = frame.filter(pl.col("label").is_in(DECLINED)).sort(time)
    if not rows.height:
        raise ModelError(
            "reject inference: every request of the log has an outcome; leave the option out."
        )
    if not 0 < odds_factor < float("inf"):
        raise ModelError(f"reject inference: odds times {odds_factor} mean nothing; take 1 to 10.")
    return Declined(inputs(rows, features), rows[time].cast(pl.Int64).to_numpy(), odds_factor)


def inferred_pd(pd: Floats, odds_factor: float) -> Floats:
    """Return probabilities whose odds are `odds_factor` times those of `pd`, all in 0..1."""
    return odds_factor * pd / (1 - pd + odds_factor * pd)


def with_declined(part: Part, declined: Declined, rows: slice, pd: Floats) -> Part:
    """Return `part` with the declined `rows` in it twice, by time: as bad with the weight of their
    inferred PD, as good with the rest. `pd` [declined rows] is that of the first model.
    """
    p = inferred_pd(pd[rows], declined.odds_factor)
    X, at_ms = declined.X[rows], declined.at_ms[rows]
    known = np.ones(len(part.bad))
    at = np.concatenate([part.at_ms, at_ms, at_ms])
    order = np.argsort(at, kind="stable")
    bad = np.concatenate([part.bad, np.ones(len(p), np.bool_), np.zeros(len(p), np.bool_)])
    return replace(
        part,
        X=np.ascontiguousarray(np.concatenate([part.X, X, X])[order]),
        bad=bad[order],
        at_ms=at[order],
        weight=np.concatenate([known, p, 1 - p])[order],
    )


def join_declined(parts: Sequence[Part], declined: Declined, pd: Floats) -> tuple[Part, Part]:
    """Return the parts to learn from and to calibrate on, each with the declined of its time."""
    ends = np.searchsorted(declined.at_ms, [parts[1].at_ms[0], parts[2].at_ms[0]])
    return (
        with_declined(parts[0], declined, slice(0, int(ends[0])), pd),
        with_declined(parts[1], declined, slice(int(ends[0]), int(ends[1])), pd),
    )


def told(
    declined: Declined,
    joined: Sequence[Part],
    first_pd: Floats,
    measured: Sequence[Part],
    scores: Sequence[tuple[Floats, Floats]],
    seed: int,
) -> dict[str, Any]:
    """Return what a card says. `scores`: risk and PD of the measured rows by each of MODELS."""
    inferred = sum(float((part.weight < 1).sum()) for part in joined) / 2
    mean = inferred_pd(first_pd, declined.odds_factor).mean()
    return {
        "method": "fuzzy parcelling",
        "assumption": declined.assumption,
        "odds_factor": declined.odds_factor,
        "rows": int(inferred),
        "share_of_weight": inferred / sum(float(part.weight.sum()) for part in joined),
        "mean_pd_first_model": float(first_pd.mean()),
        "mean_pd_assumed": float(mean),
        "random_arm": _arm(measured, scores, seed),
    }


def _arm(
    measured: Sequence[Part], scores: Sequence[tuple[Floats, Floats]], seed: int
) -> dict[str, Any] | None:
    """Return how each model does on everybody who asked, as the random arm tells; None without.

    Intervals are percentiles of resampled rows, the same for every model.
    """
    propensity = np.concatenate([part.propensity for part in measured])
    rows = np.flatnonzero(~np.isnan(propensity))
    bad = np.concatenate([part.bad for part in measured])[rows]
    if min(bad.sum(), (~bad).sum()) < ARM_OUTCOMES_MIN:
        return None
    weight = 1 / propensity[rows]

    def figures(drawn: NDArray[np.int64]) -> dict[str, float]:
        w, outcome = weight[drawn], bad[drawn]
        rate = float(np.average(outcome, weights=w))
        measures = {"bad_rate": rate}
        for name, (risk, pd) in zip(MODELS, scores, strict=True):
            mean = float(np.average(pd[rows][drawn], weights=w))
            measures[f"{name}: auc"] = auc_weighted(outcome, risk[rows][drawn], w)
            measures[f"{name}: mean_pd"] = mean
            measures[f"{name}: mean_pd_off"] = abs(mean - rate)
        for measure in ("auc", "mean_pd_off"):
            first, second = (measures[f"{name}: {measure}"] for name in MODELS)
            measures[f"{measure} difference"] = first - second
        return measures

    rng = np.random.default_rng([seed, 13])
    values = figures(np.arange(len(rows)))
    draws = [figures(rng.integers(len(rows), size=len(rows))) for _ in range(DRAWS)]
    told: dict[str, Any] = {"rows": len(rows), "bads": int(bad.sum())}
    for name, value in values.items():
        low, high = np.quantile([draw[name] for draw in draws], [0.025, 0.975])
        told[name] = {"value": value, "low": float(low), "high": float(high)}
    return told
