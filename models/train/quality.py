"""Curves and tables of a scored set of rows: what a model card and a report show.

All functions take `bad` bool[rows], `score` (higher is riskier) and `pd` (0 to 1), and give plain
values that JSON holds.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.train.metrics import auc_delong, ks_statistic

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

RELIABILITY_BINS = 10
PSI_BINS = 10
PSI_FLOOR = 1e-4
"""An empty bin counts this share: the index would be infinite otherwise."""
CURVE_POINTS = 100


def summary(bad: Bools, score: Floats, pd: Floats) -> dict[str, Any]:
    """Return rows, bads, rates and the measures; those that need both outcomes are None without."""
    both = bool(bad.any() and not bad.all())
    auc = auc_delong(bad, score).value if both else None
    return {
        "rows": len(bad),
        "bads": int(bad.sum()),
        "bad_rate": float(bad.mean()) if len(bad) else None,
        "mean_pd": float(pd.mean()) if len(pd) else None,
        "auc": auc,
        "gini": None if auc is None else 2 * auc - 1,
        "ks": ks(bad, score) if both else None,
        "brier": float(((pd - bad) ** 2).mean()) if len(bad) else None,
        "calibration_error": calibration_error(bad, pd) if len(bad) else None,
    }


def ks(bad: Bools, score: Floats) -> float:
    """Return the largest gap between the score distributions of bad and good rows."""
    order = np.argsort(score, kind="stable")
    stop = np.flatnonzero(np.append(np.diff(score[order]) > 0, np.True_))
    is_bad = bad[order].astype(np.float64)
    return ks_statistic(is_bad, 1.0 - is_bad, stop)


def reliability(bad: Bools, pd: Floats, bins: int = RELIABILITY_BINS) -> list[dict[str, Any]]:
    """Return, by bins of about equal size in rising PD: rows, mean PD, bad rate, 95 % interval.

    Rows of one PD stay together, so there may be fewer bins. The interval is Wilson's.
    """
    order = np.argsort(pd, kind="stable")
    sorted_pd, outcome = pd[order], bad[order]
    cuts = [len(pd) * k // bins for k in range(bins)]
    starts = np.unique(np.searchsorted(sorted_pd, sorted_pd[cuts])) if len(pd) else np.zeros(0, int)
    rows = []
    for start, stop in zip(starts, [*starts[1:], len(pd)], strict=True):
        bads, count = int(outcome[start:stop].sum()), int(stop - start)
        low, high = wilson(bads, count)
        rows.append(
            {
                "rows": count,
                "mean_pd": float(sorted_pd[start:stop].mean()),
                "bad_rate": bads / count,
                "low": low,
                "high": high,
            }
        )
    return rows


def calibration_error(bad: Bools, pd: Floats) -> float:
    """Return the mean gap between PD and bad rate over bins of PD, weighted by rows."""
    rows = reliability(bad, pd)
    return sum(row["rows"] * abs(row["mean_pd"] - row["bad_rate"]) for row in rows) / len(bad)


def wilson(hits: float, count: float) -> tuple[float, float]:
    """Return the 95 % interval of a share; (0, 1) of nothing.

    Source: E. B. Wilson, Journal of the American Statistical Association 22 (1927).
    """
    if count <= 0:
        return 0.0, 1.0
    z = 1.959963984540054
    share = hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * (share * (1 - share) / count + z * z / (4 * count**2)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def psi(expected: Floats, actual: Floats, bins: int = PSI_BINS) -> float | None:
    """Return the population stability index of `actual` against quantile bins of `expected`.

    Missing values (NaN) are a bin of their own. None where a side is empty. Below 0.1 is calm,
    above 0.25 another population.
    """
    if not len(expected) or not len(actual):
        return None
    known = expected[~np.isnan(expected)]
    edges = np.zeros(0)
    if len(known):
        edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1]))
    shares = [_shares(values, edges) for values in (expected, actual)]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def _shares(values: Floats, edges: Floats) -> Floats:
    missing = np.isnan(values)
    places = np.searchsorted(edges, values[~missing], side="left")
    counts = np.bincount(places, minlength=len(edges) + 1)
    return np.maximum(np.append(counts, missing.sum()) / len(values), PSI_FLOOR)


def roc(bad: Bools, score: Floats) -> list[list[float]]:
    """Return about CURVE_POINTS pairs (share of goods, share of bads) from the riskiest row on."""
    order = np.argsort(-score, kind="stable")
    bads, goods = np.cumsum(bad[order]), np.cumsum(~bad[order])
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, np.True_))
    picked = ends[np.unique(np.linspace(0, len(ends) - 1, CURVE_POINTS).astype(int))]
    points = zip(goods[picked] / max(goods[-1], 1), bads[picked] / max(bads[-1], 1), strict=True)
    return [[0.0, 0.0], *([float(x), float(y)] for x, y in points)]


def ks_curve(bad: Bools, score: Floats) -> list[list[float]]:
    """Return triples (share of rows, share of goods, share of bads) in rising order of score."""
    order = np.argsort(score, kind="stable")
    bads, goods = np.cumsum(bad[order]), np.cumsum(~bad[order])
    picked = np.unique(np.linspace(0, len(bad) - 1, CURVE_POINTS).astype(int))
    return [
        [float((k + 1) / len(bad)), float(goods[k] / goods[-1]), float(bads[k] / bads[-1])]
        for k in picked
    ]


def lift(bad: Bools, score: Floats, bins: int = 10) -> list[float]:
    """Return the bad rate of each tenth, riskiest first, over that of all."""
    order = np.argsort(-score, kind="stable")
    parts = np.array_split(bad[order], min(bins, len(bad)))
    return [float(part.mean() / bad.mean()) for part in parts]
