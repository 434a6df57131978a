"""Train a model, calibrate it, measure it on later rows, and write its folder.

1. Split by time: the model learns from the oldest rows, stops and is calibrated on the next,
and is measured on the newest, which nothing before has seen. 2. Search, where asked for, inside the
rows to learn from. 3. Fit trees (LightGBM) or a scorecard (optbinning), so that the same rows give
the same model. 4. Compile it and compare its scores with the library's own on every row to measure
on, bit for bit. 5. Write the folder with its card. Whatever fails before leaves none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from models.artifact import Training, save_model
from models.calibrate import PPM, Calibration, with_calibration
from models.errors import ModelError
from models.reference import make_reference
from models.score import score_rows
from models.train.boosting import learn_trees
from models.train.card import CARD, make_card
from models.train.isotonic import fit_calibration
from models.train.learnt import Kind, Learnt
from models.train.metrics import Estimate, Metrics, measure
from models.train.points import learn_scorecard
from models.train.split import Part, check_columns, split


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
    trainer: str
    """The library that trained it: LightGBM or optbinning."""
    rows_equal_trained: int
    """Rows to measure on whose compiled raw score was compared with the library's own, and is the
    same."""
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
    kind: Kind = "lightgbm",
    fractions: Sequence[float] = (0.55, 0.15),
    boundaries_ms: Sequence[int] | None = None,
    categorical: Sequence[str] = (),
    monotone: Sequence[int] | None = None,
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
    three or four parts, as `models.train.split.split` tells. `monotone`: per feature 1 where risk
    rises with it, -1 where it falls, 0 free. Of trees alone: `parameters` go over those of
    `models.train.boosting` to LightGBM, `tries` draws of `models.train.search` over both.
    `lineage`: hashes of what the frame was made from, kept in the manifest. Raises ModelError where
    the frame cannot train a model, or where the model cannot be scored exactly.
    """
    check_columns(frame, features, categorical, label, time, definition_hashes)
    parts = split(frame, features, label, time, fractions, boundaries_ms)
    if kind == "scorecard":
        learnt = learn_scorecard(parts, features, categorical, monotone or [0] * len(features))
    else:
        held = {} if monotone is None else {"monotone_constraints": list(monotone)}
        learnt = learn_trees(
            parts, features, categorical, {**held, **(parameters or {})}, rounds_max,
            stop_after_rounds, tries, seed, threads,
        )  # fmt: skip
    for part, scores in zip(parts[2:], learnt.expected, strict=True):
        _refuse_other_scores(folder, learnt, part.X, scores)
    uncalibrated = with_calibration(learnt.tables, Calibration([-np.inf], [0]))
    calibration = fit_calibration(
        parts[1].bad, score_rows(uncalibrated, parts[1].X)[0][0], falls=learnt.falls
    )
    tables = with_calibration(learnt.tables, calibration)
    scored = [score_rows(tables, part.X) for part in parts]
    raw = [learnt.risk(each[0][0]) for each in scored]
    pd = [each[1][0] / PPM for each in scored]
    metrics = measure(parts[2].bad, raw[2], pd[2], seed)
    newest = metrics if len(parts) == 3 else measure(parts[3].bad, raw[3], pd[3], seed)
    read = [list(features).index(name) for name in learnt.features]
    sha256 = save_model(
        folder,
        name=name,
        kind=kind,
        model=learnt.body,
        calibration=calibration,
        features={feature: definition_hashes[feature] for feature in learnt.features},
        training=_training(parts, metrics, newest, learnt.trees, seed),
        lineage=lineage,
        reference=make_reference(learnt.features, parts[0].X[:, read], scored[0][0][0]),
    )
    card = make_card(
        name=name, sha256=sha256, lineage=lineage or {}, learnt=learnt, features=features,
        parts=parts, raw=raw, pd=pd,
    )  # fmt: skip
    (folder / CARD).write_bytes(orjson.dumps(card, option=orjson.OPT_INDENT_2) + b"\n")
    return _result(folder, sha256, parts, learnt, metrics, newest, float(pd[2].mean()))


def _refuse_other_scores(
    folder: Path,
    learnt: Learnt,
    X: NDArray[np.float64],
    expected: NDArray[np.float64],
) -> None:
    """Refuse a model whose compiled scores of `X` are not its trainer's, bit for bit."""
    raw, _ = score_rows(with_calibration(learnt.tables, Calibration([-np.inf], [0])), X)
    differing = int((raw[0].view(np.uint64) != expected.view(np.uint64)).sum())
    if differing:
        raise ModelError(
            f"{folder}: {differing} of {len(expected)} test scores differ from {learnt.trainer}'s; "
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
    learnt: Learnt,
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
        trainer=learnt.trainer,
        rows_equal_trained=sum(map(len, learnt.expected)),
        trees=learnt.trees,
        features=len(learnt.features),
        auc=metrics.auc,
        auc_out_of_time=newest.auc,
        ks=metrics.ks,
        gini=metrics.gini,
        brier=metrics.brier,
        bad_rate=float(parts[2].bad.mean()),
        mean_pd=mean_pd,
    )
