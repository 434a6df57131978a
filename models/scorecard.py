"""Score by points per bin: the other kind of model (part of stage 6).

A scorecard is a CSV table that a credit officer edits. For each feature: one row for a missing
value, then bins `from <= value < to` that follow one another without a gap; an empty `from` or `to`
is without limit. The score is the sum of points.

    feature,from,to,points
    worst_dpd_days,missing,,12
    worst_dpd_days,,1,40
    worst_dpd_days,1,30,15
    worst_dpd_days,30,,-60
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import inf
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.csv_rows import CsvRow, read_rows
from models.tables import CARD_DTYPE, KIND_SCORECARD, MODEL_DTYPE, ModelTables, empty_tables
from streams.compile import kernel

HEADER = ("feature", "from", "to", "points")
MISSING = "missing"
POINTS_MAX = 10**9
"""Largest points of a bin, either way: the sum over any scorecard is then exact in float64."""


@kernel
def last_at_most(
    sorted_values: NDArray[np.float64], start: np.int64, stop: np.int64, value: float
) -> np.int64:
    """Return the index in [start, stop) of the last of the rising `sorted_values` that is <=
    `value`.

    The first value is -inf, so that one exists for every number; NaN gives `start`.
    """
    low, high = start, stop
    while high - low > 1:
        middle = (low + high) >> 1
        if sorted_values[middle] <= value:
            low = middle
        else:
            high = middle
    return low


@kernel
def score_card(
    models: ModelTables,
    model: int,
    vectors: NDArray[np.float64],
    n_rows: int,
    total: NDArray[np.float64],
) -> None:
    """Write into `total[:n_rows]` the sum of points of each row under scorecard `model`.

    Points are whole numbers, at most POINTS_MAX either way, so the float64 sum is exact.
    """
    for i in range(n_rows):
        total[i] = 0.0
    for card in range(models.models[model]["card_start"], models.models[model]["card_stop"]):
        missing_points = models.cards[card]["missing_points"]
        start = np.int64(models.cards[card]["bin_start"])
        stop = np.int64(models.cards[card]["bin_stop"])
        values = vectors[models.cards[card]["column"]]
        for i in range(n_rows):
            if np.isnan(values[i]):
                total[i] += missing_points
            else:
                total[i] += models.bin_points[last_at_most(models.bin_from, start, stop, values[i])]


@dataclass(frozen=True, slots=True)
class CardFeature:
    """The bins of one feature: `points[i]` for `starts[i] <= value < starts[i + 1]`."""

    name: str
    missing_points: int
    starts: list[float] = field(default_factory=list)
    points: list[int] = field(default_factory=list)


def parse_scorecard(path: Path, data: bytes) -> list[CardFeature]:
    """Return the features of the scorecard `data`, read from `path`; raise ModelError by line."""
    features: list[CardFeature] = []
    rows = read_rows(path, data, HEADER)
    for name, group in groupby(rows, key=lambda row: row.cells["feature"]):
        own = list(group)
        if not name:
            raise own[0].refuse("'feature' is empty; write a feature of the catalog")
        if any(feature.name == name for feature in features):
            raise own[0].refuse(f"'{name}' stands in two places; put its rows together")
        features.append(_parse_feature(name, own))
    return features


def _parse_feature(name: str, rows: list[CsvRow]) -> CardFeature:
    first, *bins = rows
    if first.cells["from"] != MISSING or first.cells["to"]:
        raise first.refuse(f"'{name}' must begin with its row for missing: {name},missing,,0")
    feature = CardFeature(name, first.integer("points", -POINTS_MAX, POINTS_MAX))
    if not bins:
        raise first.refuse(f"'{name}' has no bins; add one such as {name},,,0")
    end: float | None = -inf
    for row in bins:
        start = row.number("from") if row.cells["from"] else -inf
        if start != end:
            raise row.refuse(
                f"'from' must be the 'to' of the bin before; bins of '{name}' are apart"
            )
        end = row.number("to") if row.cells["to"] else None
        if end is not None and end <= start:
            raise row.refuse("'to' must be above 'from'")
        feature.starts.append(start)
        feature.points.append(row.integer("points", -POINTS_MAX, POINTS_MAX))
    if end is not None:
        raise bins[-1].refuse(f"the last bin of '{name}' must have no 'to', so that all values fit")
    return feature


def compile_scorecard(features: Sequence[CardFeature], columns: Sequence[int]) -> ModelTables:
    """Return the tables of this one scorecard, without calibration.

    `columns[f]` is the row of `vectors` that holds `features[f]`.
    """
    cards = np.zeros(len(features), CARD_DTYPE)
    bins = 0
    for index, feature in enumerate(features):
        stop = bins + len(feature.starts)
        cards[index] = (feature.missing_points, columns[index], bins, stop)
        bins = stop
    models = np.zeros(1, MODEL_DTYPE)
    models["kind"], models["card_stop"] = KIND_SCORECARD, len(features)
    return empty_tables()._replace(
        models=models,
        cards=cards,
        bin_from=np.array([start for feature in features for start in feature.starts], np.float64),
        bin_points=np.array(
            [point for feature in features for point in feature.points], np.float64
        ),
    )
