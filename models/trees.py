"""Score gradient-boosted trees exactly as LightGBM does, in blocks of rows (part of stage 6).

A tree of at most 64 leaves is scored by QuickScorer: each split carries a mask of the leaves that
stay possible when its test fails, a row starts with all leaves and drops the masked ones, and the
lowest leaf left is where the row ends. No branch depends on data, so the compiler turns the loop
over rows into vector instructions. Larger trees, and waves of a few rows, walk the nodes from the
root.

Source: Lucchese et al., "QuickScorer: a fast algorithm to rank documents with additive ensembles of
regression trees", SIGIR 2015. The meaning of each split is LightGBM's, see
`models/lightgbm_text.py`.
"""

from collections.abc import Iterator, Sequence
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
    MASK_LEAVES_MAX,
    MODEL_DTYPE,
    NODE_DTYPE,
    PATH_MASK,
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

WALK_ROWS_MAX = 6
"""Up to this many rows a walk from the root is cheaper than testing every split (measured)."""

_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_ONE = np.uint64(1)
# 67 is the smallest number that leaves another remainder for each of the 64 powers of two in a
# uint64, so that one lookup finds which bit is set.
_BITS = np.uint64(67)
_BIT_INDEX = np.zeros(67, np.uint64)
for _bit in range(64):
    _BIT_INDEX[(1 << _bit) % 67] = _bit


@kernel
def lowest_leaf(live: np.uint64) -> np.uint64:
    """Return the index of the lowest bit set in `live`, which is not 0."""
    return _BIT_INDEX[(live & (~live + _ONE)) % _BITS]


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
def mask_nan_right(
    models: ModelTables,
    first: int,
    stop: int,
    vectors: NDArray[np.float64],
    n_rows: int,
    live: NDArray[np.uint64],
) -> None:
    """Drop from `live[:n_rows]` the leaves that splits `first` to `stop` exclude; they are even in
    number.

    Two splits a pass save every second load and store of `live`. The unsigned indices tell the
    compiler that none counts from the end: with signed ones it does not vectorise.
    """
    for k in range(first, stop, 2):
        limit, right = models.nodes[k]["limit"], models.nodes[k]["mask"]
        column = np.uint64(models.nodes[k]["column"])
        limit2, right2 = models.nodes[k + 1]["limit"], models.nodes[k + 1]["mask"]
        column2 = np.uint64(models.nodes[k + 1]["column"])
        for row in range(n_rows):
            i = np.uint64(row)
            keep = _ALL if vectors[column, i] <= limit else right
            keep2 = _ALL if vectors[column2, i] <= limit2 else right2
            live[i] &= keep & keep2


@kernel
def mask_nan_left(
    models: ModelTables,
    first: int,
    stop: int,
    vectors: NDArray[np.float64],
    n_rows: int,
    live: NDArray[np.uint64],
) -> None:
    """Do as `mask_nan_right` for splits whose missing values go left."""
    for k in range(first, stop, 2):
        limit, right = models.nodes[k]["limit"], models.nodes[k]["mask"]
        column = np.uint64(models.nodes[k]["column"])
        limit2, right2 = models.nodes[k + 1]["limit"], models.nodes[k + 1]["mask"]
        column2 = np.uint64(models.nodes[k + 1]["column"])
        for row in range(n_rows):
            i = np.uint64(row)
            keep = right if vectors[column, i] > limit else _ALL
            keep2 = right2 if vectors[column2, i] > limit2 else _ALL
            live[i] &= keep & keep2


@kernel
def mask_category(
    models: ModelTables,
    first: int,
    stop: int,
    vectors: NDArray[np.float64],
    n_rows: int,
    live: NDArray[np.uint64],
) -> None:
    """Do as `mask_nan_right` for splits on categories: `category_goes_left` without branches."""
    for k in range(first, stop):
        right = models.nodes[k]["mask"]
        column = np.uint64(models.nodes[k]["column"])
        category = models.nodes[k]["category"]
        start = models.category_start[category]
        words = models.category_start[category + 1] - start
        if words == 0:  # no category goes left, and there is no word to look at
            for row in range(n_rows):
                live[row] &= right
            continue
        end = words * 32.0
        for row in range(n_rows):
            i = np.uint64(row)
            value = vectors[column, i]
            known = -1.0 < value < end
            code = np.int64(value if known else 0.0)
            word = np.uint64(models.category_words[np.uint64(start + (code >> 5))])
            in_set = known and (word >> np.uint64(code & 31)) & _ONE == _ONE
            live[i] &= _ALL if in_set else right


@kernel
def mask_tree(
    models: ModelTables,
    tree: int,
    vectors: NDArray[np.float64],
    n_rows: int,
    live: NDArray[np.uint64],
) -> None:
    """Leave in `live[:n_rows]` the leaves that each row can still reach in `tree`, of at most 64
    leaves.

    Columns up to the next multiple of 8 are computed too, whatever they hold: whole vectors, no
    remainder.
    """
    whole = (n_rows + 7) & ~7
    live[:whole] = _ALL
    starts = models.tree_nodes[tree]
    mask_nan_right(models, starts[SPLIT_NAN_RIGHT], starts[SPLIT_NAN_LEFT], vectors, whole, live)
    mask_nan_left(models, starts[SPLIT_NAN_LEFT], starts[SPLIT_ZERO_RIGHT], vectors, whole, live)
    mask_category(models, starts[SPLIT_CATEGORY], starts[SPLIT_KINDS], vectors, n_rows, live)
    # Zero as missing is rare: by the general test, without a loop of its own.
    for k in range(starts[SPLIT_ZERO_RIGHT], starts[SPLIT_CATEGORY]):
        for row in range(n_rows):
            if not goes_left(models, k, vectors[models.nodes[k]["column"], row]):
                live[row] &= models.nodes[k]["mask"]


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
    live = scratch.live
    total[:n_rows] = 0.0
    for tree in range(models.models[model]["tree_start"], models.models[model]["tree_stop"]):
        if models.trees[tree]["path"] == PATH_WALK or n_rows <= WALK_ROWS_MAX:
            for row in range(n_rows):
                total[row] += walk_tree(models, tree, vectors, row)
        else:
            mask_tree(models, tree, vectors, n_rows, live)
            first = np.uint64(models.trees[tree]["leaf_start"])
            for row in range(n_rows):
                i = np.uint64(row)
                total[i] += models.leaf_value[first + lowest_leaf(live[i])]


def compile_trees(model: TextModel, columns: Sequence[int]) -> ModelTables:
    """Return the tables of this one model; `columns[f]` is the row of `vectors` that holds its
    feature f.
    """
    parts = [_TreeRows(tree, columns) for tree in model.trees]
    nodes = np.zeros(sum(len(part.order) for part in parts), NODE_DTYPE)
    trees = np.zeros(len(parts), TREE_DTYPE)
    tree_nodes = np.zeros((len(parts), SPLIT_KINDS + 1), np.int32)
    node, leaf, words = 0, 0, list[int]()
    category_start = [0]
    for index, part in enumerate(parts):
        trees[index] = (part.path, part.root(node, leaf), leaf)
        tree_nodes[index] = node + np.searchsorted(part.order_kinds, np.arange(SPLIT_KINDS + 1))
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


_PADDING = -1
_ALL_LEAVES = (1 << 64) - 1


class _TreeRows:
    """One tree on its way into the tables: leaves numbered from left to right, splits sorted by
    kind.
    """

    def __init__(self, tree: TextTree, columns: Sequence[int]) -> None:
        self.tree = tree
        self.path = PATH_MASK if tree.num_leaves <= MASK_LEAVES_MAX else PATH_WALK
        splits = range(tree.num_leaves - 1)
        self.columns = [columns[feature] for feature in tree.split_feature]
        self.meanings = [_split_meaning(tree.decision_type[k], tree.threshold[k]) for k in splits]
        self.order: list[int] = []
        self.order_kinds: list[int] = []
        for kind in range(SPLIT_KINDS):
            group = sorted(
                (k for k in splits if self.meanings[k][0] == kind), key=self.columns.__getitem__
            )
            if len(group) % 2 and kind in (SPLIT_NAN_RIGHT, SPLIT_NAN_LEFT):
                group.append(_PADDING)  # these kernels take two splits a pass
            self.order.extend(group)
            self.order_kinds.extend([kind] * len(group))
        self.leaves = self._leaves_left_to_right()

    def _leaves_left_to_right(self) -> list[int]:
        """Return the file's leaf numbers in order; note the places left of each split."""
        order: list[int] = []
        self.left_places = [(0, 0)] * len(self.meanings)
        # A stack and not recursion, since a chain of a million splits is legal. A split is met
        # twice: first with start -1, then after its left side with the place where that side
        # started.
        stack: list[tuple[int, int]] = [(0 if self.meanings else ~0, -1)]
        while stack:
            child, start = stack.pop()
            if child < 0:
                order.append(~child)
            elif start < 0:
                stack.append((self.tree.right_child[child], -1))
                stack.append((child, len(order)))
                stack.append((self.tree.left_child[child], -1))
            else:
                self.left_places[child] = (start, len(order))
        return order

    def root(self, node: int, leaf: int) -> int:
        """Return the index of the root if the tree's nodes start at `node`, or ~leaf for a single
        leaf.
        """
        return node + self.order.index(0) if self.meanings else ~leaf

    def leaf_values(self) -> list[float]:
        return [self.tree.leaf_value[leaf] for leaf in self.leaves]

    def rows(
        self, node: int, leaf: int, category: int
    ) -> Iterator[tuple[float, int, int, int, int, int, int]]:
        """Yield NODE_DTYPE rows for a tree whose first node, leaf and category set have these
        indices.
        """
        place = {split: node + position for position, split in enumerate(self.order)}
        place.update({~number: ~(leaf + position) for position, number in enumerate(self.leaves)})
        for split, kind in zip(self.order, self.order_kinds, strict=True):
            if split == _PADDING:
                yield 0.0, _ALL_LEAVES, 0, kind, 0, 0, 0
                continue
            mask = _ALL_LEAVES
            if self.path == PATH_MASK:
                start, stop = self.left_places[split]
                mask &= ~((1 << stop) - (1 << start))
            left, right = place[self.tree.left_child[split]], place[self.tree.right_child[split]]
            is_category = kind == SPLIT_CATEGORY
            own_category = category + int(self.tree.threshold[split]) if is_category else 0
            yield (
                self.meanings[split][1],
                mask,
                self.columns[split],
                kind,
                left,
                right,
                own_category,
            )


def _split_meaning(decision_type: int, threshold: float) -> tuple[int, float]:
    """Return kind and limit that give LightGBM's answer for every float64, NaN and infinities
    included.

    LightGBM reads a value at most ZERO_LIMIT from 0 as 0, so a limit inside that range moves to its
    edge: then all such values fall on the side where 0 falls. NaN counts as 0 unless the split
    knows it as missing.
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
