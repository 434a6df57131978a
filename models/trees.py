"""Score gradient-boosted trees exactly as LightGBM does, in blocks of rows (part of stage 6).

A tree of at most 64 leaves is scored by QuickScorer: each split carries a mask of the leaves that stay
possible when its test fails, a row starts with all leaves and drops the masked ones, and the lowest leaf left
is where the row ends. No branch depends on data, so the compiler turns the loop over rows into vector
instructions. Larger trees, and waves of a few rows, walk the nodes from the root.

Source: Lucchese et al., "QuickScorer: a fast algorithm to rank documents with additive ensembles of regression
trees", SIGIR 2015. The meaning of each split is LightGBM's, see `models/lightgbm_text.py`.
"""

from collections.abc import Sequence
from math import inf, nextafter

import numpy as np
from numpy.typing import NDArray

from models.lightgbm_text import (
    CATEGORICAL_BIT,
    DEFAULT_LEFT_BIT,
    MISSING_NAN,
    MISSING_ZERO,
    TextModel,
    TextTree,
)
from models.tables import (
    KIND_TREES,
    MODEL_DTYPE,
    NODE_DTYPE,
    PATH_MASK32,
    PATH_MASK64,
    PATH_WALK,
    SPLIT_CATEGORY,
    SPLIT_KINDS,
    SPLIT_NAN_LEFT,
    SPLIT_NAN_RIGHT,
    SPLIT_ZERO_LEFT,
    SPLIT_ZERO_RIGHT,
    TREE_DTYPE,
    ZERO_LIMIT,
    ModelTables,
    ScoreScratch,
    empty_tables,
)
from streams.compile import kernel

WALK_ROWS_MAX = 4
"""Up to this many rows a walk from the root is cheaper than testing every split (measured)."""

_ALL32 = np.uint32(0xFFFFFFFF)
_ALL64 = np.uint64(0xFFFFFFFFFFFFFFFF)
_LOW32 = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)
_SHIFT_HIGH = np.uint64(32)
# Index of the only bit set in x = table[(x * _DE_BRUIJN >> 27) & 31]: the five bits differ for each x.
_DE_BRUIJN = np.uint64(0x077CB531)
_DE_BRUIJN_SHIFT = np.uint64(27)
_DE_BRUIJN_BITS = np.uint64(31)
_BIT_INDEX = np.zeros(32, np.int64)
for _bit in range(32):
    _BIT_INDEX[((1 << _bit) * 0x077CB531 >> 27) & 31] = _bit


@kernel
def lowest_leaf(live: np.uint64) -> np.int64:
    """Return the index of the lowest bit set in `live`, whose low 32 bits are not all 0."""
    bit = live & (~live + _ONE) & _LOW32
    return _BIT_INDEX[((bit * _DE_BRUIJN) >> _DE_BRUIJN_SHIFT) & _DE_BRUIJN_BITS]


@kernel
def category_goes_left(models: ModelTables, category: int, value: float) -> bool:
    """Return whether `value`, cut to a whole number, is in category set `category`; NaN is in none."""
    start = models.category_start[category]
    words = models.category_start[category + 1] - start
    if not -1.0 < value < words * 32.0:
        return False
    code = np.int64(value)
    word = np.int64(models.category_words[start + (code >> 5)])
    return (word >> (code & 31)) & 1 == 1


@kernel
def goes_left(models: ModelTables, node: int, value: float) -> bool:
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
def walk_tree(
    models: ModelTables, tree: int, vectors: NDArray[np.float64], row: int
) -> np.float64:
    """Return the leaf value that column `row` of `vectors` reaches in `tree`."""
    node = np.int64(models.trees[tree]["root"])
    while node >= 0:
        left = goes_left(models, node, vectors[models.nodes[node]["column"], row])
        node = np.int64(models.nodes[node]["left"] if left else models.nodes[node]["right"])
    return models.leaf_value[~node]


@kernel
def mask_tree32(
    models: ModelTables, tree: int, vectors: NDArray[np.float64], n_rows: int, live: NDArray[np.uint32]
) -> None:
    """Leave in `live[:n_rows]` the leaves that each row can still reach in `tree`, of at most 32 leaves."""
    for i in range(n_rows):
        live[i] = _ALL32
    for k in range(models.tree_nodes[tree, SPLIT_NAN_RIGHT], models.tree_nodes[tree, SPLIT_NAN_LEFT]):
        limit, right = models.nodes[k]["limit"], np.uint32(models.nodes[k]["mask"] & _LOW32)
        values = vectors[models.nodes[k]["column"]]
        for i in range(n_rows):
            live[i] &= _ALL32 if values[i] <= limit else right
    for k in range(models.tree_nodes[tree, SPLIT_NAN_LEFT], models.tree_nodes[tree, SPLIT_ZERO_RIGHT]):
        limit, right = models.nodes[k]["limit"], np.uint32(models.nodes[k]["mask"] & _LOW32)
        values = vectors[models.nodes[k]["column"]]
        for i in range(n_rows):
            live[i] &= right if values[i] > limit else _ALL32
    # The rarer kinds, one test each: not worth a loop of their own.
    for k in range(models.tree_nodes[tree, SPLIT_ZERO_RIGHT], models.tree_nodes[tree, SPLIT_CATEGORY + 1]):
        right = np.uint32(models.nodes[k]["mask"] & _LOW32)
        values = vectors[models.nodes[k]["column"]]
        for i in range(n_rows):
            live[i] &= _ALL32 if goes_left(models, k, values[i]) else right


@kernel
def mask_tree64(
    models: ModelTables, tree: int, vectors: NDArray[np.float64], n_rows: int, live: NDArray[np.uint64]
) -> None:
    """Do as `mask_tree32` for a tree of at most 64 leaves."""
    for i in range(n_rows):
        live[i] = _ALL64
    for k in range(models.tree_nodes[tree, SPLIT_NAN_RIGHT], models.tree_nodes[tree, SPLIT_NAN_LEFT]):
        limit, right = models.nodes[k]["limit"], models.nodes[k]["mask"]
        values = vectors[models.nodes[k]["column"]]
        for i in range(n_rows):
            live[i] &= _ALL64 if values[i] <= limit else right
    for k in range(models.tree_nodes[tree, SPLIT_NAN_LEFT], models.tree_nodes[tree, SPLIT_ZERO_RIGHT]):
        limit, right = models.nodes[k]["limit"], models.nodes[k]["mask"]
        values = vectors[models.nodes[k]["column"]]
        for i in range(n_rows):
            live[i] &= right if values[i] > limit else _ALL64
    for k in range(models.tree_nodes[tree, SPLIT_ZERO_RIGHT], models.tree_nodes[tree, SPLIT_CATEGORY + 1]):
        right = models.nodes[k]["mask"]
        values = vectors[models.nodes[k]["column"]]
        for i in range(n_rows):
            live[i] &= _ALL64 if goes_left(models, k, values[i]) else right


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

    Reads `vectors` (columns, BLOCK): features, NaN where missing. Sums leaf values in float64 in the order
    of the trees, so the result equals LightGBM's `predict(raw_score=True)` bit for bit.
    """
    for i in range(n_rows):
        total[i] = 0.0
    for tree in range(models.models[model]["tree_start"], models.models[model]["tree_stop"]):
        path = models.trees[tree]["path"]
        first = np.int64(models.trees[tree]["leaf_start"])
        if path == PATH_WALK or n_rows <= WALK_ROWS_MAX:
            for i in range(n_rows):
                total[i] += walk_tree(models, tree, vectors, i)
        elif path == PATH_MASK32:
            mask_tree32(models, tree, vectors, n_rows, scratch.live32)
            for i in range(n_rows):
                total[i] += models.leaf_value[first + lowest_leaf(np.uint64(scratch.live32[i]))]
        else:
            mask_tree64(models, tree, vectors, n_rows, scratch.live64)
            for i in range(n_rows):
                live = scratch.live64[i]
                if live & _LOW32:
                    leaf = lowest_leaf(live)
                else:
                    leaf = 32 + lowest_leaf(live >> _SHIFT_HIGH)
                total[i] += models.leaf_value[first + leaf]


def compile_trees(model: TextModel, columns: Sequence[int]) -> ModelTables:
    """Return the tables of this one model; `columns[f]` is the row of `vectors` that holds its feature f."""
    parts = [_TreeRows(tree, columns) for tree in model.trees]
    nodes = np.zeros(sum(len(part.splits) for part in parts), NODE_DTYPE)
    trees = np.zeros(len(parts), TREE_DTYPE)
    tree_nodes = np.zeros((len(parts), SPLIT_KINDS + 1), np.int32)
    node, leaf, words = 0, 0, list[int]()
    category_start = [0]
    for index, part in enumerate(parts):
        trees[index] = (part.path, node if part.splits else ~leaf, leaf)
        kinds = [part.kinds[split] for split in part.splits]
        tree_nodes[index] = node + np.searchsorted(kinds, np.arange(SPLIT_KINDS + 1))
        for row in part.rows(node, leaf, len(category_start) - 1):
            nodes[node] = row
            node += 1
        leaf += part.tree.num_leaves
        category_start.extend(len(words) + stop for stop in part.tree.cat_boundaries[1:])
        words.extend(part.tree.cat_threshold)
    models = np.zeros(1, MODEL_DTYPE)
    models["kind"], models["tree_stop"] = KIND_TREES, len(parts)
    return empty_tables()._replace(
        models=models,
        trees=trees,
        tree_nodes=tree_nodes,
        nodes=nodes,
        leaf_value=np.array([value for part in parts for value in part.leaf_values()], np.float64),
        category_start=np.array(category_start, np.int64),
        category_words=np.array(words, np.uint32),
    )


class _TreeRows:
    """One tree on its way into the tables: leaves numbered from left to right, splits sorted by kind."""

    def __init__(self, tree: TextTree, columns: Sequence[int]) -> None:
        self.tree = tree
        self.columns = columns
        splits = tree.num_leaves - 1
        self.kinds, self.limits = [0] * splits, [0.0] * splits
        for split in range(splits):
            self.kinds[split], self.limits[split] = _split_meaning(
                tree.decision_type[split], tree.threshold[split]
            )
        self.splits = sorted(
            range(splits), key=lambda split: (self.kinds[split], columns[tree.split_feature[split]], split)
        )
        self.leaves = self._leaves_left_to_right()
        if tree.num_leaves <= 32:
            self.path = PATH_MASK32
        else:
            self.path = PATH_MASK64 if tree.num_leaves <= 64 else PATH_WALK

    def _leaves_left_to_right(self) -> list[int]:
        """Return the file's leaf numbers in order, and note which of them stand left of each split."""
        order: list[int] = []
        self.left_leaves = [(0, 0)] * len(self.splits)
        # A stack and not recursion: a chain of a million splits is legal. ("left done", split) comes back
        # after the left side of a split, when the leaves found since its start are its left ones.
        stack: list[tuple[int, int]] = [(0 if self.splits else ~0, -1)]
        while stack:
            child, start = stack.pop()
            if child < 0:
                order.append(~child)
            elif start < 0:
                stack.append((self.tree.right_child[child], -1))
                stack.append((child, len(order)))
                stack.append((self.tree.left_child[child], -1))
            else:
                self.left_leaves[child] = (start, len(order))
        return order

    def leaf_values(self) -> list[float]:
        return [self.tree.leaf_value[leaf] for leaf in self.leaves]

    def rows(self, node: int, leaf: int, category: int) -> list[tuple[float, int, int, int, int, int, int]]:
        """Return NODE_DTYPE rows, for a tree whose first node, leaf and category set have these indices."""
        place = {split: node + position for position, split in enumerate(self.splits)}
        place.update({~number: ~(leaf + position) for position, number in enumerate(self.leaves)})
        rows = []
        for split in self.splits:
            mask = 0
            if self.path != PATH_WALK:
                start, stop = self.left_leaves[split]
                mask = (1 << 64) - 1 & ~((1 << stop) - (1 << start))
            is_category = self.kinds[split] == SPLIT_CATEGORY
            rows.append(
                (
                    self.limits[split],
                    mask,
                    self.columns[self.tree.split_feature[split]],
                    self.kinds[split],
                    place[self.tree.left_child[split]],
                    place[self.tree.right_child[split]],
                    category + int(self.tree.threshold[split]) if is_category else 0,
                )
            )
        return rows


def _split_meaning(decision_type: int, threshold: float) -> tuple[int, float]:
    """Return kind and limit that give LightGBM's answer for every float64, NaN and infinities included.

    LightGBM reads a value at most ZERO_LIMIT from 0 as 0, so a limit inside that range moves to its edge:
    then all such values fall on the side where 0 falls. NaN counts as 0 unless the split knows it as missing.
    """
    if decision_type & CATEGORICAL_BIT:
        return SPLIT_CATEGORY, 0.0
    zero_goes_left = threshold >= 0.0
    limit = threshold
    if -ZERO_LIMIT <= threshold < ZERO_LIMIT:
        limit = ZERO_LIMIT if zero_goes_left else nextafter(-ZERO_LIMIT, -inf)
    missing = decision_type >> 2
    default_left = bool(decision_type & DEFAULT_LEFT_BIT)
    if missing == MISSING_NAN:
        return (SPLIT_NAN_LEFT if default_left else SPLIT_NAN_RIGHT), limit
    if missing == MISSING_ZERO and default_left != zero_goes_left:
        return (SPLIT_ZERO_LEFT if default_left else SPLIT_ZERO_RIGHT), limit
    # Zero goes where the comparison sends it, and NaN goes with it.
    return (SPLIT_NAN_LEFT if zero_goes_left else SPLIT_NAN_RIGHT), limit
