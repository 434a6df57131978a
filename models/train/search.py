"""A small seeded search for LightGBM's parameters, inside the rows to learn from.

1. Draw settings from SPACE. 2. Learn each on the older three quarters of the training rows, stop
and judge it on the newest quarter. Rows for calibration and test are not looked at.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.lean_lightgbm import lgb
from models.train.split import Part

SPACE: Mapping[str, Sequence[Any]] = {
    "num_leaves": (7, 15, 31),
    "min_data_in_leaf": (20, 40, 80, 160),
    "lambda_l2": (0.0, 5.0, 20.0),
    "feature_fraction": (0.5, 0.7, 0.9),
}
OLDER_SHARE = 0.75


def search(
    learn: Part,
    features: Sequence[str],
    categorical: Sequence[str],
    settings: Mapping[str, Any],
    rounds_max: int,
    stop_after_rounds: int,
    tries: int,
    seed: int,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the best of `tries` draws and what each came to (`log_loss` on the newest quarter).

    The settings as given are the first try, so a search never ends below them by its own measure.
    Nothing is tried where the newest quarter has one outcome only.
    """
    cut = int(len(learn.bad) * OLDER_SHARE)
    newest = learn.bad[cut:]
    if tries < 1 or not 0 < newest.sum() < len(newest) or not 0 < learn.bad[:cut].sum() < cut:
        return {}, []
    rng = np.random.default_rng([seed, 7])
    draws: list[dict[str, Any]] = [{}]
    draws += [
        {name: values[int(rng.integers(len(values)))] for name, values in SPACE.items()}
        for _ in range(tries - 1)
    ]
    told = []
    for draw in draws:
        loss, rounds = _try(
            learn.X, learn.bad, cut, features, categorical, {**settings, **draw},
            rounds_max, stop_after_rounds,
        )  # fmt: skip
        told.append({**draw, "trees": rounds, "log_loss": loss})
    best = min(range(len(draws)), key=lambda k: told[k]["log_loss"])
    return draws[best], told


def _try(
    X: NDArray[np.float64],
    bad: NDArray[np.bool_],
    cut: int,
    features: Sequence[str],
    categorical: Sequence[str],
    settings: Mapping[str, Any],
    rounds_max: int,
    stop_after_rounds: int,
) -> tuple[float, int]:
    data = lgb.Dataset(
        X[:cut],
        bad[:cut].astype(np.float64),
        feature_name=list(features),
        categorical_feature=list(categorical),
        params=dict(settings),
    )
    check = data.create_valid(X[cut:], bad[cut:].astype(np.float64))
    stop = lgb.early_stopping(stop_after_rounds, first_metric_only=True, verbose=False)
    booster = lgb.train(dict(settings), data, rounds_max, valid_sets=[check], callbacks=[stop])
    return float(booster.best_score["valid_0"]["binary_logloss"]), int(booster.best_iteration)
