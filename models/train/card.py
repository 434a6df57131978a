"""The model card: where a model comes from, how good it is on which rows, what drives it.

A dict of plain values, written as card.json beside the model. The manifest holds what a decision
depends on; the card is for people and reports.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from models.train.quality import psi, reliability, roc, summary
from models.train.split import PARTS, Part

CARD = "card.json"
SHAP_ROWS_MAX = 2_000
FEATURES_SHOWN = 200


def make_card(
    *,
    name: str,
    sha256: str,
    lineage: Mapping[str, str],
    settings: Mapping[str, Any],
    tries: Sequence[Mapping[str, Any]],
    features: Sequence[str],
    parts: Sequence[Part],
    raw: Sequence[NDArray[np.float64]],
    pd: Sequence[NDArray[np.float64]],
    booster: lgb.Booster,
) -> dict[str, Any]:
    """Return the card of a model: `raw` and `pd` (0 to 1) are its scores of each part's rows."""
    measured = range(2, len(parts))
    judged = [np.concatenate([source[k] for k in measured]) for source in (raw, pd)]
    bad = np.concatenate([parts[k].bad for k in measured])
    at_ms = np.concatenate([parts[k].at_ms for k in measured])
    return {
        "name": name,
        "sha256": sha256,
        "lineage": dict(lineage),
        "data": [
            {
                "part": label,
                "from": _day(part.at_ms[0]),
                "to": _day(part.at_ms[-1]),
                **summary(part.bad, raw[k], pd[k]),
                "score_psi": psi(raw[0], raw[k]),
            }
            for k, (label, part) in enumerate(zip(PARTS, parts, strict=False))
        ],
        "by_month": [
            {"month": month, **summary(bad[rows], judged[0][rows], judged[1][rows]),
             "score_psi": psi(raw[0], judged[0][rows])}
            for month, rows in _groups(months(at_ms))
        ],
        "by_segment": [
            {"segment": column, "value": value,
             **summary(bad[rows], judged[0][rows], judged[1][rows])}
            for column in parts[0].segments.columns
            for value, rows in _groups(
                np.concatenate([parts[k].segments[column].cast(str).fill_null("–").to_numpy()
                                for k in measured])
            )
        ],
        "reliability": reliability(bad, judged[1]),
        "roc": roc(bad, judged[0]),
        "features": _features(features, parts, booster),
        "parameters": dict(settings),
        "search": [dict(each) for each in tries],
    }  # fmt: skip


def months(at_ms: NDArray[np.int64]) -> NDArray[np.str_]:
    """Return the month (YYYY-MM, UTC) of each time in epoch milliseconds."""
    return np.datetime_as_string(at_ms.astype("datetime64[ms]"), unit="M")


def _groups(values: NDArray[Any]) -> list[tuple[str, NDArray[np.int64]]]:
    return [(str(value), np.flatnonzero(values == value)) for value in np.unique(values)]


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(int(at_ms) / 1_000, UTC).date().isoformat()


def _features(
    features: Sequence[str], parts: Sequence[Part], booster: lgb.Booster
) -> list[dict[str, Any]]:
    """Return a row a feature, by mean absolute SHAP value on the newest rows, largest first."""
    newest = parts[-1]
    picked = np.unique(
        np.linspace(0, len(newest.bad) - 1, min(SHAP_ROWS_MAX, len(newest.bad))).astype(int)
    )
    best = booster.best_iteration
    shap = np.asarray(
        booster.predict(newest.X[picked], pred_contrib=True, num_iteration=best), np.float64
    )
    gain = booster.feature_importance("gain", iteration=best)
    used = booster.feature_importance("split", iteration=best)
    total = float(gain.sum()) or 1.0
    rows: list[dict[str, Any]] = [
        {
            "feature": feature,
            "shap_mean_abs": float(np.abs(shap[:, k]).mean()),
            "gain_share": float(gain[k]) / total,
            "splits": int(used[k]),
            "known_share": float((~np.isnan(parts[0].X[:, k])).mean()),
            "psi": psi(parts[0].X[:, k], newest.X[:, k]),
        }
        for k, feature in enumerate(features)
    ]
    return sorted(rows, key=lambda row: -row["shap_mean_abs"])[:FEATURES_SHOWN]
