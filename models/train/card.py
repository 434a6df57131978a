"""The model card: where a model comes from, how good it is on which rows, what drives it.

A dict of plain values, written as card.json beside the model. The manifest holds what a decision
depends on; the card is for people and reports.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.train.learnt import Learnt
from models.train.quality import psi, reliability, roc, summary
from models.train.split import PARTS, Part

CARD = "card.json"
FEATURES_SHOWN = 200


def make_card(
    *,
    name: str,
    sha256: str,
    lineage: Mapping[str, str],
    learnt: Learnt,
    features: Sequence[str],
    parts: Sequence[Part],
    raw: Sequence[NDArray[np.float64]],
    pd: Sequence[NDArray[np.float64]],
    inference: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return the card of a model: `raw` (higher is riskier) and `pd` (0 to 1) are its scores of
    each part's rows, `features` the columns of those; `inference` is what was assumed of declined
    requests.
    """
    measured = range(2, len(parts))
    judged = [np.concatenate([source[k] for k in measured]) for source in (raw, pd)]
    bad = np.concatenate([parts[k].bad for k in measured])
    at_ms = np.concatenate([parts[k].at_ms for k in measured])
    return {
        "name": name,
        "kind": learnt.kind,
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
        "features": _features(features, parts, learnt),
        "reject_inference": None if inference is None else dict(inference),
        "parameters": learnt.settings,
        "search": learnt.tried,
    }  # fmt: skip


def months(at_ms: NDArray[np.int64]) -> NDArray[np.str_]:
    """Return the month (YYYY-MM, UTC) of each time in epoch milliseconds."""
    return np.datetime_as_string(at_ms.astype("datetime64[ms]"), unit="M")


def _groups(values: NDArray[Any]) -> list[tuple[str, NDArray[np.int64]]]:
    return [(str(value), np.flatnonzero(values == value)) for value in np.unique(values)]


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(int(at_ms) / 1_000, UTC).date().isoformat()


def _features(
    features: Sequence[str], parts: Sequence[Part], learnt: Learnt
) -> list[dict[str, Any]]:
    """Return a row a feature, by mean absolute SHAP value on the newest rows, largest first."""
    places = {feature: place for place, feature in enumerate(features)}
    rows: list[dict[str, Any]] = []
    for driver in learnt.drivers:
        column = places[driver["feature"]]
        learn, newest = parts[0].X[:, column], parts[-1].X[:, column]
        known = float((~np.isnan(learn)).mean())
        rows.append({**driver, "known_share": known, "psi": psi(learn, newest)})
    return sorted(rows, key=lambda row: -row["shap_mean_abs"])[:FEATURES_SHOWN]
