"""Train a LightGBM model, calibrate it, measure it on later rows, and write its folder.

1. Split by time: the model learns from the oldest rows, stops and is calibrated on the next,
and is measured on the newest, which nothing before has seen. 2. Search, where asked for, inside the
rows to learn from. 3. Fit with a fixed seed and a fixed number of threads, so that the same rows
give the same model. 4. Compile the text and compare its scores with LightGBM's on every row to
measure on, bit for bit. 5. Write the folder with its card. Whatever fails before leaves none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from models.artifact import Training, save_model
from models.calibrate import PPM, Calibration, with_calibration
from models.errors import ModelError
from models.lightgbm_text import parse_lightgbm_text
from models.reference import make_reference
from models.score import score_rows
from models.tables import ModelTables
from models.train.card import CARD, make_card
from models.train.isotonic import fit_calibration
from models.train.metrics import Estimate, Metrics, measure
from models.train.search import search
from models.train.split import Part, check_columns, split
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


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A trained model: where it stands, what it is made of, how good it is on the test rows."""

    folder: Path
    sha256: str
    """Content address of the folder, which decisions name."""
    rows_train: int
    rows_calibrate: int
    rows_test: int
    rows_out_of_time: int
    """Newest rows, after those to test on; 0 where no fourth part was asked for."""
    test_from_ms: int
    """Time of the oldest test row."""
    rows_equal_lightgbm: int
    """Rows to measure on whose compiled raw score was compared with LightGBM's, and is the same."""
    trees: int
    features: int
    auc: Estimate
    auc_out_of_time: Estimate
    """On the out-of-time rows; where there are none, on the test rows, which are the newest."""
    ks: Estimate
    gini: Estimate
    brier: Estimate
    bad_rate: float
    """Share of bad test rows, 0 to 1, to set beside `mean_pd`."""
    mean_pd: float


def train(
    frame: pl.DataFrame,
    features: Sequence[str],
    *,
    label: str,
    time: str,
    name: str,
    folder: Path,
    definition_hashes: Mapping[str, str],
    fractions: Sequence[float] = (0.55, 0.15),
    boundaries_ms: Sequence[int] | None = None,
    categorical: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    rounds_max: int = 1000,
    stop_after_rounds: int = 50,
    tries: int = 0,
    seed: int = 1,
    threads: int = 2,
    lineage: Mapping[str, str] | None = None,
) -> TrainingResult:
    """Train a model on `frame` and write it to `folder`.

    `frame` has one row a request: `features` (numbers; null or NaN is missing), `label` (1 bad, 0
    good) and `time` (epoch milliseconds). `fractions` or `boundaries_ms` split it by time into
    three or four parts, as `models.train.split.split` tells. `parameters` go over PARAMETERS to
    LightGBM, `tries` draws of `models.train.search` over both. `lineage`: hashes of what the frame
    was made from, kept in the manifest. Raises ModelError where the frame cannot train a model, or
    where the model cannot be scored exactly.
    """
    check_columns(frame, features, categorical, label, time, definition_hashes)
    parts = split(frame, features, label, time, fractions, boundaries_ms)
    settings = {**PARAMETERS, **(parameters or {}), **_fixed(seed, threads)}
    booster, expected, tried = _learn(
        parts, features, categorical, settings, rounds_max, stop_after_rounds, tries, seed
    )
    text = booster.model_to_string(num_iteration=booster.best_iteration).encode()

    model = parse_lightgbm_text(folder / "model.txt", text)
    tables = compile_trees(model, range(len(features)))
    for part, scores in zip(parts[2:], expected, strict=True):
        _refuse_other_scores(folder, tables, part.X, scores)
    uncalibrated = with_calibration(tables, Calibration([-np.inf], [0]))
    calibration = fit_calibration(parts[1].bad, score_rows(uncalibrated, parts[1].X)[0][0])
    scored = [score_rows(with_calibration(tables, calibration), part.X) for part in parts]
    raw = [each[0][0] for each in scored]
    pd = [each[1][0] / PPM for each in scored]
    metrics = measure(parts[2].bad, raw[2], pd[2], seed)
    newest = metrics if len(parts) == 3 else measure(parts[3].bad, raw[3], pd[3], seed)
    sha256 = save_model(
        folder,
        name=name,
        kind="lightgbm",
        model=text,
        calibration=calibration,
        features={feature: definition_hashes[feature] for feature in features},
        training=_training(parts, metrics, newest, len(model.trees), seed),
        lineage=lineage,
        reference=make_reference(features, parts[0].X, raw[0]),
    )
    card = make_card(
        name=name, sha256=sha256, lineage=lineage or {}, settings=settings, tries=tried,
        features=features, parts=parts, raw=raw, pd=pd, booster=booster,
    )  # fmt: skip
    (folder / CARD).write_bytes(orjson.dumps(card, option=orjson.OPT_INDENT_2) + b"\n")
    return _result(
        folder, sha256, parts, sum(map(len, expected)), len(model.trees), len(features),
        metrics, newest, float(pd[2].mean()),
    )  # fmt: skip


def _fixed(seed: int, threads: int) -> dict[str, Any]:
    """Return the settings that make LightGBM give the same model from the same rows."""
    return {
        "seed": seed,
        "num_threads": threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }


def _learn(
    parts: Sequence[Part],
    features: Sequence[str],
    categorical: Sequence[str],
    settings: dict[str, Any],
    rounds_max: int,
    stop_after_rounds: int,
    tries: int,
    seed: int,
) -> tuple[lgb.Booster, list[NDArray[np.float64]], list[dict[str, Any]]]:
    """Return the model, its raw scores of the rows to measure on, and what a search came to.

    `settings` takes what the search has found.
    """
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
    return booster, expected, tried


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
        feature_name=list(features),
        categorical_feature=list(categorical),
        params=dict(settings),
    )
    check = data.create_valid(calibrate.X, calibrate.bad.astype(np.float64))
    stop = lgb.early_stopping(stop_after_rounds, first_metric_only=True, verbose=False)
    return lgb.train(dict(settings), data, rounds_max, valid_sets=[check], callbacks=[stop])


def _refuse_other_scores(
    folder: Path,
    tables: ModelTables,
    X: NDArray[np.float64],
    expected: NDArray[np.float64],
) -> None:
    """Refuse a model whose compiled scores of `X` are not LightGBM's, bit for bit."""
    raw, _ = score_rows(with_calibration(tables, Calibration([-np.inf], [0])), X)
    differing = int((raw[0].view(np.uint64) != expected.view(np.uint64)).sum())
    if differing:
        raise ModelError(
            f"{folder}: {differing} of {len(expected)} test scores differ from LightGBM's; "
            "do not use this model, and report it as a bug."
        )


def _training(
    parts: Sequence[Part], metrics: Metrics, out_of_time: Metrics, trees: int, seed: int
) -> Training:
    test, newest = parts[2], parts[-1]
    return Training(
        data_from_ms=int(parts[0].at_ms[0]),
        data_to_ms=int(newest.at_ms[-1]),
        test_from_ms=int(test.at_ms[0]),
        rows_train=len(parts[0].bad),
        rows_calibrate=len(parts[1].bad),
        rows_test=len(test.bad),
        rows_out_of_time=len(newest.bad) if len(parts) > 3 else 0,
        trees=trees,
        seed=seed,
        auc=metrics.auc.value,
        auc_interval=(metrics.auc.low, metrics.auc.high),
        auc_out_of_time=out_of_time.auc.value,
        ks=metrics.ks.value,
        ks_interval=(metrics.ks.low, metrics.ks.high),
        gini=metrics.gini.value,
        brier=metrics.brier.value,
        brier_interval=(metrics.brier.low, metrics.brier.high),
    )


def _result(
    folder: Path,
    sha256: str,
    parts: Sequence[Part],
    rows_equal: int,
    trees: int,
    features: int,
    metrics: Metrics,
    newest: Metrics,
    mean_pd: float,
) -> TrainingResult:
    return TrainingResult(
        folder=folder,
        sha256=sha256,
        rows_train=len(parts[0].bad),
        rows_calibrate=len(parts[1].bad),
        rows_test=len(parts[2].bad),
        rows_out_of_time=len(parts[3].bad) if len(parts) > 3 else 0,
        test_from_ms=int(parts[2].at_ms[0]),
        rows_equal_lightgbm=rows_equal,
        trees=trees,
        features=features,
        auc=metrics.auc,
        auc_out_of_time=newest.auc,
        ks=metrics.ks,
        gini=metrics.gini,
        brier=metrics.brier,
        bad_rate=float(parts[2].bad.mean()),
        mean_pd=mean_pd,
    )
