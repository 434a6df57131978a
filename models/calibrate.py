"""Turn a raw score into a probability of default by sorted steps: comparisons only (part of stage
6).

The step function is made at training (`models/train/isotonic.py`), since `exp` and `log` differ
between machines in the last bit; here only the lookup is left.
"""

from dataclasses import dataclass
from math import inf
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.csv_rows import read_rows
from models.scorecard import last_at_most
from models.tables import ModelTables
from streams.compile import kernel

HEADER = ("raw_from", "pd_ppm")
PPM = 1_000_000


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


@dataclass(frozen=True, slots=True)
class Calibration:
    """Steps of a monotone function: `pd_ppm[i]` for `raw_from[i] <= raw < raw_from[i + 1]`.

    `raw_from` rises strictly from -inf; `pd_ppm` (0 to 1,000,000) never falls, or never rises (a
    scorecard gives good risks more points).
    """

    raw_from: list[float]
    pd_ppm: list[int]


def parse_calibration(path: Path, data: bytes) -> Calibration:
    """Return the calibration in the CSV `data`, read from `path`; raise ModelError by line."""
    raw_from: list[float] = []
    pd_ppm: list[int] = []
    rises = falls = False
    for row in read_rows(path, data, HEADER):
        if not raw_from and row.cells["raw_from"]:
            raise row.refuse("the first 'raw_from' must be empty, so that every score has a step")
        start = row.number("raw_from") if raw_from else -inf
        if raw_from and start <= raw_from[-1]:
            raise row.refuse("'raw_from' must rise from row to row; sort the steps")
        raw_from.append(start)
        pd_ppm.append(row.integer("pd_ppm", 0, PPM))
        rises |= len(pd_ppm) > 1 and pd_ppm[-1] > pd_ppm[-2]
        falls |= len(pd_ppm) > 1 and pd_ppm[-1] < pd_ppm[-2]
        if rises and falls:
            raise row.refuse("'pd_ppm' must only rise or only fall; fit the calibration again")
    return Calibration(raw_from, pd_ppm)


def render_calibration(calibration: Calibration) -> bytes:
    """Write `calibration` as the CSV that `parse_calibration` reads back to the same floats."""
    starts = ["", *(repr(start) for start in calibration.raw_from[1:])]
    rows = [f"{start},{pd}" for start, pd in zip(starts, calibration.pd_ppm, strict=True)]
    return ("\n".join([",".join(HEADER), *rows]) + "\n").encode()


def with_calibration(tables: ModelTables, calibration: Calibration) -> ModelTables:
    """Return the tables of one model with its calibration."""
    assert len(tables.models) == 1
    models = tables.models.copy()
    models["step_start"], models["step_stop"] = 0, len(calibration.raw_from)
    return tables._replace(
        models=models,
        step_from=np.array(calibration.raw_from, np.float64),
        step_pd_ppm=np.array(calibration.pd_ppm, np.int64),
    )
