"""Train a LightGBM model, calibrate it, measure it on later rows, and write its folder.

1. Split by time: the model learns from the oldest rows, stops and is calibrated on the next,
and is measured on the newest, which nothing before has seen. 2. Fit with a fixed seed and a
fixed number of threads, so that the same rows give the same model. 3. Compile the text and
compare its scores with LightGBM's on every test row, bit for bit. 4. Write the folder. Whatever
fails before leaves none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.artifact import Training, save_model
from models.calibrate import PPM, Calibration, with_calibration
from models.errors import ModelError
from models.lightgbm_text import parse_lightgbm_text
from models.score import score_rows
from models.tables import ModelTables
from models.train.isotonic import fit_calibration
from models.train.metrics import Estimate, Metrics, measure
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
    test_from_ms: int
    """Time of the oldest test row."""
    rows_equal_lightgbm: int
    """Test rows whose compiled raw score was compared with LightGBM's and is the same float64."""
    trees: int
    features: int
    auc: Estimate
    ks: Estimate
    gini: Estimate
    brier: Estimate
    bad_rate: float
    """Share of bad test rows, 0 to 1, to set beside `mean_pd`."""
    mean_pd: float


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of one part of the split, oldest first."""

    X: NDArray[np.float64]
    bad: NDArray[np.bool_]
    at_ms: NDArray[np.int64]


def train(
    frame: pl.DataFrame,
    features: Sequence[str],
    *,
    label: str,
    time: str,
    name: str,
    folder: Path,
    definition_hashes: Mapping[str, str],
    fractions: tuple[float, float] = (0.55, 0.15),
    boundaries_ms: tuple[int, int] | None = None,
    categorical: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    rounds_max: int = 1000,
    stop_after_rounds: int = 50,
    seed: int = 1,
    threads: int = 2,
) -> TrainingResult:
    """Train a model on `frame` and write it to `folder`.

    `frame` has one row a request: `features` (numbers; null or NaN is missing), `label` (1 bad, 0
    good) and `time` (epoch milliseconds). Rows are split by time into train, calibrate and test: by
    `fractions` (train, calibrate; the rest is test) or at `boundaries_ms` (first time of calibrate,
    of test). `parameters` go over PARAMETERS to LightGBM. Raises ModelError where the frame cannot
    train a model, or where the model cannot be scored exactly.
    """
    _check_columns(frame, features, categorical, label, time, definition_hashes)
    parts = _split(frame, features, label, time, fractions, boundaries_ms)
    fixed = {
        "seed": seed,
        "num_threads": threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    settings = {**PARAMETERS, **(parameters or {}), **fixed}
    text, expected = _fit(parts, features, categorical, settings, rounds_max, stop_after_rounds)
    learn, calibrate, test = parts

    model = parse_lightgbm_text(folder / "model.txt", text)
    tables = compile_trees(model, range(len(features)))
    _refuse_other_scores(folder, tables, test.X, expected)
    uncalibrated = with_calibration(tables, Calibration([-np.inf], [0]))
    calibration = fit_calibration(calibrate.bad, score_rows(uncalibrated, calibrate.X)[0][0])
    raw, pd_ppm = score_rows(with_calibration(tables, calibration), test.X)
    pd = pd_ppm[0] / PPM
    metrics = measure(test.bad, raw[0], pd, seed)
    sha256 = save_model(
        folder,
        name=name,
        kind="lightgbm",
        model=text,
        calibration=calibration,
        features={feature: definition_hashes[feature] for feature in features},
        training=_training(parts, metrics, len(model.trees), seed),
    )
    return TrainingResult(
        folder=folder,
        sha256=sha256,
        rows_train=len(learn.bad),
        rows_calibrate=len(calibrate.bad),
        rows_test=len(test.bad),
        test_from_ms=int(test.at_ms[0]),
        rows_equal_lightgbm=len(expected),
        trees=len(model.trees),
        features=len(features),
        auc=metrics.auc,
        ks=metrics.ks,
        gini=metrics.gini,
        brier=metrics.brier,
        bad_rate=float(test.bad.mean()),
        mean_pd=float(pd.mean()),
    )


def _check_columns(
    frame: pl.DataFrame,
    features: Sequence[str],
    categorical: Sequence[str],
    label: str,
    time: str,
    definition_hashes: Mapping[str, str],
) -> None:
    if not features or len(set(features)) != len(features):
        raise ModelError("features: name at least one, each once.")
    for column in (*features, label, time):
        if column not in frame.columns:
            raise ModelError(f"frame: no column '{column}'; join it, or leave it out.")
    for feature in features:
        dtype = frame.schema[feature]
        if not (dtype.is_numeric() or dtype == pl.Boolean):
            raise ModelError(f"frame: feature '{feature}' is {dtype}; turn it into a number.")
        if feature not in definition_hashes:
            raise ModelError(f"features: '{feature}' is not in the catalog; add a row for it.")
    if unknown := set(categorical) - set(features):
        raise ModelError(f"categorical: '{min(unknown)}' is not among the features; add it there.")
    if {label, time} & set(features):
        raise ModelError("features: label and time cannot be features; leave them out.")


def _split(
    frame: pl.DataFrame,
    features: Sequence[str],
    label: str,
    time: str,
    fractions: tuple[float, float],
    boundaries_ms: tuple[int, int] | None,
) -> tuple[_Part, _Part, _Part]:
    if not frame.height:
        raise ModelError("frame: it has no rows; check the join with labels.")
    if not frame.schema[time].is_integer() or frame[time].null_count():
        raise ModelError(f"frame: '{time}' must be whole epoch milliseconds in every row.")
    frame = frame.sort(time, maintain_order=True)
    outcome = frame[label].cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    if not np.isin(outcome, [0.0, 1.0]).all():
        raise ModelError(f"frame: '{label}' must be 1 (bad) or 0 (good) in every row.")
    at_ms = frame[time].cast(pl.Int64).to_numpy()
    if boundaries_ms is None:
        learn, calibrate = fractions
        if not (learn > 0 and calibrate > 0 and learn + calibrate < 1):
            raise ModelError("fractions: train and calibrate must be above 0, together below 1.")
        cuts = [int(frame.height * share) for share in (learn, learn + calibrate)]
        # Rows of one time stay together: the later part takes them all.
        boundaries_ms = (int(at_ms[cuts[0]]), int(at_ms[cuts[1]]))
    first, second = (int(cut) for cut in np.searchsorted(at_ms, boundaries_ms))
    X = frame.select(pl.col(features).cast(pl.Float64).fill_null(float("nan"))).to_numpy()
    bad = outcome == 1.0
    parts = []
    for part, rows in (
        ("train", slice(0, first)),
        ("calibrate", slice(first, second)),
        ("test", slice(second, None)),
    ):
        if not 0 < bad[rows].sum() < len(bad[rows]):
            raise ModelError(
                f"frame: the {part} rows need good and bad ones; move the split or take more rows."
            )
        parts.append(_Part(np.ascontiguousarray(X[rows]), bad[rows], at_ms[rows]))
    return parts[0], parts[1], parts[2]


def _fit(
    parts: tuple[_Part, _Part, _Part],
    features: Sequence[str],
    categorical: Sequence[str],
    settings: Mapping[str, Any],
    rounds_max: int,
    stop_after_rounds: int,
) -> tuple[bytes, NDArray[np.float64]]:
    """Return the model's text, cut at its best round, and LightGBM's raw scores of test rows."""
    learn, calibrate, test = parts
    try:
        data = lgb.Dataset(
            learn.X,
            learn.bad.astype(np.float64),
            feature_name=list(features),
            categorical_feature=list(categorical),
            params=dict(settings),
        )
        check = data.create_valid(calibrate.X, calibrate.bad.astype(np.float64))
        stop = lgb.early_stopping(stop_after_rounds, first_metric_only=True, verbose=False)
        booster = lgb.train(dict(settings), data, rounds_max, valid_sets=[check], callbacks=[stop])
        text = booster.model_to_string(num_iteration=booster.best_iteration)
        raw = booster.predict(test.X, raw_score=True, num_iteration=booster.best_iteration)
    except (lgb.basic.LightGBMError, ValueError) as error:
        raise ModelError(f"lightgbm: {error}; change parameters or features.") from error
    return text.encode(), np.asarray(raw, np.float64)


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
    parts: tuple[_Part, _Part, _Part], metrics: Metrics, trees: int, seed: int
) -> Training:
    learn, calibrate, test = parts
    return Training(
        data_from_ms=int(learn.at_ms[0]),
        data_to_ms=int(test.at_ms[-1]),
        test_from_ms=int(test.at_ms[0]),
        rows_train=len(learn.bad),
        rows_calibrate=len(calibrate.bad),
        rows_test=len(test.bad),
        trees=trees,
        seed=seed,
        auc=metrics.auc.value,
        auc_interval=(metrics.auc.low, metrics.auc.high),
        ks=metrics.ks.value,
        ks_interval=(metrics.ks.low, metrics.ks.high),
        gini=metrics.gini.value,
        brier=metrics.brier.value,
        brier_interval=(metrics.brier.low, metrics.brier.high),
    )
