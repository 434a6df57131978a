"""How features and score of a model lay in the rows it was trained on: what drift is measured from.

It stands in the model's folder and its manifest holds the hash, so a drift is always one from the
population that this very model learnt.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import ModelError

BINS = 10

Floats = NDArray[np.float64]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Bins(_Strict):
    """One column: upper edges of its bins (one more stands above), the share of rows in each, and
    the share of rows where it is missing; shares are 0 to 1 and add up to 1.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    missing: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _whole(self) -> "Bins":
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError("edges must rise")
        if len(self.shares) != len(self.edges) + 1:
            raise ValueError("one share more than edges")
        if abs(sum(self.shares) + self.missing - 1.0) > 1e-6 or min(self.shares) < 0:
            raise ValueError("shares and missing must add up to 1")
        return self


class Reference(_Strict):
    """The columns of `rows` rows: each feature by name, and the raw score."""

    rows: int = Field(ge=1)
    features: dict[str, Bins]
    score: Bins


def make_bins(values: Floats, bins: int = BINS) -> Bins:
    """Return `values` [rows], NaN missing, in at most `bins` bins of about as many rows each."""
    known = values[~np.isnan(values)]
    edges: Floats = np.zeros(0)
    if known.size:
        cuts = np.arange(1, bins) / bins
        edges = np.unique(np.quantile(known, cuts, method="inverted_cdf"))
        edges = edges[edges < known.max()]
    counts = np.bincount(np.searchsorted(edges, known), minlength=edges.size + 1)
    shares = tuple(float(count) / len(values) for count in counts)
    missing = float(len(values) - known.size) / len(values)
    return Bins(edges=tuple(edges.tolist()), shares=shares, missing=missing)


def make_reference(names: Sequence[str], X: Floats, raw: Floats) -> Reference:
    """Return the reference of `X` [rows, features], NaN missing, and scores `raw` [rows]."""
    features = {name: make_bins(X[:, place]) for place, name in enumerate(names)}
    return Reference(rows=len(X), features=features, score=make_bins(raw))


def render_reference(reference: Reference) -> bytes:
    """Return the file's bytes."""
    return reference.model_dump_json(indent=1).encode() + b"\n"


def parse_reference(path: Path, body: bytes) -> Reference:
    """Return what the file says; ModelError where it is none."""
    try:
        return Reference.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ModelError(f"{path}: {where}: {first['msg']}; train the model again.") from error
