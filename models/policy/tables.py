"""All policies of a deployment as flat arrays: what the decide kernels walk.

Records say where their rows begin and end in the next array: policy → section → rules, bands,
tenors, prices. Policies stand by product, then by institution, so a request looks at one run of
them. The types are the same for no policy, one or a thousand, so the kernels are compiled once.

Predicates (column, comparison, constant) are distinct over all policies and computed once per
request into one byte each; a rule is a postfix program over them.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.policy.reasons import outcome_by_bit
from streams.buffers import Array

APPLICATION = 0
DRAWDOWN = 1
SECTIONS = ("application", "drawdown")

RANK_COST = 0
RANK_AMOUNT = 1
RANKINGS = ("cost", "amount")

# Connectives in a rule's program; anything from 0 up is the index of a predicate.
PROGRAM_AND = -1
PROGRAM_OR = -2
PROGRAM_NOT = -3
STACK_MAX = 60  # bits of the stack that a program runs on: one signed 64-bit integer

LIMIT_BPS_MAX = (
    1_000_000  # a limit of a hundred times the income: above it, cents could leave int64
)

PRODUCT = np.dtype(
    [
        ("side", "i4"),
        ("is_line", "i4"),
        ("ranking", "i4"),  # RANK_*
        ("policy_start", "i4"),
        ("policy_stop", "i4"),
        ("need_start", "i4", (2,)),  # per section: predicates that its policies use
        ("need_stop", "i4", (2,)),
    ],
    align=True,
)
POLICY = np.dtype(
    [
        ("institution", "i4"),
        ("product", "i4"),
        ("section", "i4", (2,)),  # rows of its sections, -1: none
        ("channels", "u8"),  # one bit a channel that it serves
    ],
    align=True,
)
SECTION = np.dtype(
    [
        ("model", "i4"),  # its main score, -1: none
        ("cap", "i4"),  # schema.Cap to reserve from, -1: none
        ("method", "i4"),
        ("partial", "i4"),  # 1: may offer less than asked
        ("basis", "i4"),  # column of monthly income or the like, -1: no band refers to it
        ("rule_start", "i4"),
        ("rule_stop", "i4"),
        ("band_start", "i4"),
        ("band_stop", "i4"),
        ("tenor_start", "i4"),
        ("tenor_stop", "i4"),
        (
            "price_start",
            "i4",
        ),  # prices[price_start + band × tenors + tenor], both counted in the section
        ("cut_off_pd_ppm", "i8"),
        ("amount_cents_min", "i8"),
        ("amount_cents_max", "i8"),
        ("offer_ms", "i8"),
    ],
    align=True,
)
BAND = np.dtype(
    [
        ("pd_ppm_max", "i8"),
        ("limit_cents", "i8"),
        ("limit_bps", "i8"),  # share of the basis, -1: none
        ("rate_bps", "i4"),
        ("fee_bps", "i4"),
        ("tenor_days_max", "i4"),
    ],
    align=True,
)
PRICE = np.dtype([("instalment_parts", "i8"), ("apr_bps", "i4")], align=True)
RULE = np.dtype(
    [
        ("reason", "u8"),  # mask of one bit
        ("start", "i4"),
        ("stop", "i4"),
        ("place", "i4"),  # its place in the file, the bit of the rule mask
    ],
    align=True,
)
PREDICATE = np.dtype(
    [
        ("constant", "f8"),
        ("op", "i4"),  # expression.Op
        ("space", "i4"),  # expression.FEATURE, PD or RAW
        ("index", "i4"),
        ("other_space", "i4"),  # -1: compared with the constant alone
        ("other", "i4"),
    ],
    align=True,
)
CEILING = np.dtype([("from_at", "i8"), ("side", "i4"), ("apr_bps", "i4")], align=True)


class PolicyTables(NamedTuple):
    """Flat, writable, C-contiguous arrays of all policies; layouts above."""

    products: Array
    """PRODUCT, by product code."""
    policies: Array
    """POLICY, by product, then institution."""
    sections: Array
    """SECTION, one or two a policy."""
    bands: Array
    """BAND, rising by pd_ppm_max within a section."""
    tenors: NDArray[np.int32]
    """Days, rising within a section."""
    prices: Array
    """PRICE, band by band within a section."""
    rules: Array
    """RULE, those of like programs together, so that their branches are foreseen."""
    programs: NDArray[np.int32]
    """Predicates and PROGRAM_* in postfix order."""
    predicates: Array
    """PREDICATE, distinct, by kind, then column, then constant: like ones together."""
    needs: NDArray[np.int32]
    """Predicates by product and section, rising."""
    ceilings: Array
    """CEILING, rising by from_at."""
    outcome: NDArray[np.int32]
    """schema.Outcome of each reason bit."""


class PolicyScratch(NamedTuple):
    """Working memory of the decide kernels, overwritten by each request; one a thread."""

    truth: NDArray[np.int8]
    """[predicates], 1 where it holds for this request."""


def empty_tables() -> PolicyTables:
    """Return the tables of a deployment without products."""
    return PolicyTables(
        products=np.zeros(0, PRODUCT),
        policies=np.zeros(0, POLICY),
        sections=np.zeros(0, SECTION),
        bands=np.zeros(0, BAND),
        tenors=np.zeros(0, np.int32),
        prices=np.zeros(0, PRICE),
        rules=np.zeros(0, RULE),
        programs=np.zeros(0, np.int32),
        predicates=np.zeros(0, PREDICATE),
        needs=np.zeros(0, np.int32),
        ceilings=np.zeros(0, CEILING),
        outcome=outcome_by_bit(),
    )


def make_scratch(tables: PolicyTables) -> PolicyScratch:
    """Take the working memory of the decide kernels once, at start."""
    return PolicyScratch(np.zeros(max(1, len(tables.predicates)), np.int8))


def rule_words(tables: PolicyTables) -> int:
    """Return how many 64-bit words hold the rule mask of the longest section, at least 1."""
    if not len(tables.sections):
        return 1
    longest = int((tables.sections["rule_stop"] - tables.sections["rule_start"]).max())
    return max(1, (longest + 63) // 64)


def candidates_max(tables: PolicyTables) -> int:
    """Return the largest number of policies of one product: rows that `judge` may write, at least
    1.
    """
    if not len(tables.products):
        return 1
    return max(1, int((tables.products["policy_stop"] - tables.products["policy_start"]).max()))
