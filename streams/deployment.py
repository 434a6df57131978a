"""A deployment as the step sees it: tables, names, limits, and the hash of all that decides.

`streams/config.py` reads one from a config folder; nothing here reads a file but the code, whose
hash is the version of the engine.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

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
from streams.errors import VersionError
from streams.funding.segments import SegmentCap
from streams.kernel_cache import code_hash
from streams.limits import Limits
from streams.schema import Cap

ENGINE_DIGITS = 20  # of the hash of all code that the step reaches
_STEP = Path(__file__).with_name("step.py")
VERSION_DIGITS = 32  # of a version's hash: 128 bits name it on the wire and in state
POLICY_DIGITS = 16  # of a policy's hash in a candidate: 64 bits name it within a manifest


class Versions(Protocol):
    """Where other versions of a deployment's policies and models are to be had."""

    def prepare(self, version: str) -> None:
        """Hear that a version may go live soon; errors wait for `get`."""

    def get(self, version: str) -> "Deployment":
        """Return the deployment as that version has it; `VersionError` where it cannot be had."""

    def by_low_half(self, low: int) -> "Deployment":
        """Return the version of which evidence bears the low half of its name; likewise."""


class OnlyThis:
    """No other version than the one at hand."""

    def prepare(self, version: str) -> None:
        """Do nothing."""

    def get(self, version: str) -> "Deployment":
        """Refuse."""
        raise VersionError(f"version {version} is live in the log, and no other is known here")

    def by_low_half(self, low: int) -> "Deployment":
        """Refuse."""
        raise VersionError(f"version ...{low:016x} decided, and no other is known here")


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
    segments: tuple[SegmentCap, ...] = ()
    overrides: Mapping[str, int] = field(default_factory=dict)
    skips: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Offsets that no fold takes, by partition. Not in the manifest: each stands in the log itself,
    as a dead letter, and no other decision changes by it."""

    versions: Versions = field(default_factory=OnlyThis, compare=False)

    @cached_property
    def version(self) -> str:
        """Return 32 hex digits that name all that institutions and the platform decide by.

        The limits, the keys and the code are not in it: they change with a restart only.
        """
        content = {
            "catalog": self.catalog.sha256,
            "platform": self.platform.sha256,
            "models": {info.name: info.sha256 for info in self.model_infos},
            "policies": {info.id: info.sha256 for info in self.policies.infos},
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:VERSION_DIGITS]

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
            "engine": f"{_release()}-{code_hash(_STEP)[:ENGINE_DIGITS]}",
            "schema": schema_hash(),
            "partitions": partitions,
            "limits": self.limits._asdict(),
            "catalog": self.catalog.sha256,
            "platform": self.platform.sha256,
            "models": {info.name: info.sha256 for info in self.model_infos},
            "policies": {info.id: info.sha256 for info in self.policies.infos},
            "control_key": self.public_key_sha256,
        }

    def differences(self, other: "Deployment") -> list[str]:
        """Return what a version of this deployment must share with it, and `other` does not.

        These stand in the state of every partition, or in the memory that was taken for it.
        """
        frames = [
            {
                "institutions": each.institution_ids,
                "products": each.platform.products,
                "channels": each.platform.channels,
                "attributes": each.catalog.attributes,
                "signals": each.catalog.signals,
                "kinds": each.catalog.kinds,
                "longest window": each.catalog.window_ms_max,
                "limits": each.limits,
                "decision_key": each.platform.decision_key,
                "caps by day and segment": [segment.meaning for segment in each.segments],
            }
            for each in (self, other)
        ]
        return [name for name in frames[0] if frames[0][name] != frames[1][name]]

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
            [segment.meaning for segment in self.segments],
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


def version_halves(version: str) -> tuple[int, int]:
    """Return a version's 32 hex digits as its low and high half."""
    return int(version[16:], 16), int(version[:16], 16)


@cache
def _release() -> str:
    """Return the version of this distribution; finding it means reading files."""
    return version("dipper")


@cache
def schema_hash() -> str:
    """Return the hex sha256 of every record layout: a change of a layout is another engine."""
    layouts = {
        name: str(value.descr)
        for name, value in sorted(vars(schema).items())
        if isinstance(value, np.dtype)
    }
    return hashlib.sha256(json.dumps(layouts, sort_keys=True).encode()).hexdigest()
