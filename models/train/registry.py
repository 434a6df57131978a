"""Models as a registry: folders, each named by its content, with card, lineage and stage.

A folder's address is the sha256 of its manifest, which holds the hashes of its files. A model is
*live* where a policy of the deployment names it, else it is a *candidate*.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl
from pydantic import ValidationError

from models.artifact import MANIFEST, Manifest
from models.errors import ModelError
from models.train.card import CARD


@dataclass(frozen=True)
class Entry:
    """One model folder: its content address, its manifest, and its card where it has one."""

    folder: Path
    sha256: str
    manifest: Manifest
    card: dict[str, Any] | None


def read_entry(folder: Path) -> Entry:
    """Return the model of a folder; ModelError where it holds none that is whole."""
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
        manifest = Manifest.model_validate_json(data)
        for name, sha256 in manifest.files.items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != sha256:
                raise ModelError(f"{folder / name}: its sha256 is not that in {MANIFEST}")
        card = folder / CARD
        told = orjson.loads(card.read_bytes()) if card.is_file() else None
    except OSError as error:
        raise ModelError(f"{folder}: no model folder ({error.strerror}); name one") from error
    except (ValidationError, ValueError) as error:
        raise ModelError(f"{path}: {str(error).splitlines()[0]}; train it again") from error
    return Entry(folder, hashlib.sha256(data).hexdigest(), manifest, told)


def find_entries(roots: Sequence[Path]) -> list[Entry]:
    """Return the models at and under folders, by path."""
    found = {path.parent for root in roots for path in root.rglob(MANIFEST)}
    return [read_entry(folder) for folder in sorted(found)]


def list_models(roots: Sequence[Path], live: frozenset[str] = frozenset()) -> pl.DataFrame:
    """Return a row a model: name, sha256, kind, stage, features, trees, auc, auc_out_of_time, ks,
    brier, events (the hash of what it learnt from) and folder. `live`: names that policies use.
    """
    rows = []
    for entry in find_entries(roots):
        training, lineage = entry.manifest.training, entry.manifest.lineage or {}
        rows.append(
            {
                "name": entry.manifest.name,
                "sha256": entry.sha256,
                "kind": entry.manifest.kind,
                "stage": "live" if entry.manifest.name in live else "candidate",
                "features": len(entry.manifest.features),
                "trees": None if training is None else training.trees,
                "auc": None if training is None else training.auc,
                "auc_out_of_time": None if training is None else training.auc_out_of_time,
                "ks": None if training is None else training.ks,
                "brier": None if training is None else training.brier,
                "events": lineage.get("events", ""),
                "folder": str(entry.folder),
            }
        )
    schema = {
        "name": pl.String, "sha256": pl.String, "kind": pl.String, "stage": pl.String,
        "features": pl.Int64, "trees": pl.Int64, "auc": pl.Float64, "auc_out_of_time": pl.Float64,
        "ks": pl.Float64, "brier": pl.Float64, "events": pl.String, "folder": pl.String,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema)


def compare_models(a: Path, b: Path) -> dict[str, Any]:
    """Return what two models share and where they differ: figures, lineage, features."""
    sides = [read_entry(a), read_entry(b)]
    features = [
        {feature.name: feature.definition_hash for feature in side.manifest.features}
        for side in sides
    ]
    both = set(features[0]) & set(features[1])
    measures = ("auc", "auc_out_of_time", "ks", "gini", "brier", "rows_test", "trees")
    lineage = [side.manifest.lineage or {} for side in sides]
    return {
        "names": [side.manifest.name for side in sides],
        "sha256": [side.sha256 for side in sides],
        "figures": {
            name: [getattr(side.manifest.training, name, None) for side in sides]
            for name in measures
        },
        "comparable": bool(
            lineage[0].get("events") and lineage[0].get("events") == lineage[1].get("events")
        ),
        "lineage_differs": sorted(
            name
            for name in set(lineage[0]) | set(lineage[1])
            if lineage[0].get(name) != lineage[1].get(name)
        ),
        "only_first": sorted(set(features[0]) - both),
        "only_second": sorted(set(features[1]) - both),
        "defined_otherwise": sorted(n for n in both if features[0][n] != features[1][n]),
    }
