"""Read a `--config DIR` once into a frozen `Deployment`: all that can change an output byte, with
its hash.

The folder: `platform.toml`, `catalog.toml` (optional), `models/<name>/`, `institutions/<id>/`,
`keys/control.pub`. Nothing is half loaded: whatever is wrong raises one sentence with file, line
and remedy.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from features.catalog import Catalog, load_catalog, narrow
from models.artifact import ModelInfo, load_models
from models.policy.documents import suggestion
from models.policy.loader import load_policies, read_policies
from models.policy.platform import Institution, Platform, load_institutions, load_platform
from models.policy.policies import CatalogColumn, Policies
from models.policy.tables import columns_read
from models.tables import renumber_columns
from streams.codec.symbols import (
    Vocabulary,
    make_entries,
    make_fields,
    make_symbols,
)
from streams.control.keys import trusted_bytes
from streams.deployment import Deployment
from streams.funding.segments import check_budgets, read_segments
from streams.skips import load_skips

CATALOG_FILE = "catalog.toml"
PUBLIC_KEY_FILE = "keys/control.pub"
MODELS_FOLDER = "models"


def columns_of(catalog: Catalog) -> dict[str, CatalogColumn]:
    """Return the catalog's columns as policies see them."""
    values = {a.name: a.values for a in catalog.attributes if a.type == "category"}
    columns = {}
    for feature in catalog.features:
        categories = None
        if feature.source == "attribute" and feature.of in values:
            categories = {value: code for code, value in enumerate(values[feature.of])}
        columns[feature.name] = CatalogColumn(
            catalog.columns[feature.name], categories, feature.readers
        )
    return columns


def vocabulary_of(
    platform: Platform, institutions: tuple[Institution, ...], catalog: Catalog
) -> Vocabulary:
    """Return every name that the decoder turns into a code."""
    places = {attribute.name: place for place, attribute in enumerate(catalog.attributes)}
    return Vocabulary(
        products=[product.id for product in platform.products],
        channels=[channel.id for channel in platform.channels],
        kinds=catalog.kinds,
        signals=[(signal.source, signal.name) for signal in catalog.signals],
        institutions=[institution.id for institution in institutions],
        numbers={a.name: places[a.name] for a in catalog.attributes if a.type == "number"},
        categories={
            a.name: (places[a.name], a.values) for a in catalog.attributes if a.type == "category"
        },
    )


def model_folders(folder: Path) -> list[Path]:
    """Return the folders of the models of a deployment, by name."""
    root = folder / MODELS_FOLDER
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def _wanted(
    platform: Platform,
    catalog: Catalog,
    models: Sequence[ModelInfo],
    policies: Policies,
    choice: Literal["used", "all"] | tuple[str, ...],
) -> set[str]:
    """Return the columns that are computed: all, or those of models and policies and those named.

    Every model of the folder counts, also one that no policy asks: it is scored all the same.
    """
    if choice == "all":
        return set(catalog.columns)
    used = {name for info in models for name in info.features}
    names = list(catalog.columns)
    used |= {names[row] for row in columns_read(policies.tables)}
    named = () if choice == "used" else choice
    for place, name in enumerate(named):
        if name not in catalog.columns:
            hint = suggestion(name, tuple(catalog.columns))
            raise platform.text.fault(("features", place), f"unknown column {name}; {hint}")
    return used | set(named)


def load_deployment(
    folder: Path | str,
    overrides: Mapping[str, int] | None = None,
    *,
    features: Literal["used", "all"] | tuple[str, ...] | None = None,
) -> Deployment:
    """Read the config folder; `overrides` replace single fields of `limits.Limits`, `features` the
    choice of columns in `platform.toml`.

    Everything is checked against the whole catalog and then compiled for the columns that are
    wanted. Raises PolicyError, CatalogError, ModelError or OSError, each with one sentence that
    names the file.
    """
    folder = Path(folder)
    platform = load_platform(folder)
    institutions = tuple(load_institutions(folder, platform))
    catalog_path = folder / CATALOG_FILE
    catalog = load_catalog(catalog_path if catalog_path.exists() else None)
    models, infos = load_models(model_folders(folder), catalog.columns, catalog.definition_hashes)
    places = {info.name: place for place, info in enumerate(infos)}
    columns = columns_of(catalog)
    policies = load_policies(folder, platform, institutions, columns, places)
    segments = read_segments(platform, institutions, catalog, columns)
    check_budgets(policies, segments)
    wanted = _wanted(platform, catalog, infos, policies, features or platform.features)
    if len(wanted) < len(catalog.columns):
        whole, catalog = catalog, narrow(catalog, wanted)
        rows = [catalog.columns.get(name, -1) for name in whole.columns]
        models = renumber_columns(models, rows)
        policies = read_policies(folder, platform, institutions, columns_of(catalog), places)
    entries = make_entries(vocabulary_of(platform, institutions, catalog))
    return Deployment(
        folder=folder,
        platform=platform,
        institutions=institutions,
        catalog=catalog,
        models=models,
        model_infos=tuple(infos),
        policies=policies,
        symbols=make_symbols(entries, platform.decision_key),
        fields=make_fields(entries),
        public_key_sha256=hashlib.sha256(trusted_bytes(folder)).hexdigest(),
        segments=segments,
        overrides=dict(overrides or {}),
        skips=load_skips(folder),
    )
