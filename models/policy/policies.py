"""Policies that are loaded: tables for kernels, and what people and reports read beside them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from models.policy.build import PolicyPlan
from models.policy.documents import Text
from models.policy.lists import Entry
from models.policy.policy import Policy
from models.policy.tables import PolicyTables

ALL = "all"  # reader: everyone


class CatalogColumn(NamedTuple):
    """A column of the feature vector as policies see it: its row, category codes, and who may read
    it.
    """

    row: int
    categories: Mapping[str, int] | None = None
    readers: tuple[str, ...] = (ALL,)


class RuleInfo(NamedTuple):
    """A rule for reports: label, text, platform reason code, the institution's own word for it."""

    label: str
    when: str
    reason: str
    own_reason: str


@dataclass(frozen=True)
class PolicyInfo:
    """One policy for people: its row in the tables is its place in `Policies.infos`.

    `sha256` is its content address: institution.toml, the policy file, its tables and lists.
    `rules` by section: the order of the bits of a rule mask. `file` and `cases` serve `dipper
    policy check`.
    """

    id: str
    institution: int
    product: int
    file: Path
    sha256: str
    rules: tuple[tuple[RuleInfo, ...], tuple[RuleInfo, ...]]
    own_reasons: Mapping[str, str]
    document: Policy
    text: Text
    arm: int = 0
    """Of an experiment, `arms.CHAMPION` or `CHALLENGER`; 0: it is in none."""


@dataclass(frozen=True)
class Policies:
    """All policies of a deployment: tables for kernels, infos for people, sizes for memory.

    `lists` are the entries of each list, in order of the rows that rules name.
    """

    tables: PolicyTables
    infos: tuple[PolicyInfo, ...]
    plans: tuple[PolicyPlan, ...]
    lists: tuple[tuple[Entry, ...], ...]
    rule_words: int
    candidates_max: int
