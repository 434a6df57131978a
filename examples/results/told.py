"""Runs of several seeds, gathered and told as a row of a table."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from models.train import TrainingResult


class Figure(NamedTuple):
    """Mean over seeds, least and most; the 95 % interval is the mean of the runs' own."""

    mean: float
    least: float
    most: float
    low: float
    high: float

    def told(self) -> str:
        """Return the figure as a cell."""
        return (
            f"**{self.mean:.3f}** ({self.least:.3f} to {self.most:.3f};"
            f" 95 % {self.low:.3f} to {self.high:.3f})"
        )


class Runs(NamedTuple):
    """What runs of several seeds came to on rows that were not learnt from."""

    rows_test: int
    auc: Figure
    ks: Figure
    bad_rate: float
    mean_pd: float
    exact: bool


def gather(runs: Sequence[TrainingResult]) -> Runs:
    """Return the figures of runs that differ in their seed."""

    def figure(name: str) -> Figure:
        estimates = [getattr(run, name) for run in runs]
        values = [estimate.value for estimate in estimates]
        return Figure(
            float(np.mean(values)),
            min(values),
            max(values),
            float(np.mean([estimate.low for estimate in estimates])),
            float(np.mean([estimate.high for estimate in estimates])),
        )

    return Runs(
        runs[0].rows_test,
        figure("auc"),
        figure("ks"),
        float(np.mean([run.bad_rate for run in runs])),
        float(np.mean([run.mean_pd for run in runs])),
        all(run.rows_equal_trained == run.rows_test for run in runs),
    )


def verdict(figure: Figure, mark: float) -> str:
    """Say whether a mark is missed: only where it lies above the interval."""
    if figure.mean >= mark:
        return "reached"
    return "missed" if mark > figure.high else "within the interval"
