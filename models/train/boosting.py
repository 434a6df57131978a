"""Learn trees with LightGBM: with a fixed seed and number of threads, so that the same rows give
the same model.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.lean_lightgbm import lgb
from models.lightgbm_text import parse_lightgbm_text
from models.train.learnt import Learnt
from models.train.search import search
from models.train.split import Part
from models.trees import compile_trees

# Cautious: books of loans are small, and a credit model must not chase noise.
PARAMETERS: Mapping[str, Any] = {
    "objective": "binary",
    "metric": "binary_logloss",
    "learning_rate": 0.03,
    "num_leaves": 15,
    "min_data_in_leaf": 40,
    "lambda_l2": 5.0,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
}
SHAP_ROWS_MAX = 2_000


def learn_trees(
    parts: Sequence[Part],
    features: Sequence[str],
    categorical: Sequence[str],
    parameters: Mapping[str, Any],
    rounds_max: int,
    stop_after_rounds: int,
    tries: int,
    seed: int,
    threads: int,
) -> Learnt:
    """Learn from the first part, stop by the second; `parameters` go over PARAMETERS, and what
    `tries` draws of `models.train.search` find over both. Raises ModelError.
    """
    settings = {**PARAMETERS, **parameters, **_fixed(seed, threads)}
    try:
        found, tried = search(
            parts[0], features, categorical, settings, rounds_max, stop_after_rounds, tries, seed
        )
        settings |= found
        booster = _fit(parts, features, categorical, settings, rounds_max, stop_after_rounds)
        expected = [
            np.asarray(
                booster.predict(part.X, raw_score=True, num_iteration=booster.best_iteration),
                np.float64,
            )
            for part in parts[2:]
        ]
    except (lgb.basic.LightGBMError, ValueError) as error:
        raise ModelError(f"lightgbm: {error}; change parameters or features.") from error
    text = booster.model_to_string(num_iteration=booster.best_iteration).encode()
    model = parse_lightgbm_text(Path("model.txt"), text)
    return Learnt(
        kind="lightgbm",
        trainer="LightGBM",
        body=text,
        tables=compile_trees(model, range(len(features))),
        features=list(features),
        expected=expected,
        falls=False,
        trees=len(model.trees),
        settings=settings,
        tried=tried,
        drivers=_drivers(features, parts[-1].X, booster),
    )


def _fixed(seed: int, threads: int) -> dict[str, Any]:
    """Return the settings that make LightGBM give the same model from the same rows."""
    return {
        "seed": seed,
        "num_threads": threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }


def _fit(
    parts: Sequence[Part],
    features: Sequence[str],
    categorical: Sequence[str],
    settings: Mapping[str, Any],
    rounds_max: int,
    stop_after_rounds: int,
) -> lgb.Booster:
    """Return LightGBM's model, whose best round the calibration rows have found."""
    learn, calibrate = parts[:2]
    data = lgb.Dataset(
        learn.X,
        learn.bad.astype(np.float64),
        weight=learn.weights,
        feature_name=list(features),
        categorical_feature=list(categorical),
        params=dict(settings),
    )
    check = data.create_valid(calibrate.X, calibrate.bad.astype(np.float64))
    stop = lgb.early_stopping(stop_after_rounds, first_metric_only=True, verbose=False)
    return lgb.train(dict(settings), data, rounds_max, valid_sets=[check], callbacks=[stop])


def _drivers(
    features: Sequence[str], newest: NDArray[np.float64], booster: lgb.Booster
) -> list[dict[str, Any]]:
    picked = np.unique(np.linspace(0, len(newest) - 1, min(SHAP_ROWS_MAX, len(newest))).astype(int))
    best = booster.best_iteration
    shap = np.asarray(
        booster.predict(newest[picked], pred_contrib=True, num_iteration=best), np.float64
    )
    gain = booster.feature_importance("gain", iteration=best)
    used = booster.feature_importance("split", iteration=best)
    total = float(gain.sum()) or 1.0
    return [
        {
            "feature": feature,
            "shap_mean_abs": float(np.abs(shap[:, k]).mean()),
            "gain_share": float(gain[k]) / total,
            "splits": int(used[k]),
        }
        for k, feature in enumerate(features)
    ]
