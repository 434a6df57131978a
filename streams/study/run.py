"""Answer a question about two policies, as the command and a notebook ask it."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from models.errors import ModelError
from models.policy.errors import PolicyError
from models.train.dataset import read_labels
from streams.config import load_deployment
from streams.errors import DipperError
from streams.replay import Progress
from streams.study.compare import Comparison, Mode, compare, replay_to_files
from streams.study.deployments import deployment_folder
from streams.study.grid import Cell, parse_cells
from streams.study.money import Economics, parse_economics
from streams.study.page import render
from streams.study.recorded import read_recorded
from streams.study.scope import SCOPES, feature_column, feature_value, holds, split_scope
from streams.study.sections import event_file, report_figures
from streams.study.told import summarise
from streams.study.written import (
    Beside,
    report_beside,
    scoped_beside,
    set_beside,
    summarise_beside,
)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked; fields are the options of `dipper replay`."""

    source: str
    policy: Path
    against: str
    config: Path | None = None
    models: tuple[Path, ...] = ()
    mode: str = "frozen"
    labels: Path | None = None
    report: Path | None = None
    what_if: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    economics: str = ""
    partitions: int | None = None


def study(
    question: Question, *, on_progress: Callable[[Progress], None] = lambda _: None
) -> dict[str, Any]:
    """Replay, compare, write the report where one is asked for, and return the figures.

    Raises DipperError, one sentence with the remedy, for whatever is wrong with what was given.
    """
    try:
        cells, economics = _settings(question)
        comparison = ask(question, on_progress=on_progress)
        if question.report is None:
            return summarise(comparison, cells, economics)
        figures = report_figures(
            comparison,
            names=(str(question.policy), question.against),
            economics=economics,
            groups=question.groups,
            events=event_file(question.source),
            cells=cells,
        )
        return _written(question.report, figures)
    except (PolicyError, ModelError) as error:
        raise DipperError(str(error)) from error


def study_beside(
    question: Question, *, on_progress: Callable[[Progress], None] = lambda _: None
) -> tuple[Beside, dict[str, Any]]:
    """Do as `study` where `question.against` names decisions that were written before; return the
    two sides too.
    """
    try:
        cells, economics = _settings(question)
        labels = None if question.labels is None else read_labels(question.labels)
        before = read_recorded(question.against, question.source)
        with deployment_folder(question.policy, question.config) as folder:
            # All columns, as a study of two policies: a group may be of one no policy reads.
            deployment = load_deployment(folder, features="all")
            result = replay_to_files(question.source, deployment, question.partitions, on_progress)
        beside = scoped_beside(set_beside(before, result, question.source, labels), question.scope)
        if question.report is None:
            return beside, summarise_beside(beside, cells, economics)
        figures = report_beside(
            beside,
            names=(question.against, str(question.policy)),
            economics=economics,
            groups=question.groups,
            events=event_file(question.source),
            cells=cells,
        )
        return beside, _written(question.report, figures)
    except (PolicyError, ModelError) as error:
        raise DipperError(str(error)) from error


def ask(
    question: Question, *, on_progress: Callable[[Progress], None] = lambda _: None
) -> Comparison:
    """Return the comparison, cut to the scope that was asked for."""
    labels = None if question.labels is None else read_labels(question.labels)
    with ExitStack() as stack:
        first = stack.enter_context(deployment_folder(question.policy, question.config))
        base = question.config or first
        second = stack.enter_context(
            deployment_folder(Path(question.against), base, question.models)
        )
        comparison = compare(
            question.source,
            first,
            second,
            mode=Mode(question.mode),
            labels=labels,
            partitions=question.partitions,
            on_progress=on_progress,
        )
    return scoped(comparison, question.scope)


def _settings(question: Question) -> tuple[tuple[Cell, ...], Economics]:
    """Return cells and economics; DipperError where they, or the report's place, are wrong."""
    cells, economics = parse_cells(question.what_if), parse_economics(question.economics)
    if question.report is not None and not question.report.parent.is_dir():
        raise DipperError(f"{question.report}: there is no folder {question.report.parent}")
    return cells, economics


def _written(report: Path, figures: dict[str, Any]) -> dict[str, Any]:
    """Write the page; return its summary, and where it stands."""
    page = render(figures).encode()
    report.write_bytes(page)
    return {**figures["summary"], "report": str(report), "report_bytes": len(page)}


def scoped(comparison: Comparison, scope: tuple[str, ...]) -> Comparison:
    """Keep the requests that every `name=value` of `scope` holds for."""
    keep = comparison.rows["same"].is_not_null() if scope else None
    for name, value in split_scope(scope):
        assert keep is not None
        keep &= _holds(comparison, name, value)
    if keep is None:
        return comparison
    if not keep.any():
        raise DipperError(f"--scope {' '.join(scope)}: no request of the log is in it; widen it")
    return comparison.only(keep)


def _holds(comparison: Comparison, name: str, value: str) -> pl.Series:
    if name in SCOPES:
        return holds(comparison.rows, name, value, ("a_institution", "b_institution"))
    own = comparison.panel.deployment
    wanted = feature_value(own, name, value)
    return pl.Series(comparison.panel.rows["features"][:, feature_column(own, name)] == wanted)
