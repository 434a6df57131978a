"""What either kind of training gives: a model's body, its tables, and the trainer's own scores."""

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.tables import ModelTables

Kind = Literal["lightgbm", "scorecard"]


class Learnt(NamedTuple):
    """A model before calibration."""

    kind: Kind
    trainer: str
    """The library that learnt it, as its name is told."""
    body: bytes
    """The model's file, as `models.artifact` loads it."""
    tables: ModelTables
    """Compiled, reading the columns of `Part.X`."""
    features: list[str]
    """Those that the model reads, in its order."""
    expected: list[NDArray[np.float64]]
    """The library's own scores of each part to measure on."""
    falls: bool
    """A higher score is a lower risk."""
    trees: int
    settings: dict[str, Any]
    tried: list[dict[str, Any]]
    drivers: list[dict[str, Any]]
    """A row a feature: `feature`, `shap_mean_abs` (log-odds) on the newest rows, and the like."""

    def risk(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return scores that rise with risk."""
        return -raw if self.falls else raw
