"""All policies of a deployment as flat arrays: what the decide kernels walk.

Records say where their rows begin and end in the next array: policy → section → rules, bands,
tenors, prices. Policies stand by product, then by institution, so a request looks at one run of
them. The types are the same for no policy, one or a thousand, so the kernels are compiled once.

Predicates (column, comparison, constant) are distinct over all policies and computed once for a
block of requests, into one bit a request; a rule is a postfix program over them.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.policy.expression import FEATURE
from models.policy.lists import LISTED
from models.policy.reasons import outcome_by_bit
from models.policy.tokens import TOKEN, TOKENS
from streams.buffers import Array
from streams.limits import BLOCK

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
STACK_MAX = 60  # truths on the stack that a program runs on

BLOCK_WORDS = BLOCK // 64
"""Words with one bit for each request of a block."""

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
        ("salt", "u8"),  # of its experiment, 0: it is in none
        ("arm", "i4"),  # arms.CHAMPION or CHALLENGER
        ("share_ppm", "i4"),  # of the challenger
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
        ("service_income", "i4"),  # column of a month's income, -1: no limit by what can be paid
        ("service_burden", "i4"),  # column of what is paid a month already, -1: none
        ("service_share_bps", "i4"),
        ("service_optional", "i4"),  # 1: no such limit where one of them is missing
        ("matrix", "i4"),  # row that gives its band, -1: its bands are by the main score
        ("rule_start", "i4"),
        ("rule_stop", "i4"),
        ("word_start", "i4"),  # its words in a request's masks
        ("word_stop", "i4"),
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
        ("random_ppm", "i8"),  # share of those above the cut-off alone that are approved
        ("random_salt", "u8"),
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
        ("space", "i4"),  # expression.FEATURE, PD, RAW or TOKEN
        ("index", "i4"),
        ("other_space", "i4"),  # -1: compared with the constant alone
        ("other", "i4"),  # of a TOKEN: row of the list
    ],
    align=True,
)
# A matrix: of rows, then of columns, the value asked and its edges[start:stop]. With n and m edges
# its cells are cells[cell_start + i × (m + 2) + j]; i = n + 1 and j = m + 1 are those of missing.
MATRIX = np.dtype(
    [
        ("row_space", "i4"),
        ("row_index", "i4"),
        ("row_start", "i4"),
        ("row_stop", "i4"),
        ("column_space", "i4"),
        ("column_index", "i4"),
        ("column_start", "i4"),
        ("column_stop", "i4"),
        ("cell_start", "i4"),
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
    matrices: Array
    """MATRIX."""
    edges: NDArray[np.float64]
    """Between bands of matrices, rising within a side."""
    cells: NDArray[np.int32]
    """Bands, counted in their section, -1: the request is refused by a rule."""
    listed: Array
    """lists.LISTED, the entries of all lists; no slot where there is no list."""
    token_key: NDArray[np.uint64]
    """[2], what tokens are hashed with."""


class PolicyScratch(NamedTuple):
    """Working memory of the decide kernels: what is known of the block of requests under way; one a
    thread.
    """

    block: NDArray[np.int64]
    """[2], its number and how many requests are in it."""
    fired: NDArray[np.int64]
    """[products, 2], the last block whose rules were run, by section."""
    computed: NDArray[np.int64]
    """[predicates], the last block for which each was computed."""
    truth: NDArray[np.uint64]
    """[predicates, BLOCK_WORDS], one bit a request."""
    masks: NDArray[np.uint64]
    """[BLOCK, words of all sections], one bit a rule that fired."""
    reasons: NDArray[np.uint64]
    """[BLOCK, sections], the reasons of those rules."""
    rows_mask: NDArray[np.uint64]
    """[BLOCK + 1, BLOCK_WORDS], the bits of the first so many requests."""
    stack: NDArray[np.uint64]
    """[STACK_MAX]."""
    who: NDArray[np.uint64]
    """[2], keyed hash of the applicant; the arm that is asked for, 0: as the hash says."""
    left: NDArray[np.float64]
    """[BLOCK], what is compared where it is no feature."""
    right: NDArray[np.float64]
    """[BLOCK], what it is compared with."""
    holds: NDArray[np.uint8]
    """[BLOCK], 1 where it holds."""
    holds_by_eight: NDArray[np.uint64]
    """[BLOCK // 8], the same memory."""
    tokens: Array
    """tokens.TOKEN[BLOCK, TOKENS] of each request; read where a rule asks a list."""
    at: NDArray[np.int64]
    """[BLOCK], the requests' time in epoch ms; likewise."""


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
        matrices=np.zeros(0, MATRIX),
        edges=np.zeros(0),
        cells=np.zeros(0, np.int32),
        listed=np.zeros(0, LISTED),
        token_key=np.zeros(2, np.uint64),
    )


def columns_read(tables: PolicyTables) -> list[int]:
    """Return, rising, the columns of the feature vector that any predicate or limit looks at."""
    named = ("basis", "service_income", "service_burden")
    found = {int(row) for name in named for row in tables.sections[name] if row >= 0}
    for space, row in (("space", "index"), ("other_space", "other")):
        taken = tables.predicates[space] == FEATURE
        found |= {int(index) for index in tables.predicates[row][taken]}
    for side in ("row", "column"):
        taken = tables.matrices[f"{side}_space"] == FEATURE
        found |= {int(index) for index in tables.matrices[f"{side}_index"][taken]}
    return sorted(found)


def make_scratch(tables: PolicyTables) -> PolicyScratch:
    """Take the working memory of the decide kernels once, at start."""
    predicates, sections = max(1, len(tables.predicates)), max(1, len(tables.sections))
    words = int(tables.sections["word_stop"].max(initial=1))
    holds = np.zeros(BLOCK, np.uint8)
    firsts = [
        [(1 << min(max(rows - 64 * word, 0), 64)) - 1 for word in range(BLOCK_WORDS)]
        for rows in range(BLOCK + 1)
    ]
    return PolicyScratch(
        block=np.zeros(2, np.int64),
        fired=np.zeros((max(1, len(tables.products)), len(SECTIONS)), np.int64),
        computed=np.zeros(predicates, np.int64),
        truth=np.zeros((predicates, BLOCK_WORDS), np.uint64),
        masks=np.zeros((BLOCK, words), np.uint64),
        reasons=np.zeros((BLOCK, sections), np.uint64),
        rows_mask=np.array(firsts, np.uint64),
        stack=np.zeros(STACK_MAX, np.uint64),
        who=np.zeros(2, np.uint64),
        left=np.zeros(BLOCK),
        right=np.zeros(BLOCK),
        holds=holds,
        holds_by_eight=holds.view(np.uint64),
        tokens=np.zeros((BLOCK, len(TOKENS)), TOKEN),
        at=np.zeros(BLOCK, np.int64),
    )


def rule_words(tables: PolicyTables) -> int:
    """Return how many 64-bit words hold the rule mask of the longest section, at least 1."""
    if not len(tables.sections):
        return 1
    longest = int((tables.sections["word_stop"] - tables.sections["word_start"]).max())
    return max(1, longest)


def candidates_max(tables: PolicyTables) -> int:
    """Return the largest number of policies of one product: rows that `judge` may write, at least
    1.
    """
    if not len(tables.products):
        return 1
    return max(1, int((tables.products["policy_stop"] - tables.products["policy_start"]).max()))
