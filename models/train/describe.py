"""What each feature says by itself: coverage, information value, AUC alone, stability, an alarm.

An alarm is a reason to look, not a verdict: a feature that ranks too well alone, or whose values
are known mostly for the bad, often tells what was written down after the request.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.train.card import months
from models.train.metrics import auc_delong
from models.train.quality import psi

BINS = 10
LEAK_AUC = 0.85
LEAK_IV = 0.8
LEAK_MISSING_GAP = 0.4
SHIFTED_PSI = 0.25
_HALF = 0.5  # added to each cell: an empty one would be infinitely informative


def describe_features(frame: pl.DataFrame, features: list[str]) -> pl.DataFrame:
    """Return a row a feature of a training frame (`bad`, `at`), most informative first.

    Columns: feature, coverage, values, iv, auc_alone (0.5 says nothing; on the known), psi_worst
    (of any month against the first), alarm ("" where there is none).
    """
    bad = frame["bad"].to_numpy() == 1
    month = months(frame["at"].to_numpy())
    rows = [_describe(name, frame[name].to_numpy(), bad, month) for name in features]
    schema = {
        "feature": pl.String, "coverage": pl.Float64, "values": pl.Int64, "iv": pl.Float64,
        "auc_alone": pl.Float64, "psi_worst": pl.Float64, "alarm": pl.String,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema).sort("iv", descending=True, nulls_last=True)


def information_value(values: NDArray[np.float64], bad: NDArray[np.bool_]) -> float:
    """Return the information value over quantile bins, missing as one of its own.

    Sum of (share of goods − share of bads) × log of their ratio (Siddiqi, 2006).
    """
    known = values[~np.isnan(values)]
    edges = np.zeros(0)
    if len(known):
        edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]))
    place = np.searchsorted(edges, np.nan_to_num(values))
    place[np.isnan(values)] = len(edges) + 1
    counts = [
        np.bincount(place[side], minlength=len(edges) + 2).astype(np.float64)
        for side in (~bad, bad)
    ]
    used = (counts[0] + counts[1]) > 0
    shares = [(count[used] + _HALF) / (count.sum() + _HALF * used.sum()) for count in counts]
    return float(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum())


def _describe(
    name: str, values: NDArray[np.float64], bad: NDArray[np.bool_], month: NDArray[np.str_]
) -> dict[str, object]:
    known = ~np.isnan(values)
    both = known.any() and bad[known].any() and not bad[known].all()
    auc = auc_delong(bad[known], values[known]).value if both else None
    strength = None if auc is None else max(auc, 1 - auc)
    iv = information_value(values, bad)
    first = values[month == np.unique(month)[0]]
    shifts = [psi(first, values[month == each]) or 0.0 for each in np.unique(month)]
    worst = max(shifts, default=0.0)
    return {
        "feature": name,
        "coverage": float(known.mean()),
        "values": len(np.unique(values[known])),
        "iv": iv,
        "auc_alone": strength,
        "psi_worst": worst,
        "alarm": _alarm(strength, iv, known, bad, worst),
    }


def _alarm(
    auc: float | None,
    iv: float,
    known: NDArray[np.bool_],
    bad: NDArray[np.bool_],
    worst: float,
) -> str:
    if auc is not None and auc > LEAK_AUC:
        return "too good alone: is it known at the request?"
    if bad.any() and not bad.all():
        gap = abs(float(known[bad].mean()) - float(known[~bad].mean()))
        if gap > LEAK_MISSING_GAP:
            return "known mostly for one outcome: written down afterwards?"
    if iv > LEAK_IV:
        return "information value too good: is it known at the request?"
    return "shifted between months" if worst > SHIFTED_PSI else ""
