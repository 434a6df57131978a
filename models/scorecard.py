"""Score by points per bin: the other kind of model (part of stage 6)."""

import numpy as np
from numpy.typing import NDArray

from models.tables import ModelTables
from streams.compile import kernel


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

    Points are whole numbers, at most 10**9 each way, so the float64 sum is exact.
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
