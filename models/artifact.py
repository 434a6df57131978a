"""A model on disk: a folder with a manifest, the model itself and its calibration; loaded or
refused.

    manifest.json     name, kind, hash of each file, features with definition hashes, training
    model.txt         LightGBM's text model           (kind "lightgbm")
    scorecard.csv     points per bin                  (kind "scorecard")
    calibration.csv   raw score → probability of default
    reference.json    how features and score lay at training (optional), to watch drift by

The sha256 of the manifest addresses the whole, since it holds the hashes of the other files.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.calibrate import Calibration, parse_calibration, render_calibration, with_calibration
from models.errors import ModelError
from models.lightgbm_text import parse_lightgbm_text
from models.reference import Reference, parse_reference, render_reference
from models.scorecard import compile_scorecard, parse_scorecard
from models.tables import ModelTables, join_models
from models.trees import compile_trees

MANIFEST = "manifest.json"
CALIBRATION = "calibration.csv"
REFERENCE = "reference.json"
MODEL_FILES = {"lightgbm": "model.txt", "scorecard": "scorecard.csv"}

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Feature(_Strict):
    """A feature that the model reads, bound to the definition it was trained on."""

    name: str = Field(min_length=1)
    definition_hash: str


class Training(_Strict):
    """Where a trained model comes from and how good it was on rows later than those it learnt from.

    Times are event times in epoch milliseconds, [from, to]; no wall-clock time, so that the same
    data and seed give the same folder. Ratios are 0 to 1; intervals hold with 95 %.
    """

    data_from_ms: int
    data_to_ms: int
    test_from_ms: int
    rows_train: int
    rows_calibrate: int
    rows_test: int
    rows_out_of_time: int = 0
    trees: int
    seed: int
    auc: float
    auc_interval: tuple[float, float]
    auc_out_of_time: float | None = None
    ks: float
    ks_interval: tuple[float, float]
    gini: float
    brier: float
    brier_interval: tuple[float, float]


class Manifest(_Strict):
    """`manifest.json`, checked."""

    name: Name
    kind: Literal["lightgbm", "scorecard"]
    created_by: str
    files: dict[str, Sha256]
    features: tuple[Feature, ...]
    training: Training | None = None
    lineage: dict[str, str] | None = None
    """Hashes of what it was trained on: events, labels, catalog, code."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a decision and a report say of a loaded model; its index is its row in `raw`."""

    name: str
    kind: str
    sha256: str
    features: tuple[str, ...]
    folder: Path
    reference: Reference | None = None


def load_models(
    folders: Sequence[Path], columns: Mapping[str, int], definition_hashes: Mapping[str, str]
) -> tuple[ModelTables, list[ModelInfo]]:
    """Load the models in `folders`, in that order, into one set of tables; all or none.

    `columns` gives each catalog feature its row in `vectors`, `definition_hashes` its present
    definition. Raises ModelError with file, line and remedy on the first thing that is wrong.
    """
    parts: list[ModelTables] = []
    infos: list[ModelInfo] = []
    for folder in folders:
        tables, info = _load_model(folder, columns, definition_hashes)
        if any(info.name == other.name for other in infos):
            raise ModelError(f"{folder / MANIFEST}: a second model '{info.name}'; rename one.")
        parts.append(tables)
        infos.append(info)
    return join_models(parts), infos


def save_model(
    folder: Path,
    *,
    name: str,
    kind: Literal["lightgbm", "scorecard"],
    model: bytes,
    calibration: Calibration,
    features: Mapping[str, str],
    training: Training | None = None,
    lineage: Mapping[str, str] | None = None,
    reference: Reference | None = None,
) -> str:
    """Write a model folder and return its content address (hex sha256 of the manifest).

    `features` maps each feature, in the model's order, to its definition hash. The manifest comes
    last: whatever is interrupted before leaves a folder that `load_models` refuses.
    """
    bodies = {MODEL_FILES[kind]: model, CALIBRATION: render_calibration(calibration)}
    if reference is not None:
        bodies[REFERENCE] = render_reference(reference)
    try:
        manifest = Manifest(
            name=name,
            kind=kind,
            created_by=f"dipper {version('dipper')}",
            files={file: hashlib.sha256(body).hexdigest() for file, body in bodies.items()},
            features=tuple(
                Feature(name=feature, definition_hash=definition)
                for feature, definition in features.items()
            ),
            training=training,
            lineage=None if lineage is None else dict(lineage),
        )
    except ValidationError as error:
        raise _invalid(folder / MANIFEST, error) from error
    folder.mkdir(parents=True, exist_ok=True)
    for file, body in bodies.items():
        (folder / file).write_bytes(body)
    data = manifest.model_dump_json(indent=2).encode() + b"\n"
    (folder / MANIFEST).write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def _load_model(
    folder: Path, columns: Mapping[str, int], definition_hashes: Mapping[str, str]
) -> tuple[ModelTables, ModelInfo]:
    path = folder / MANIFEST
    data = _read(path)
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise _invalid(path, error) from error
    body_file = MODEL_FILES[manifest.kind]
    if set(manifest.files) - {REFERENCE} != {body_file, CALIBRATION}:
        raise ModelError(f"{path}: 'files' must be {body_file} and {CALIBRATION}; save it again.")
    body, calibration_body = (
        _read_checked(path, folder / file, manifest.files[file])
        for file in (body_file, CALIBRATION)
    )
    places = [_column(path, feature, columns, definition_hashes) for feature in manifest.features]
    names = tuple(feature.name for feature in manifest.features)
    tables = _compile(manifest.kind, folder / body_file, body, names, places)
    calibration = parse_calibration(folder / CALIBRATION, calibration_body)
    address = hashlib.sha256(data).hexdigest()
    reference = None
    if REFERENCE in manifest.files:
        stored = _read_checked(path, folder / REFERENCE, manifest.files[REFERENCE])
        reference = parse_reference(folder / REFERENCE, stored)
    info = ModelInfo(manifest.name, manifest.kind, address, names, folder, reference)
    return with_calibration(tables, calibration), info


def _compile(
    kind: str, path: Path, body: bytes, names: tuple[str, ...], places: list[int]
) -> ModelTables:
    if kind == "lightgbm":
        model = parse_lightgbm_text(path, body)
        _same_features(path, names, tuple(model.feature_names))
        return compile_trees(model, places)
    card = parse_scorecard(path, body)
    _same_features(path, names, tuple(feature.name for feature in card))
    return compile_scorecard(card, places)


def _same_features(path: Path, manifest: tuple[str, ...], model: tuple[str, ...]) -> None:
    if manifest != model:
        raise ModelError(f"{path}: its features are not those of {MANIFEST}; save both together.")


def _column(
    path: Path, feature: Feature, columns: Mapping[str, int], definition_hashes: Mapping[str, str]
) -> int:
    if feature.name not in columns or feature.name not in definition_hashes:
        raise ModelError(f"{path}: no feature '{feature.name}' in the catalog; add it or retrain.")
    if definition_hashes[feature.name] != feature.definition_hash:
        raise ModelError(
            f"{path}: '{feature.name}' is defined otherwise than when the model was trained; "
            "restore its catalog row under this name or retrain."
        )
    return columns[feature.name]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); put it there.") from error


def _read_checked(manifest: Path, path: Path, sha256: str) -> bytes:
    data = _read(path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ModelError(
            f"{path}: its sha256 is not that in {manifest.name}; copy the folder again."
        )
    return data


def _invalid(path: Path, error: ValidationError) -> ModelError:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the file"
    return ModelError(f"{path}: {where}: {first['msg']}; save the model again.")


def add_reference(folder: Path, reference: Reference) -> str:
    """Pin a reference to a model that is stored already; return its new content address.

    The manifest names what it refers to, so the address changes and every decision shows it. Raises
    ModelError where the folder holds no model.
    """
    path = folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(_read(path))
    except ValidationError as error:
        raise _invalid(path, error) from error
    body = render_reference(reference)
    files = {**manifest.files, REFERENCE: hashlib.sha256(body).hexdigest()}
    (folder / REFERENCE).write_bytes(body)
    data = manifest.model_copy(update={"files": files}).model_dump_json(indent=2).encode() + b"\n"
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()
