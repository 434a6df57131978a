"""All models of a deployment as flat arrays: what the scoring kernel walks.

Every model's trees, scorecard rows and calibration steps stand one after another in the same
arrays, and records of `MODEL_DTYPE` say where each begins. So the Numba type is the same for no
model, one or a hundred, and the kernel is compiled once. Offsets are absolute; `join_models` shifts
them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK = 128
"""Rows of one feature-major block: 48 features of it are 48 KiB, near the first-level cache."""

KIND_TREES = 0
KIND_SCORECARD = 1

PATH_MASK = 0
PATH_WALK = 1
MASK_LEAVES_MAX = 64
WORD_LEAVES = 8
"""Leaves of a tree that one word of live leaves holds: 32 rows' words fill a vector register."""
SCALE_CUTS_MAX = 255
"""Limits of one scale, so that a rank is one byte; a column with more has several scales."""
RANK_MIN, RANK_MAX = -128, 127
TESTS_A_PASS = 4
"""Tests of a word come in multiples of this many, see `trees.drop_leaves`."""

SPLIT_NAN_RIGHT = 0
SPLIT_NAN_LEFT = 1
SPLIT_ZERO_RIGHT = 2
SPLIT_ZERO_LEFT = 3
SPLIT_CATEGORY = 4
SPLIT_KINDS = 5

ZERO_LIMIT = float(np.float32(1e-35))
"""Values at most this far from 0 are 0 for LightGBM (its kZeroThreshold, a float32 literal)."""

MODEL_DTYPE = np.dtype(
    [
        ("kind", np.int32),  # KIND_TREES or KIND_SCORECARD
        ("tree_start", np.int32),
        ("tree_stop", np.int32),
        ("card_start", np.int32),
        ("card_stop", np.int32),
        ("step_start", np.int32),  # calibration steps, at least one
        ("step_stop", np.int32),
        ("scale_start", np.int32),
        ("scale_stop", np.int32),
        ("view_start", np.int32),
        ("view_stop", np.int32),
    ],
    align=True,
)
TREE_DTYPE = np.dtype(
    [
        ("path", np.int32),  # how the tree is scored: PATH_MASK or PATH_WALK
        ("root", np.int32),  # index of the root's node, or ~leaf for a tree of one leaf
        ("leaf_start", np.int32),
        ("word_start", np.int32),  # PATH_MASK: its words of leaves
        ("word_stop", np.int32),
    ],
    align=True,
)
SCALE_DTYPE = np.dtype(
    [
        ("column", np.int32),  # row of `vectors`
        ("cut_start", np.int32),  # 2 * half - 1 cuts, rising, filled up with inf
        ("half", np.int32),  # a power of two, at most 128
    ],
    align=True,
)
VIEW_DTYPE = np.dtype(
    [
        ("kind", np.int32),  # SPLIT_*, but not SPLIT_NAN_RIGHT, which reads the scale itself
        ("column", np.int32),  # row of `vectors`
        ("scale", np.int32),  # counted in the model; 0 and unused with categories
        ("category", np.int32),  # index of the category set; 0 and unused with a scale
    ],
    align=True,
)
TEST_DTYPE = np.dtype(
    [
        ("rank", np.int8),  # a row whose rank is above drops leaves
        ("drop", np.uint8),  # the leaves of its word that such a row cannot reach
        ("source", np.uint16),  # row of ScoreScratch.ranks
    ],
    align=True,
)
NODE_DTYPE = np.dtype(
    [
        ("limit", np.float64),  # numerical split: value <= limit goes left
        ("column", np.int32),  # row of `vectors` that holds the feature
        ("kind", np.int32),  # SPLIT_*
        ("left", np.int32),  # index of the node, or ~leaf
        ("right", np.int32),
        ("category", np.int32),  # index of the category set; 0 and unused in a numerical split
    ],
    align=True,
)
CARD_DTYPE = np.dtype(
    [
        ("missing_points", np.float64),
        ("column", np.int32),
        ("bin_start", np.int32),
        ("bin_stop", np.int32),
    ],
    align=True,
)


class ModelTables(NamedTuple):
    """Flat, writable, C-contiguous arrays of all models; `model_count` is `len(models)`.

    Shapes: M models, T trees, N nodes, L leaves, C category sets, W words of those, D words of
    leaves, F scorecard rows (one a feature of a scorecard), B bins, S calibration steps.

    Nodes are the trees as they are walked; scales, views and tests are the same trees once more,
    as QuickScorer tests them. A scale ranks a column among all limits that a model compares it
    with; a view is that rank with missing values on the other side, or a category set's answer
    (0 in it, 1 not).
    """

    models: NDArray[np.void]
    """MODEL_DTYPE[M]."""
    trees: NDArray[np.void]
    """TREE_DTYPE[T], in LightGBM's order, which is the order of summation."""
    nodes: NDArray[np.void]
    """NODE_DTYPE[N], by tree, in the order of the model file."""
    scales: NDArray[np.void]
    """SCALE_DTYPE, by model; the first rows of its ranks."""
    views: NDArray[np.void]
    """VIEW_DTYPE, by model; the rows of its ranks behind the scales."""
    cuts: NDArray[np.float64]
    """Limits of each scale, rising."""
    word_start: NDArray[np.int32]
    """[D + 1], first test of each word of leaves; word w holds leaves 8 w to 8 w + 7 of a tree."""
    tests: NDArray[np.void]
    """TEST_DTYPE, by word, then by source; some at a word's end drop nothing."""
    leaf_value: NDArray[np.float64]
    """[L], raw score of a leaf, shrinkage included; leaves stand from left to right."""
    category_start: NDArray[np.int64]
    """[C + 1], first word of each set of categories that go left."""
    category_words: NDArray[np.uint32]
    """[W], bit c % 32 of word c // 32 is category c."""
    cards: NDArray[np.void]
    """CARD_DTYPE[F]."""
    bin_from: NDArray[np.float64]
    """[B], lowest value of a bin, rising within a feature; the first is -inf."""
    bin_points: NDArray[np.float64]
    """[B], whole numbers."""
    step_from: NDArray[np.float64]
    """[S], lowest raw score of a calibration step, rising within a model; the first is -inf."""
    step_pd_ppm: NDArray[np.int64]
    """[S], probability of default in parts per million, 0 to 1,000,000, monotone within a model."""


class ScoreScratch(NamedTuple):
    """Working memory of `score_block`, overwritten by each call; one a thread."""

    live: NDArray[np.uint8]
    """[MASK_LEAVES_MAX // WORD_LEAVES, BLOCK], the leaves that each row can still reach."""
    leaves: NDArray[np.uint32]
    """[2, BLOCK], the same side by side: leaves 0 to 31, and 32 to 63."""
    ranks: NDArray[np.int8]
    """[most scales and views of a model, BLOCK]: limits below, counted from RANK_MIN."""
    place: NDArray[np.uint64]
    """[BLOCK], where the search of each row has come to among the cuts."""


def make_scratch(tables: ModelTables) -> ScoreScratch:
    """Take the working memory of `score_block` for these models once, at start."""
    models = tables.models
    counts = models["scale_stop"] - models["scale_start"] + models["view_stop"]
    ranks = int((counts - models["view_start"]).max(initial=1))
    return ScoreScratch(
        np.zeros((MASK_LEAVES_MAX // WORD_LEAVES, BLOCK), np.uint8),
        np.zeros((2, BLOCK), np.uint32),
        np.zeros((ranks, BLOCK), np.int8),
        np.zeros(BLOCK, np.uint64),
    )


def empty_tables() -> ModelTables:
    """Return the tables of a deployment without models."""
    return ModelTables(
        models=np.zeros(0, MODEL_DTYPE),
        trees=np.zeros(0, TREE_DTYPE),
        nodes=np.zeros(0, NODE_DTYPE),
        scales=np.zeros(0, SCALE_DTYPE),
        views=np.zeros(0, VIEW_DTYPE),
        cuts=np.zeros(0, np.float64),
        word_start=np.zeros(1, np.int32),
        tests=np.zeros(0, TEST_DTYPE),
        leaf_value=np.zeros(0, np.float64),
        category_start=np.zeros(1, np.int64),
        category_words=np.zeros(0, np.uint32),
        cards=np.zeros(0, CARD_DTYPE),
        bin_from=np.zeros(0, np.float64),
        bin_points=np.zeros(0, np.float64),
        step_from=np.zeros(0, np.float64),
        step_pd_ppm=np.zeros(0, np.int64),
    )


def model_count(tables: ModelTables) -> int:
    """Return the number of models, which is the number of rows that `score_block` writes."""
    return len(tables.models)


def join_models(parts: list[ModelTables]) -> ModelTables:
    """Concatenate `parts` in order and shift their offsets; `parts` stay as they are."""
    joined = empty_tables()
    for part in parts:
        joined = _append(joined, part)
    assert len(joined.nodes) < 2**31
    assert len(joined.leaf_value) < 2**31
    return joined


# Fields that hold a place in another array, or in a table of starts, by the array that holds them.
_PLACES: tuple[tuple[str, str, str], ...] = (
    ("models", "tree_start", "trees"),
    ("models", "tree_stop", "trees"),
    ("models", "card_start", "cards"),
    ("models", "card_stop", "cards"),
    ("models", "step_start", "step_from"),
    ("models", "step_stop", "step_from"),
    ("models", "scale_start", "scales"),
    ("models", "scale_stop", "scales"),
    ("models", "view_start", "views"),
    ("models", "view_stop", "views"),
    ("trees", "leaf_start", "leaf_value"),
    ("trees", "word_start", "word_start"),
    ("trees", "word_stop", "word_start"),
    ("nodes", "category", "category_start"),
    ("scales", "cut_start", "cuts"),
    ("views", "category", "category_start"),
    ("cards", "bin_start", "bin_from"),
    ("cards", "bin_stop", "bin_from"),
)
# Tables of starts, which have one more than they start, and the arrays that they point into.
_STARTS = {"category_start": "category_words", "word_start": "tests"}


def _append(base: ModelTables, part: ModelTables) -> ModelTables:
    arrays = {name: array.copy() for name, array in part._asdict().items()}
    for name, field, target in _PLACES:
        arrays[name][field] += len(getattr(base, target)) - (target in _STARTS)
    nodes, leaves = len(base.nodes), len(base.leaf_value)
    arrays["trees"]["root"] = _shift(arrays["trees"]["root"], nodes, leaves)
    for field in ("left", "right"):
        arrays["nodes"][field] = _shift(arrays["nodes"][field], nodes, leaves)
    for name, target in _STARTS.items():
        shift = arrays[name].dtype.type(len(getattr(base, target)))
        arrays[name] = arrays[name][1:] + shift
    joined = {name: np.concatenate([array, arrays[name]]) for name, array in base._asdict().items()}
    return ModelTables(**joined)


def renumber_columns(tables: ModelTables, rows: Sequence[int]) -> ModelTables:
    """Return the tables with `rows[column]` in place of each column of the feature vector."""
    new = np.array(rows, np.int32)
    found = {}
    for name in ("nodes", "scales", "views", "cards"):
        array = getattr(tables, name).copy()
        array["column"] = new[array["column"]]
        assert (array["column"] >= 0).all()
        found[name] = array
    return tables._replace(**found)


def _shift(child: NDArray[np.int32], nodes: int, leaves: int) -> NDArray[np.int32]:
    """Shift node indices (>= 0) up by `nodes` and leaves (~leaf, < 0) by `leaves`."""
    return np.where(child >= 0, child + nodes, child - leaves).astype(np.int32)
