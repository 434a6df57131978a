"""From a log and its labels to a model, as `dipper train` and a notebook do it."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from features.catalog import Catalog
from models.errors import ModelError
from models.train.dataset import (
    catalog_of,
    categorical,
    counted,
    dataset,
    labelled,
    monotone,
    trainable,
)
from models.train.fit import TrainingResult, train
from models.train.reject import declined_of
from streams import step
from streams.kernel_cache import code_hash


def train_on_log(
    events: str | Path,
    labels: Path | pl.DataFrame,
    config: Path,
    folder: Path,
    *,
    name: str,
    features: Path | Sequence[str] | None = None,
    side: str | None = None,
    as_of_ms: int | None = None,
    policies: bool = True,
    parameters: Mapping[str, Any] | None = None,
    reject_odds: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
    **split: Any,
) -> TrainingResult:
    """Replay `events` under `config`, train on the requests that `labels` know, write to `folder`.

    `features`: names, a file of names, or None for all that say something. `side`, `as_of_ms`,
    `policies` and `tell` as in `models.train.dataset.dataset`, `split` (kind, fractions or
    boundaries_ms, rounds_max, tries, seed ...) as in `models.train.fit.train`. The model is held to
    the catalog's hints on how risk moves with a feature. `reject_odds`: requests that nobody is
    known to have lent on teach too, by the assumption that `models.train.reject` names. Raises
    ModelError, and what a replay raises.
    """
    catalog = catalog_of(config)
    if isinstance(features, Path):
        features = read_features(features, catalog)
    whole = dataset(
        events,
        labels,
        config,
        side=side,
        as_of_ms=as_of_ms,
        policies=policies,
        every=True,
        tell=tell,
    )
    frame = labelled(whole)
    names = trainable(frame, catalog) if features is None else list(features)
    declined = None
    if reject_odds is not None:
        declined = declined_of(whole, names, "at", reject_odds)
    return train(
        frame,
        names,
        label="bad",
        time="at",
        name=name,
        folder=folder,
        definition_hashes=catalog.definition_hashes,
        categorical=categorical(catalog, names),
        monotone=monotone(catalog, names),
        parameters=parameters,
        lineage=lineage_of(events, labels, catalog, config) | {"rows_by_label": counted(whole)},
        declined=declined,
        **split,
    )


def lineage_of(
    events: str | Path, labels: Path | pl.DataFrame, catalog: Catalog, config: Path
) -> dict[str, str]:
    """Return the sha256 of events, labels, catalog, deployment and code; of a topic its address."""
    path = Path(events)
    kept: dict[str, str] = {"catalog": catalog.sha256, "code": code_hash(Path(step.__file__))}
    kept["events"] = _file_hash(path) if path.is_file() else str(events)
    if isinstance(labels, Path):
        kept["labels"] = _file_hash(labels)
    kept["platform"] = _file_hash(config / "platform.toml")
    return kept


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_features(path: Path, catalog: Catalog) -> list[str]:
    """Return the features that a file names, a name a line, in catalog order.

    Blank lines and what follows a # say nothing. Raises ModelError with the line of an unknown
    name.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); name a file of names.") from error
    named = set()
    for number, line in enumerate(lines, 1):
        name = line.partition("#")[0].strip()
        if name and name not in catalog.columns:
            raise ModelError(f"{path}:{number}: no feature '{name}' in the catalog; correct it.")
        named.add(name)
    return [name for name in catalog.columns if name in named]
