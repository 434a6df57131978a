"""Split a frame by time: to learn from, to calibrate on, to test on, and out of time.

Lenders judge by what comes later, so no part holds a row that is older than one of the part before
it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import ModelError

SEGMENTS = ("product", "channel", "type")
"""Columns by which a card cuts its figures, where the frame has them."""
PROPENSITY = "propensity"
"""Column of the chance that a request had of being approved, where chance had a part in it."""
PARTS = ("train", "calibrate", "test", "out-of-time")


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one part of the split, oldest first."""

    X: NDArray[np.float64]
    bad: NDArray[np.bool_]
    at_ms: NDArray[np.int64]
    segments: pl.DataFrame
    """Those of SEGMENTS that the frame has."""
    propensity: NDArray[np.float64]
    """0..1, NaN where chance had no part in the approval, or nobody says."""
    weight: NDArray[np.float64]

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """What a trainer is told: nothing where every row weighs the same."""
        return None if (self.weight == 1).all() else self.weight


def check_columns(
    frame: pl.DataFrame,
    features: Sequence[str],
    categorical: Sequence[str],
    label: str,
    time: str,
    definition_hashes: Mapping[str, str],
) -> None:
    """Raise ModelError where the frame lacks what training needs."""
    if not features or len(set(features)) != len(features):
        raise ModelError("features: name at least one, each once.")
    for column in (*features, label, time):
        if column not in frame.columns:
            raise ModelError(f"frame: no column '{column}'; join it, or leave it out.")
    for feature in features:
        dtype = frame.schema[feature]
        if not (dtype.is_numeric() or dtype == pl.Boolean):
            raise ModelError(f"frame: feature '{feature}' is {dtype}; turn it into a number.")
        if feature not in definition_hashes:
            raise ModelError(f"features: '{feature}' is not in the catalog; add a row for it.")
    if unknown := set(categorical) - set(features):
        raise ModelError(f"categorical: '{min(unknown)}' is not among the features; add it there.")
    if {label, time} & set(features):
        raise ModelError("features: label and time cannot be features; leave them out.")


def split(
    frame: pl.DataFrame,
    features: Sequence[str],
    label: str,
    time: str,
    fractions: Sequence[float],
    boundaries_ms: Sequence[int] | None,
) -> list[Part]:
    """Return the parts, three or four: train, calibrate, test, and out of time where asked for.

    `fractions`: of the rows to learn from, to calibrate on and, where a fourth part is wanted, to
    test on. `boundaries_ms` instead: the first time of each part after the first. Raises ModelError
    where a part would not hold both outcomes.
    """
    if not frame.height:
        raise ModelError("frame: it has no rows; check the join with labels.")
    if not frame.schema[time].is_integer() or frame[time].null_count():
        raise ModelError(f"frame: '{time}' must be whole epoch milliseconds in every row.")
    frame = frame.sort(time, maintain_order=True)
    outcome = frame[label].cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    if not np.isin(outcome, [0.0, 1.0]).all():
        raise ModelError(f"frame: '{label}' must be 1 (bad) or 0 (good) in every row.")
    at_ms = frame[time].cast(pl.Int64).to_numpy()
    if boundaries_ms is None:
        if min(fractions) <= 0 or sum(fractions) >= 1:
            raise ModelError(
                "fractions: train, calibrate and test must be above 0, together below 1."
            )
        cuts = [int(frame.height * sum(fractions[: k + 1])) for k in range(len(fractions))]
        # Rows of one time stay together: the later part takes them all.
        boundaries_ms = [int(at_ms[cut]) for cut in cuts]
    assert len(boundaries_ms) in {2, 3}
    edges = [0, *(int(cut) for cut in np.searchsorted(at_ms, boundaries_ms)), frame.height]
    X = inputs(frame, features)
    chance = np.full(frame.height, np.nan)
    if PROPENSITY in frame.columns:
        chance = inputs(frame, [PROPENSITY])[:, 0]
    bad = outcome == 1.0
    named = [column for column in SEGMENTS if column in frame.columns and column not in features]
    parts = []
    for name, start, stop in zip(PARTS, edges, edges[1:], strict=False):
        rows = slice(start, stop)
        if not 0 < bad[rows].sum() < len(bad[rows]):
            raise ModelError(
                f"frame: the {name} rows need good and bad ones, here {int(bad[rows].sum())} of"
                f" {len(bad[rows])} are bad; move the split or take more rows."
            )
        parts.append(
            Part(
                np.ascontiguousarray(X[rows]),
                bad[rows],
                at_ms[rows],
                frame[start:stop].select(named),
                chance[rows],
                np.ones(stop - start),
            )
        )
    return parts


def inputs(frame: pl.DataFrame, features: Sequence[str]) -> NDArray[np.float64]:
    """Return [rows, features] of a frame, what is missing as NaN."""
    return frame.select(pl.col(features).cast(pl.Float64).fill_null(float("nan"))).to_numpy()
