"""Turn a raw score into a probability of default by sorted steps: comparisons only (part of stage
6).

The step function is made at training (`models/train/isotonic.py`), since `exp` and `log` differ
between machines in the last bit; here only the lookup is left.
"""

import numpy as np
from numpy.typing import NDArray

from models.scorecard import last_at_most
from models.tables import ModelTables
from streams.compile import kernel


@kernel
def calibrate_block(
    models: ModelTables,
    model: int,
    n_rows: int,
    raw: NDArray[np.float64],
    pd_ppm: NDArray[np.int64],
) -> None:
    """Write `pd_ppm[:n_rows]` for the scores `raw[:n_rows]` of `model`."""
    start = np.int64(models.models[model]["step_start"])
    stop = np.int64(models.models[model]["step_stop"])
    assert start < stop
    for i in range(n_rows):
        pd_ppm[i] = models.step_pd_ppm[last_at_most(models.step_from, start, stop, raw[i])]
