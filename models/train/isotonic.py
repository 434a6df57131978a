"""Fit the calibration: a rising step function from raw score to probability of default."""

import numpy as np
from numpy.typing import NDArray

from models.calibrate import PPM, Calibration

_GROUPS = 50
_GROUP_ROWS_MIN = 20
_PRIOR_ROWS = 2.0
"""Each group counts this many rows of the average more, so that none claims a PD of 0 or 1."""


def fit_calibration(
    bad: NDArray[np.bool_],
    raw: NDArray[np.float64],
    weight: NDArray[np.float64] | None = None,
    *,
    falls: bool = False,
) -> Calibration:
    """Return isotonic steps fitted to outcomes `bad` and scores `raw`, both [rows], one or more;
    each row counts by its `weight`, above 0, or as one.

    `falls`: a higher score is a lower risk, as points are; they must be whole numbers.

    Rows are first put into groups of neighbours (equal scores stay together), so that a step rests
    on at least 20 rows or on all of them; then rates that fall are pooled.
    """
    if falls:
        rising = fit_calibration(bad, -raw, weight)
        # At or below -s of whole numbers is below -s + 1, where the next step begins.
        starts = [1.0 - start for start in reversed(rising.raw_from[1:])]
        return Calibration([-np.inf, *starts], rising.pd_ppm[::-1])
    order = np.argsort(raw, kind="stable")
    raw, outcome = raw[order], bad[order].astype(np.float64)
    counts = np.ones(len(raw)) if weight is None else weight[order]
    groups = _group_starts(raw)
    rows = np.add.reduceat(counts, groups)
    bads = np.add.reduceat(outcome * counts, groups)
    prior = _PRIOR_ROWS * float(bads.sum() / rows.sum())
    rates = (bads + prior) / (rows + _PRIOR_ROWS)
    pooled = pool_adjacent_violators(rates, rows)
    pd_ppm = np.clip(np.rint(pooled * PPM), 1, PPM - 1).astype(np.int64)
    first = np.flatnonzero(np.append(np.True_, np.diff(pd_ppm) > 0))
    raw_from = [-np.inf, *(float(start) for start in raw[groups[first[1:]]])]
    return Calibration(raw_from, [int(value) for value in pd_ppm[first]])


def pool_adjacent_violators(
    values: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the never-falling sequence nearest to `values` by weighted squares, all [n].

    Source: Barlow et al., "Statistical inference under order restrictions", 1972.
    """
    means, sums, counts = list[float](), list[float](), list[int]()
    for value, weight in zip(values, weights, strict=True):
        mean, total, count = float(value), float(weight), 1
        while means and means[-1] >= mean:
            mean = (means[-1] * sums[-1] + mean * total) / (sums[-1] + total)
            total += sums.pop()
            count += counts.pop()
            means.pop()
        means.append(mean)
        sums.append(total)
        counts.append(count)
    return np.repeat(np.array(means), counts)


def _group_starts(sorted_raw: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return where each group starts in the rising scores; the first starts at 0."""
    size = max(_GROUP_ROWS_MIN, len(sorted_raw) // _GROUPS)
    cuts = np.arange(0, len(sorted_raw), size)
    # A cut inside a run of equal scores moves to where that run starts.
    starts = np.unique(np.searchsorted(sorted_raw, sorted_raw[cuts]))
    if len(starts) > 1 and len(sorted_raw) - starts[-1] < _GROUP_ROWS_MIN:
        starts = starts[:-1]
    return starts
