"""A deployment as the step sees it: tables, names, limits, and the hash of all that decides.

`streams/config.py` reads one from a config folder; nothing here reads a file but the code, whose
hash is the version of the engine.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from features.catalog import Catalog
from models.artifact import ModelInfo
from models.policy.platform import Institution, Platform
from models.policy.policies import Policies
from models.policy.reasons import REASONS
from models.tables import ModelTables
from streams import schema
from streams.codec.encode import Names, make_names
from streams.codec.symbols import Fields, Symbols
from streams.counters import Dimensions
from streams.kernel_cache import code_hash
from streams.limits import Limits
from streams.schema import Cap

ENGINE_DIGITS = 20  # of the hash of all code that the step reaches
_STEP = Path(__file__).with_name("step.py")
POLICY_DIGITS = 16  # of a policy's hash in a candidate: 64 bits name it within a manifest


@dataclass(frozen=True)
class Deployment:
    """A config folder, read and checked. `manifest(partitions)` names all that decides."""

    folder: Path
    platform: Platform
    institutions: tuple[Institution, ...]
    catalog: Catalog
    models: ModelTables
    model_infos: tuple[ModelInfo, ...]
    policies: Policies
    symbols: Symbols
    fields: Fields
    public_key_sha256: str
    overrides: Mapping[str, int] = field(default_factory=dict)
    skips: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Offsets that no fold takes, by partition. Not in the manifest: each stands in the log itself,
    as a dead letter, and no other decision changes by it."""

    @property
    def limits(self) -> Limits:
        """Return the capacities of one partition."""
        return self.platform.limits._replace(**self.overrides).check()

    @property
    def institution_ids(self) -> list[str]:
        """Return the institutions in order of their codes."""
        return [institution.id for institution in self.institutions]

    @property
    def dimensions(self) -> Dimensions:
        """Return the names that counters bear, in order of their codes."""
        return Dimensions(
            tuple(self.institution_ids),
            tuple(product.id for product in self.platform.products),
            tuple(channel.id for channel in self.platform.channels),
            tuple(reason.code for reason in REASONS),
        )

    @property
    def caps(self) -> dict[str, dict[Cap, int]]:
        """Return each institution's budgets in cents."""
        return {
            institution.id: {
                Cap.OUTSTANDING: institution.caps.outstanding_cents,
                Cap.COMMITMENT: institution.caps.commitment_cents,
            }
            for institution in self.institutions
        }

    def manifest(self, partitions: int) -> dict[str, Any]:
        """Return what a decision's `manifest` hash stands for."""
        return {
            "engine": f"{version('dipper')}-{code_hash(_STEP)[:ENGINE_DIGITS]}",
            "schema": schema_hash(),
            "partitions": partitions,
            "limits": self.limits._asdict(),
            "catalog": self.catalog.sha256,
            "platform": self.platform.sha256,
            "models": {info.name: info.sha256 for info in self.model_infos},
            "policies": {info.id: info.sha256 for info in self.policies.infos},
            "control_key": self.public_key_sha256,
        }

    def names_hash(self) -> str:
        """Return the hex sha256 of every name that stands in state as its place in a list.

        State that was made under other names, or in another order, means something else.
        """
        names = [
            self.institution_ids,
            [product.id for product in self.platform.products],
            [channel.id for channel in self.platform.channels],
            [info.id for info in self.policies.infos],
            [(each.name, each.type, *each.values) for each in self.catalog.attributes],
            [(each.source, each.name) for each in self.catalog.signals],
            list(self.catalog.kinds),
            self.platform.decision_key.hex(),
        ]
        return hashlib.sha256(json.dumps(names).encode()).hexdigest()

    def manifest_hash(self, partitions: int) -> str:
        """Return the hex sha256 of the manifest as canonical JSON."""
        text = json.dumps(self.manifest(partitions), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def names(self, partitions: int) -> Names:
        """Return the names that records carry."""
        return make_names(
            self.institution_ids,
            [product.id for product in self.platform.products],
            [channel.id for channel in self.platform.channels],
            [reason.code for reason in REASONS],
            [info.sha256[:POLICY_DIGITS] for info in self.policies.infos],
            self.manifest_hash(partitions),
        )


@cache
def schema_hash() -> str:
    """Return the hex sha256 of every record layout: a change of a layout is another engine."""
    layouts = {
        name: str(value.descr)
        for name, value in sorted(vars(schema).items())
        if isinstance(value, np.dtype)
    }
    return hashlib.sha256(json.dumps(layouts, sort_keys=True).encode()).hexdigest()
