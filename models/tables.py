"""All models of a deployment as flat arrays: what the scoring kernel walks.

Every model's trees, scorecard rows and calibration steps stand one after another in the same
arrays, and records of `MODEL_DTYPE` say where each begins. So the Numba type is the same for no
model, one or a hundred, and the kernel is compiled once. Offsets are absolute; `join_models` shifts
them.
"""

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
    ],
    align=True,
)
TREE_DTYPE = np.dtype(
    [
        ("path", np.int32),  # how the tree is scored: PATH_MASK or PATH_WALK
        ("root", np.int32),  # index of the root's node, or ~leaf for a tree of one leaf
        ("leaf_start", np.int32),
    ],
    align=True,
)
NODE_DTYPE = np.dtype(
    [
        ("limit", np.float64),  # numerical split: value <= limit goes left
        ("mask", np.uint64),  # the leaves that stay possible when the row goes right
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

    Shapes: M models, T trees, N nodes, L leaves, C category sets, W words, F scorecard rows (one a
    feature of a scorecard), B bins, S calibration steps.
    """

    models: NDArray[np.void]
    """MODEL_DTYPE[M]."""
    trees: NDArray[np.void]
    """TREE_DTYPE[T], in LightGBM's order, which is the order of summation."""
    tree_nodes: NDArray[np.int32]
    """[T, SPLIT_KINDS + 1]: nodes of kind k of a tree are those from [t, k] to [t, k + 1]."""
    nodes: NDArray[np.void]
    """NODE_DTYPE[N], by tree, then by kind, then by column; padding nodes drop no leaf and have no
    parent.
    """
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

    live: NDArray[np.uint64]
    """[BLOCK], the leaves of a tree that each row can still reach, one bit a leaf."""


def make_scratch() -> ScoreScratch:
    """Take the working memory of `score_block` once, at start."""
    return ScoreScratch(np.zeros(BLOCK, np.uint64))


def empty_tables() -> ModelTables:
    """Return the tables of a deployment without models."""
    return ModelTables(
        models=np.zeros(0, MODEL_DTYPE),
        trees=np.zeros(0, TREE_DTYPE),
        tree_nodes=np.zeros((0, SPLIT_KINDS + 1), np.int32),
        nodes=np.zeros(0, NODE_DTYPE),
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


def _append(base: ModelTables, part: ModelTables) -> ModelTables:
    models, trees, nodes, cards = (
        array.copy() for array in (part.models, part.trees, part.nodes, part.cards)
    )
    for field in ("tree_start", "tree_stop"):
        models[field] += len(base.trees)
    for field in ("card_start", "card_stop"):
        models[field] += len(base.cards)
    for field in ("step_start", "step_stop"):
        models[field] += len(base.step_from)
    trees["root"] = _shift(trees["root"], len(base.nodes), len(base.leaf_value))
    trees["leaf_start"] += len(base.leaf_value)
    for field in ("left", "right"):
        nodes[field] = _shift(nodes[field], len(base.nodes), len(base.leaf_value))
    nodes["category"] += len(base.category_start) - 1
    for field in ("bin_start", "bin_stop"):
        cards[field] += len(base.bin_from)
    return ModelTables(
        models=np.concatenate([base.models, models]),
        trees=np.concatenate([base.trees, trees]),
        tree_nodes=np.concatenate([base.tree_nodes, part.tree_nodes + np.int32(len(base.nodes))]),
        nodes=np.concatenate([base.nodes, nodes]),
        leaf_value=np.concatenate([base.leaf_value, part.leaf_value]),
        category_start=np.concatenate(
            [base.category_start, part.category_start[1:] + len(base.category_words)]
        ),
        category_words=np.concatenate([base.category_words, part.category_words]),
        cards=np.concatenate([base.cards, cards]),
        bin_from=np.concatenate([base.bin_from, part.bin_from]),
        bin_points=np.concatenate([base.bin_points, part.bin_points]),
        step_from=np.concatenate([base.step_from, part.step_from]),
        step_pd_ppm=np.concatenate([base.step_pd_ppm, part.step_pd_ppm]),
    )


def _shift(child: NDArray[np.int32], nodes: int, leaves: int) -> NDArray[np.int32]:
    """Shift node indices (>= 0) up by `nodes` and leaves (~leaf, < 0) by `leaves`."""
    return np.where(child >= 0, child + nodes, child - leaves).astype(np.int32)
