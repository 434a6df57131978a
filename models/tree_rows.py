"""One tree of a model file on its way into the tables: as nodes to walk and as tests to run."""

from collections.abc import Iterator, Sequence
from math import inf, nextafter
from typing import Any

import numpy as np

from models.lightgbm_text import (
    CATEGORICAL_BIT,
    DEFAULT_LEFT_BIT,
    MISSING_NAN,
    MISSING_ZERO,
    TextTree,
)
from models.tables import (
    MASK_LEAVES_MAX,
    PATH_MASK,
    PATH_WALK,
    RANK_MAX,
    RANK_MIN,
    SCALE_CUTS_MAX,
    SCALE_DTYPE,
    SPLIT_CATEGORY,
    SPLIT_NAN_LEFT,
    SPLIT_NAN_RIGHT,
    SPLIT_ZERO_LEFT,
    SPLIT_ZERO_RIGHT,
    TEST_DTYPE,
    TESTS_A_PASS,
    VIEW_DTYPE,
    WORD_LEAVES,
    ZERO_LIMIT,
)

_NOTHING = (RANK_MAX, 0, 0)  # a test that drops no leaf


class TreeRows:
    """One tree: the meaning of each split, and its leaves numbered from left to right."""

    def __init__(self, tree: TextTree, columns: Sequence[int]) -> None:
        self.tree = tree
        self.path = PATH_MASK if tree.num_leaves <= MASK_LEAVES_MAX else PATH_WALK
        splits = range(tree.num_leaves - 1)
        self.columns = [columns[feature] for feature in tree.split_feature]
        self.meanings = [split_meaning(tree.decision_type[k], tree.threshold[k]) for k in splits]
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
        return node if self.meanings else ~leaf

    def leaf_values(self) -> list[float]:
        """Return the values of the leaves, from left to right."""
        return [self.tree.leaf_value[leaf] for leaf in self.leaves]

    def rows(
        self, node: int, leaf: int, category: int
    ) -> Iterator[tuple[float, int, int, int, int, int]]:
        """Yield NODE_DTYPE rows for a tree whose first node, leaf and category set have these
        indices.
        """
        place = {split: node + split for split in range(len(self.meanings))}
        place.update({~number: ~(leaf + position) for position, number in enumerate(self.leaves)})
        for split, (kind, limit) in enumerate(self.meanings):
            left, right = place[self.tree.left_child[split]], place[self.tree.right_child[split]]
            own_category = self.category(split, category)
            yield limit, self.columns[split], kind, left, right, own_category

    def category(self, split: int, first: int) -> int:
        """Return the index of a split's set, where the tree's first set is `first`; else 0."""
        is_category = self.meanings[split][0] == SPLIT_CATEGORY
        return first + int(self.tree.threshold[split]) if is_category else 0


class QuickRows:
    """Scales, views and tests of one model, tree by tree; layouts in `models/tables.py`."""

    def __init__(self, trees: Sequence[TreeRows]) -> None:
        limits: dict[int, set[float]] = {}
        for tree in trees:
            if tree.path == PATH_MASK:
                for column, (kind, limit) in zip(tree.columns, tree.meanings, strict=True):
                    if kind != SPLIT_CATEGORY:
                        limits.setdefault(column, set()).add(limit + 0.0)  # no -0.0
        self.scales: list[tuple[int, int, int]] = []
        self.views: list[tuple[int, int, int, int]] = []
        self.cuts: list[float] = []
        self.tests: list[tuple[int, int, int]] = []
        self.word_start = [0]
        self._rank: dict[tuple[int, float], tuple[int, int]] = {}
        self._view: dict[tuple[int, int, int], int] = {}
        for column in sorted(limits):
            rising = sorted(limits[column])
            for first in range(0, len(rising), SCALE_CUTS_MAX):
                self._add_scale(column, rising[first : first + SCALE_CUTS_MAX])

    def _add_scale(self, column: int, limits: list[float]) -> None:
        for rank, limit in enumerate(limits, RANK_MIN):
            self._rank[column, limit] = len(self.scales), rank
        half = 1
        while 2 * half - 1 < len(limits):
            half *= 2
        self.scales.append((column, len(self.cuts), half))
        self.cuts += limits + [inf] * (2 * half - 1 - len(limits))

    def _source(self, kind: int, column: int, scale: int, category: int) -> int:
        """Return the row of ranks that a test reads; a view is made where it is not there yet."""
        if kind == SPLIT_NAN_RIGHT:
            return scale
        key = (kind, column if kind == SPLIT_CATEGORY else scale, category)
        if key not in self._view:
            self._view[key] = len(self.scales) + len(self.views)
            self.views.append((kind, column, scale, category))
        return self._view[key]

    def add(self, tree: TreeRows, category: int) -> None:
        """Append the words of one tree whose first set of categories has that index."""
        if tree.path == PATH_WALK:
            return
        tests = []
        for split, (kind, limit) in enumerate(tree.meanings):
            column = tree.columns[split]
            scale, rank = 0, 0
            if kind != SPLIT_CATEGORY:
                scale, rank = self._rank[column, limit + 0.0]
            source = self._source(kind, column, scale, tree.category(split, category))
            start, stop = tree.left_places[split]
            tests.append((source, rank, (1 << stop) - (1 << start)))
        for first in range(0, tree.tree.num_leaves, WORD_LEAVES):
            word = [
                (rank, drop >> first & 0xFF, source)
                for source, rank, drop in sorted(tests)
                if drop >> first & 0xFF
            ]
            word += [_NOTHING] * (-len(word) % TESTS_A_PASS)
            self.tests += word
            self.word_start.append(len(self.tests))

    def tables(self) -> dict[str, Any]:
        """Return these rows as fields of `ModelTables`."""
        assert len(self.scales) + len(self.views) < 2**16
        return {
            "scales": np.array(self.scales, SCALE_DTYPE),
            "views": np.array(self.views, VIEW_DTYPE),
            "cuts": np.array(self.cuts, np.float64),
            "word_start": np.array(self.word_start, np.int32),
            "tests": np.array(self.tests, TEST_DTYPE),
        }


def split_meaning(decision_type: int, threshold: float) -> tuple[int, float]:
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
