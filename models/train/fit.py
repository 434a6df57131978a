"""Train a model, calibrate it, measure it on later rows, and write its folder.

1. Split by time: the model learns from the oldest rows, stops and is calibrated on the next,
and is measured on the newest, which nothing before has seen. 2. Search, where asked for, inside the
rows to learn from. 3. Fit trees (LightGBM) or a scorecard (optbinning), so that the same rows give
the same model; again with declined requests, where reject inference is asked for. 4. Compile it and
compare its scores with the library's own on every row to measure on, bit for bit. 5. Write the
folder with its card. Whatever fails before leaves none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from models.artifact import Training, save_model
from models.calibrate import PPM, Calibration, with_calibration
from models.errors import ModelError
from models.reference import make_reference
from models.score import score_rows
from models.tables import ModelTables
from models.train.boosting import learn_trees
from models.train.card import CARD, make_card
from models.train.isotonic import fit_calibration
from models.train.learnt import Kind, Learnt
from models.train.metrics import Estimate, Metrics, measure
from models.train.points import learn_scorecard
from models.train.reject import Declined, join_declined, told
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
    inference: Mapping[str, Any] | None
    """What the card says of reject inference, None where it was not asked for."""


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
    declined: Declined | None = None,
) -> TrainingResult:
    """Train a model on `frame` and write it to `folder`.

    `frame` has one row a request: `features` (numbers; null or NaN is missing), `label` (1 bad, 0
    good) and `time` (epoch milliseconds). `fractions` or `boundaries_ms` split it by time into
    three or four parts, as `models.train.split.split` tells. `monotone`: per feature 1 where risk
    rises with it, -1 where it falls, 0 free. Of trees alone: `parameters` go over those of
    `models.train.boosting` to LightGBM, `tries` draws of `models.train.search` over both.
    `lineage`: hashes of what the frame was made from, kept in the manifest. `declined`: requests
    without an outcome that are to teach too, as `models.train.reject` tells. Raises ModelError
    where the frame cannot train a model, or where the model cannot be scored exactly.
    """
    check_columns(frame, features, categorical, label, time, definition_hashes)
    parts = split(frame, features, label, time, fractions, boundaries_ms)
    options = _Options(
        kind, features, categorical, monotone, dict(parameters or {}), rounds_max,
        stop_after_rounds, tries, seed, threads,
    )  # fmt: skip
    fitted = _fit(parts, options, folder)
    lineage, inference = dict(lineage or {}), None
    if declined is not None:
        fitted, inference = _infer(parts, declined, fitted, options, folder)
        lineage["reject_inference"] = f"{inference['rows']} rows, {inference['assumption']}"
    learnt, raw, pd = fitted.learnt, fitted.raw, fitted.pd
    metrics = measure(parts[2].bad, raw[2], pd[2], seed)
    newest = metrics if len(parts) == 3 else measure(parts[3].bad, raw[3], pd[3], seed)
    read = [list(features).index(name) for name in learnt.features]
    sha256 = save_model(
        folder,
        name=name,
        kind=kind,
        model=learnt.body,
        calibration=fitted.calibration,
        features={feature: definition_hashes[feature] for feature in learnt.features},
        training=_training(parts, metrics, newest, learnt.trees, seed),
        lineage=lineage or None,
        reference=make_reference(learnt.features, parts[0].X[:, read], fitted.scores[0]),
    )
    card = make_card(
        name=name, sha256=sha256, lineage=lineage, learnt=learnt, features=features,
        parts=parts, raw=raw, pd=pd, inference=inference,
    )  # fmt: skip
    (folder / CARD).write_bytes(orjson.dumps(card, option=orjson.OPT_INDENT_2) + b"\n")
    return _result(folder, sha256, parts, learnt, metrics, newest, float(pd[2].mean()), inference)


class _Options(NamedTuple):
    """What is asked of a trainer, as `train` tells."""

    kind: Kind
    features: Sequence[str]
    categorical: Sequence[str]
    monotone: Sequence[int] | None
    parameters: dict[str, Any]
    rounds_max: int
    stop_after_rounds: int
    tries: int
    seed: int
    threads: int


class _Fitted(NamedTuple):
    """A calibrated model and, of each part, its scores, its risk (rising) and its PD in 0..1."""

    learnt: Learnt
    calibration: Calibration
    tables: ModelTables
    scores: list[NDArray[np.float64]]
    raw: list[NDArray[np.float64]]
    pd: list[NDArray[np.float64]]


def _fit(
    parts: Sequence[Part], options: _Options, folder: Path, joined: Sequence[Part] | None = None
) -> _Fitted:
    """Learn and calibrate. `joined` stand for the first two parts to learn from and to calibrate
    on; to stop by and to measure on are those of `parts`.
    """
    own = joined or parts[:2]
    to_learn = [own[0], *parts[1:]]
    if options.kind == "scorecard":
        free = [0] * len(options.features)
        learnt = learn_scorecard(
            to_learn, options.features, options.categorical, options.monotone or free
        )
    else:
        held = {} if options.monotone is None else {"monotone_constraints": list(options.monotone)}
        learnt = learn_trees(
            to_learn, options.features, options.categorical, {**held, **options.parameters},
            options.rounds_max, options.stop_after_rounds, options.tries, options.seed,
            options.threads,
        )  # fmt: skip
    for part, expected in zip(parts[2:], learnt.expected, strict=True):
        _refuse_other_scores(folder, learnt, part.X, expected)
    uncalibrated = with_calibration(learnt.tables, Calibration([-np.inf], [0]))
    calibration = fit_calibration(
        own[1].bad,
        score_rows(uncalibrated, own[1].X)[0][0],
        own[1].weights,
        falls=learnt.falls,
    )
    tables = with_calibration(learnt.tables, calibration)
    scored = [score_rows(tables, part.X) for part in parts]
    scores = [each[0][0] for each in scored]
    return _Fitted(
        learnt,
        calibration,
        tables,
        scores,
        [learnt.risk(each) for each in scores],
        [each[1][0] / PPM for each in scored],
    )


def _infer(
    parts: Sequence[Part], declined: Declined, first: _Fitted, options: _Options, folder: Path
) -> tuple[_Fitted, dict[str, Any]]:
    """Learn again with the declined requests; what `first` has found in a search stays."""
    pd = score_rows(first.tables, declined.X)[1][0] / PPM
    joined = join_declined(parts, declined, pd)
    again = options._replace(tries=0)
    if options.kind == "lightgbm":
        again = again._replace(parameters=first.learnt.settings)
    fitted = _fit(parts, again, folder, joined)
    fitted = fitted._replace(learnt=fitted.learnt._replace(tried=first.learnt.tried))
    scores = [
        (np.concatenate(each.raw[2:]), np.concatenate(each.pd[2:])) for each in (fitted, first)
    ]
    return fitted, told(declined, joined, pd, parts[2:], scores, options.seed)


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
    inference: Mapping[str, Any] | None,
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
        inference=inference,
    )
