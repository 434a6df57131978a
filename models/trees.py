"""Score gradient-boosted trees exactly as LightGBM does, in blocks of rows (part of stage 6).

A tree of at most 64 leaves is scored by QuickScorer: each split carries a mask of the leaves that
are out of reach when its test fails, a row starts with all leaves and drops the masked ones, and
the lowest leaf left is where the row ends. No branch depends on data, so the compiler turns the
loops over rows into vector instructions.

1. Each value is ranked among the limits that the model compares its column with. From there on a
   test is one comparison of a byte, exact whatever the limits, and 32 rows fill a register where
   float64 would be four.
2. Missing values get a rank above or below all, a category's set the rank 0 or 1: so the five kinds
   of split are one kind of test.
3. Each tree's tests drop leaves, in words of eight leaves, as many bits as a rank has.

Larger trees, and waves of a few rows, walk the nodes from the root.

Source: Lucchese et al., "QuickScorer: a fast algorithm to rank documents with additive ensembles of
regression trees", SIGIR 2015. The meaning of each split is LightGBM's, see
`models/lightgbm_text.py`.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.lightgbm_text import TextModel
from models.tables import (
    KIND_TREES,
    MASK_LEAVES_MAX,
    MODEL_DTYPE,
    NODE_DTYPE,
    PATH_WALK,
    RANK_MAX,
    RANK_MIN,
    SPLIT_CATEGORY,
    SPLIT_NAN_LEFT,
    SPLIT_NAN_RIGHT,
    SPLIT_ZERO_LEFT,
    SPLIT_ZERO_RIGHT,
    TESTS_A_PASS,
    TREE_DTYPE,
    WORD_LEAVES,
    ZERO_LIMIT,
    ModelTables,
    ScoreScratch,
    empty_tables,
)
from models.tree_rows import QuickRows, TreeRows
from streams.compile import kernel
from streams.intrinsics import trailing_zeros

WALK_ROWS_MAX = 6
"""Up to this many rows a walk from the root is cheaper than testing every split (measured)."""

_ALL = np.uint8(0xFF)
_NO_LEAF = np.uint8(0)
_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_ABOVE_ALL, _BELOW_ALL = np.int8(RANK_MAX), np.int8(RANK_MIN)
WORDS_A_HALF = 4
assert WORDS_A_HALF * WORD_LEAVES == 32
assert 2 * WORDS_A_HALF * WORD_LEAVES == MASK_LEAVES_MAX
_SECOND, _THIRD, _FOURTH = (np.uint32(WORD_LEAVES * word) for word in range(1, WORDS_A_HALF))
_HIGH_HALF = np.uint64(32)
_ROWS_A_STEP = 32  # rows whose ranks fill a vector register


@kernel
def category_goes_left(models: ModelTables, category: int, value: float) -> bool:
    """Return whether set `category` holds `value` cut to a whole number; NaN is in none."""
    start = models.category_start[category]
    words = models.category_start[category + 1] - start
    if not -1.0 < value < words * 32.0:
        return False
    code = np.int64(value)
    word = np.int64(models.category_words[start + (code >> 5)])
    return (word >> (code & 31)) & 1 == 1


@kernel
def goes_left(models: ModelTables, node: int | np.int64, value: float) -> bool:
    """Return whether `value` goes left at `node`: the meaning of each split kind, in one place."""
    kind = models.nodes[node]["kind"]
    limit = models.nodes[node]["limit"]
    if kind == SPLIT_NAN_RIGHT:
        return value <= limit
    if kind == SPLIT_NAN_LEFT:
        return not value > limit
    if kind == SPLIT_ZERO_RIGHT:
        return value <= limit and not abs(value) <= ZERO_LIMIT
    if kind == SPLIT_ZERO_LEFT:
        return not (value > limit and abs(value) > ZERO_LIMIT)
    return category_goes_left(models, models.nodes[node]["category"], value)


@kernel
def walk_tree(models: ModelTables, tree: int, vectors: NDArray[np.float64], row: int) -> np.float64:
    """Return the leaf value that column `row` of `vectors` reaches in `tree`."""
    node = np.int64(models.trees[tree]["root"])
    while node >= 0:
        left = goes_left(models, node, vectors[models.nodes[node]["column"], row])
        node = np.int64(models.nodes[node]["left"] if left else models.nodes[node]["right"])
    return models.leaf_value[~node]


@kernel
def rank_columns(
    models: ModelTables,
    model: int,
    vectors: NDArray[np.float64],
    n_rows: int,
    scratch: ScoreScratch,
) -> None:
    """Write to `scratch.ranks` how many limits lie below each value, counted from RANK_MIN, by
    scale; RANK_MAX for NaN.

    A search by halves, a step for all rows at a time: the compiler makes it a gather of several
    rows. The unsigned indices tell it that none counts from the end.
    """
    ranks, place, cuts = scratch.ranks, scratch.place, models.cuts
    first = models.models[model]["scale_start"]
    for scale in range(first, models.models[model]["scale_stop"]):
        column = np.uint64(models.scales[scale]["column"])
        start = np.uint64(models.scales[scale]["cut_start"])
        half = np.uint64(models.scales[scale]["half"])
        into = np.uint64(scale - first)
        for row in range(n_rows):
            place[np.uint64(row)] = start
        while half > _ZERO:
            for row in range(n_rows):
                i = np.uint64(row)
                below = cuts[place[i] + half - _ONE] < vectors[column, i]
                place[i] += half * np.uint64(below)
            half >>= _ONE
        for row in range(n_rows):
            i = np.uint64(row)
            value = vectors[column, i]
            below = np.int8(np.int64(place[i] - start) + RANK_MIN)
            ranks[into, i] = _ABOVE_ALL if math.isnan(value) else below


@kernel
def rank_views(
    models: ModelTables,
    model: int,
    vectors: NDArray[np.float64],
    n_rows: int,
    ranks: NDArray[np.int8],
) -> None:
    """Write to `ranks`, behind the scales, each view: ranks where what is missing goes elsewhere,
    and 0 or 1 for categories in a set or not.
    """
    first = models.models[model]["view_start"]
    scales = models.models[model]["scale_stop"] - models.models[model]["scale_start"]
    for view in range(first, models.models[model]["view_stop"]):
        into = np.uint64(scales + view - first)
        kind = models.views[view]["kind"]
        column = np.uint64(models.views[view]["column"])
        scale = np.uint64(models.views[view]["scale"])
        if kind == SPLIT_NAN_LEFT:
            for row in range(n_rows):
                i = np.uint64(row)
                value = vectors[column, i]
                ranks[into, i] = _BELOW_ALL if math.isnan(value) else ranks[scale, i]
        elif kind == SPLIT_CATEGORY:
            category = models.views[view]["category"]
            for row in range(n_rows):
                ranks[into, row] = not category_goes_left(models, category, vectors[column, row])
        else:  # zero is missing: rare
            right = _ABOVE_ALL if kind == SPLIT_ZERO_RIGHT else _BELOW_ALL
            for row in range(n_rows):
                value = vectors[column, row]
                missing = math.isnan(value) or abs(value) <= ZERO_LIMIT
                ranks[into, row] = right if missing else ranks[scale, row]


@kernel
def drop_leaves(
    tests: NDArray[np.void],
    first: int,
    stop: int,
    ranks: NDArray[np.int8],
    n_rows: int,
    live: NDArray[np.uint8],
) -> None:
    """Drop from `live[:n_rows]` what tests `first` to `stop`, a multiple of TESTS_A_PASS, exclude.

    Four tests a pass save three of four loads and stores of `live`; more wait for their limits.
    """
    for k in range(first, stop, TESTS_A_PASS):
        source0, source1 = np.uint64(tests[k]["source"]), np.uint64(tests[k + 1]["source"])
        source2, source3 = np.uint64(tests[k + 2]["source"]), np.uint64(tests[k + 3]["source"])
        rank0, drop0 = tests[k]["rank"], tests[k]["drop"]
        rank1, drop1 = tests[k + 1]["rank"], tests[k + 1]["drop"]
        rank2, drop2 = tests[k + 2]["rank"], tests[k + 2]["drop"]
        rank3, drop3 = tests[k + 3]["rank"], tests[k + 3]["drop"]
        for row in range(n_rows):
            i = np.uint64(row)
            out0 = drop0 if ranks[source0, i] > rank0 else _NO_LEAF
            out1 = drop1 if ranks[source1, i] > rank1 else _NO_LEAF
            out2 = drop2 if ranks[source2, i] > rank2 else _NO_LEAF
            out3 = drop3 if ranks[source3, i] > rank3 else _NO_LEAF
            live[i] &= ~(out0 | out1 | out2 | out3)


@kernel
def add_leaves(
    models: ModelTables,
    tree: int,
    n_rows: int,
    total: NDArray[np.float64],
    scratch: ScoreScratch,
) -> None:
    """Add to `total[:n_rows]` the leaf of each row in `tree`, of at most MASK_LEAVES_MAX leaves.

    Columns of ranks up to the next multiple of _ROWS_A_STEP are looked at too, whatever they hold:
    whole vectors, no remainder.
    """
    whole = (n_rows + _ROWS_A_STEP - 1) & -_ROWS_A_STEP
    live = scratch.live
    first_word = models.trees[tree]["word_start"]
    words = models.trees[tree]["word_stop"] - first_word
    for word in range(words):
        live[word, :whole] = _ALL
        start, stop = models.word_start[first_word + word], models.word_start[first_word + word + 1]
        drop_leaves(models.tests, start, stop, scratch.ranks, whole, live[word])
    first = np.uint64(models.trees[tree]["leaf_start"])
    low, high = scratch.leaves[0], scratch.leaves[1]
    _put_side_by_side(live, 0, whole, low)
    if words <= WORDS_A_HALF:
        for row in range(n_rows):
            i = np.uint64(row)
            total[i] += models.leaf_value[first + np.uint64(trailing_zeros(low[i]))]
    else:
        _put_side_by_side(live, WORDS_A_HALF, whole, high)
        for row in range(n_rows):
            i = np.uint64(row)
            both = np.uint64(low[i]) | np.uint64(high[i]) << _HIGH_HALF
            total[i] += models.leaf_value[first + trailing_zeros(both)]


@kernel
def _put_side_by_side(
    live: NDArray[np.uint8], word: int, n_rows: int, leaves: NDArray[np.uint32]
) -> None:
    """Write four words from `word` on to `leaves[:n_rows]`, the first in the lowest bits.

    A tree may have fewer: what stands behind its words is above the leaf where a row ends.
    """
    for row in range(n_rows):
        i = np.uint64(row)
        leaves[i] = (
            np.uint32(live[word, i])
            | np.uint32(live[word + 1, i]) << _SECOND
            | np.uint32(live[word + 2, i]) << _THIRD
            | np.uint32(live[word + 3, i]) << _FOURTH
        )


@kernel
def score_trees(
    models: ModelTables,
    model: int,
    vectors: NDArray[np.float64],
    n_rows: int,
    total: NDArray[np.float64],
    scratch: ScoreScratch,
) -> None:
    """Write into `total[:n_rows]` the raw score of each row under tree model `model`.

    Reads `vectors` (columns, BLOCK): features, NaN where missing. Sums leaf values in float64 in
    the order of the trees, so the result equals LightGBM's `predict(raw_score=True)` bit for bit.
    """
    total[:n_rows] = 0.0
    if n_rows > WALK_ROWS_MAX:
        rank_columns(models, model, vectors, n_rows, scratch)
        rank_views(models, model, vectors, n_rows, scratch.ranks)
    for tree in range(models.models[model]["tree_start"], models.models[model]["tree_stop"]):
        if models.trees[tree]["path"] == PATH_WALK or n_rows <= WALK_ROWS_MAX:
            for row in range(n_rows):
                total[row] += walk_tree(models, tree, vectors, row)
        else:
            add_leaves(models, tree, n_rows, total, scratch)


def compile_trees(model: TextModel, columns: Sequence[int]) -> ModelTables:
    """Return the tables of this one model; `columns[f]` is the row of `vectors` that holds its
    feature f.
    """
    parts = [TreeRows(tree, columns) for tree in model.trees]
    nodes = np.zeros(sum(len(part.meanings) for part in parts), NODE_DTYPE)
    trees = np.zeros(len(parts), TREE_DTYPE)
    node, leaf, words = 0, 0, list[int]()
    category_start = [0]
    quick = QuickRows(parts)
    for index, part in enumerate(parts):
        word = len(quick.word_start) - 1
        quick.add(part, len(category_start) - 1)
        word_stop = len(quick.word_start) - 1
        trees[index] = (part.path, part.root(node, leaf), leaf, word, word_stop)
        for row in part.rows(node, leaf, len(category_start) - 1):
            nodes[node] = row
            node += 1
        leaf += part.tree.num_leaves
        category_start.extend(len(words) + stop for stop in part.tree.cat_boundaries[1:])
        words.extend(part.tree.cat_threshold)
    models = np.zeros(1, MODEL_DTYPE)
    models["kind"], models["tree_stop"] = KIND_TREES, len(parts)
    models["scale_stop"], models["view_stop"] = len(quick.scales), len(quick.views)
    return empty_tables()._replace(
        models=models,
        trees=trees,
        nodes=nodes,
        leaf_value=np.array([value for part in parts for value in part.leaf_values()], np.float64),
        category_start=np.array(category_start, np.int64),
        category_words=np.array(words, np.uint32),
        **quick.tables(),
    )
