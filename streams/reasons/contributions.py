"""How much each feature raised one score: exact SHAP of trees, points lost of a scorecard.

LightGBM's own `pred_contrib` (Lundberg et al., 2018) divides a raw score into a part a feature and
a base; a scorecard's part is what its bin lacks to the best one. Both are checked against the score
that was used: their sum must be it.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from models.artifact import MODEL_FILES, ModelInfo
from models.lean_lightgbm import lgb
from models.scorecard import CardFeature, parse_scorecard
from streams.deployment import Deployment
from streams.errors import DipperError

_TOLERANCE = 1e-6  # of a sum of doubles in another order

Contributions = Mapping[str, float]
"""By feature; positive raises the risk. In units of the raw score."""

Explainer = Callable[[Mapping[str, float], float], Contributions]
"""From features by name (NaN: missing) and the raw score that was used."""


def make_explainer(deployment: Deployment, model: int) -> Explainer:
    """Return the explainer of a model of the deployment, read once from its folder."""
    info = deployment.model_infos[model]
    sign = _sign(deployment, model)
    if info.kind == "lightgbm":
        return _trees(info, sign)
    path = info.folder / MODEL_FILES[info.kind]
    return _card(info, parse_scorecard(path, path.read_bytes()), sign)


def _sign(deployment: Deployment, model: int) -> int:
    """Return 1 where the risk rises with the raw score, -1 where it falls."""
    row = deployment.models.models[model]
    steps = deployment.models.step_pd_ppm[int(row["step_start"]) : int(row["step_stop"])]
    return -1 if steps[-1] < steps[0] else 1


def _trees(info: ModelInfo, sign: int) -> Explainer:
    booster = lgb.Booster(model_file=str(info.folder / MODEL_FILES["lightgbm"]))

    def explain(features: Mapping[str, float], raw: float) -> Contributions:
        row = np.array([[features[name] for name in info.features]], np.float64)
        parts = np.asarray(booster.predict(row, pred_contrib=True))[0]
        _agree(info.folder, float(parts.sum()), raw)
        return {
            name: sign * float(part) for name, part in zip(info.features, parts[:-1], strict=True)
        }

    return explain


def _card(info: ModelInfo, card: list[CardFeature], sign: int) -> Explainer:
    def explain(features: Mapping[str, float], raw: float) -> Contributions:
        points = {each.name: _points(each, features[each.name]) for each in card}
        _agree(info.folder, sum(points.values()), raw)
        return {
            each.name: float(
                sign * points[each.name]
                - min(sign * p for p in (each.missing_points, *each.points))
            )
            for each in card
        }

    return explain


def _points(feature: CardFeature, value: float) -> int:
    if math.isnan(value):
        return feature.missing_points
    return feature.points[bisect_right(feature.starts, value) - 1]


def _agree(folder: Path, total: float, raw: float) -> None:
    if not abs(total - raw) <= _TOLERANCE * max(1.0, abs(raw)):
        raise DipperError(
            f"{folder} gives a score of {total:.9g}, the evidence says {raw:.9g}; take the model"
            " that decided"
        )
