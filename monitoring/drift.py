"""Has the population moved from the one that a model learnt? PSI by feature and of the score.

The population stability index of shares a (now) against e (reference) is Σ (a − e) ln(a / e) over
the reference's bins, missing being one of them. With n and m rows and B bins it is, without any
drift, about χ² of B − 1 degrees of freedom times (1/n + 1/m) (Yurdakul, "Statistical properties of
population stability index", 2018); `noise` is what one sample in a thousand exceeds by chance. So a
small sample raises no alarm that a large one would not.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.reference import Bins, Reference

WINDOW_ROWS = 2_000  # the last requests that a figure is of
ROWS_MIN = 200  # of them, before any figure is shown
SCORE = "score"
_Z999 = 3.090232306167813  # the normal quantile of 99.9 %

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


class Reading(NamedTuple):
    """One column now: PSI, the PSI that chance explains, share missing now and in the reference."""

    column: str
    psi: float
    noise: float
    missing: float
    missing_reference: float


def psi(shares: Floats, rows: int, counts: Counts) -> float:
    """Return the PSI of `counts` [bins] from reference `shares` [bins] of `rows` rows.

    Half a row is added to each bin on both sides, so that an empty one is finite.
    """
    n, bins = int(counts.sum()), len(counts)
    now = (counts + 0.5) / (n + 0.5 * bins)
    then = (shares * rows + 0.5) / (rows + 0.5 * bins)
    return float(((now - then) * np.log(now / then)).sum())


def noise(bins: int, n: int, m: int) -> float:
    """Return the PSI that one of 1,000 samples of `n` rows exceeds without drift from `m` rows.

    χ² by Wilson and Hilferty's cube root: at most 5 % high, and that with 2 bins.
    """
    if bins < 2:
        return 0.0
    k = bins - 1
    chi2 = k * (1 - 2 / (9 * k) + _Z999 * (2 / (9 * k)) ** 0.5) ** 3
    return float(chi2 * (1 / n + 1 / m))


class DriftWindow:
    """The last `WINDOW_ROWS` requests that one model scored, by bin of its reference."""

    def __init__(self, reference: Reference, features: Sequence[str]) -> None:
        self.columns = [*features, SCORE]
        self._bins: list[Bins] = [*(reference.features[name] for name in features), reference.score]
        self._edges = [np.array(bins.edges) for bins in self._bins]
        self._rows = reference.rows
        self._ring: NDArray[np.int8] = np.zeros((WINDOW_ROWS, len(self.columns)), np.int8)
        self.seen = 0

    @property
    def rows(self) -> int:
        """Return how many requests stand in the window."""
        return min(self.seen, WINDOW_ROWS)

    def add(self, X: Floats, raw: Floats) -> None:
        """Take in requests: features [rows, features] in the model's order, raw scores [rows]."""
        columns = np.column_stack((X, raw))
        binned = np.empty(columns.shape, np.int8)
        for place, edges in enumerate(self._edges):
            values = columns[:, place]
            found = np.searchsorted(edges, values)
            binned[:, place] = np.where(np.isnan(values), len(edges) + 1, found)
        for row in binned[-WINDOW_ROWS:]:
            self._ring[self.seen % WINDOW_ROWS] = row
            self.seen += 1

    def readings(self) -> list[Reading]:
        """Return each column's figures, the score last; none while the window is too small."""
        n = self.rows
        if n < ROWS_MIN:
            return []
        found = []
        for place, (column, bins) in enumerate(zip(self.columns, self._bins, strict=True)):
            shares = np.array([*bins.shares, bins.missing])
            counts = np.bincount(self._ring[:n, place], minlength=len(shares))
            used = int(((shares > 0) | (counts > 0)).sum())
            found.append(
                Reading(
                    column,
                    psi(shares, self._rows, counts),
                    noise(used, n, self._rows),
                    float(counts[-1]) / n,
                    bins.missing,
                )
            )
        return found
