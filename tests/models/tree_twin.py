"""Naive twin of the tree kernels, and random models with every kind of split, as text."""

import math
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.lightgbm_text import TextModel, TextTree

FEATURES = 4
_ZERO = float(np.float32(1e-35))
# Values where a comparison can go wrong: around zero and its tolerance, signed zero, denormals,
# infinities, whole numbers beside their neighbours, categories beyond int32.
EDGES = [
    *(0.0, -0.0, _ZERO, -_ZERO, 5e-324, -5e-324, 1e-36, -1e-36, 2e-35, -2e-35, 1e-300, 0.5, -0.5),
    *(1.0, -1.0, -0.999, 1.5, 31.0, 32.0, 33.0, 63.9, 64.0, 95.0, 1e6, 1e300, -1e300),
    *(2.0**31 - 1, 2.0**31, -(2.0**31), 2.0**32, 2.0**53, math.inf, -math.inf, math.nan),
]
_LIMITS = [edge for edge in EDGES if edge > -math.inf]  # infinity asks for any value at all
values = st.one_of(st.sampled_from(EDGES), st.floats(width=64))

# LightGBM's decision_type: 1 categorical, 2 default left, 4 zero is missing, 8 NaN is missing.
ALL_KINDS = [0, 2, 4, 6, 8, 10, 1, 9]
PLAIN_KINDS = [0, 2, 8, 10]


def is_zero(value: float) -> bool:
    """LightGBM's zero: within a float32 1e-35."""
    return -_ZERO <= value <= _ZERO


def twin_leaf(tree: TextTree, row: list[float]) -> int:
    """Walk one tree as LightGBM's documentation and behaviour tell, obviously."""
    if tree.num_leaves == 1:
        return 0
    node = 0
    while node >= 0:
        value = row[tree.split_feature[node]]
        decision = tree.decision_type[node]
        missing = {0: "none", 1: "zero", 2: "nan"}[decision >> 2]
        if is_zero(value):
            value = 0.0
        if decision & 1:
            left = not math.isnan(value) and -1 < value < 2**31
            if left:
                word, bit = divmod(int(value), 32)
                start, stop = tree.cat_boundaries[int(tree.threshold[node]) :][:2]
                words = tree.cat_threshold[start:stop]
                left = word < len(words) and bool(words[word] >> bit & 1)
        else:
            if math.isnan(value) and missing != "nan":
                value = 0.0
            is_missing = math.isnan(value) or (missing == "zero" and value == 0.0)
            left = bool(decision & 2) if is_missing else value <= tree.threshold[node]
        node = tree.left_child[node] if left else tree.right_child[node]
    return ~node


def twin_raw(model: TextModel, row: list[float]) -> float:
    """Sum the leaves in the order of the trees."""
    total = 0.0
    for tree in model.trees:
        total += tree.leaf_value[twin_leaf(tree, row)]
    return total


def random_tree(rng: np.random.Generator, leaves: int, kinds: Sequence[int]) -> TextTree:
    """Grow a tree by splitting random leaves, numbered as LightGBM numbers nodes and leaves."""
    left, right, decisions, limits = [], [], [], []
    boundaries, words = [0], list[int]()
    parent_of_leaf: list[tuple[list[int], int] | None] = [None]
    for node in range(leaves - 1):
        leaf = int(rng.integers(len(parent_of_leaf)))
        parent = parent_of_leaf[leaf]
        if parent is not None:
            parent[0][parent[1]] = node
        left.append(~leaf)
        right.append(~(node + 1))
        parent_of_leaf[leaf] = (left, node)
        parent_of_leaf.append((right, node))
        decisions.append(int(rng.choice(kinds)))
        if decisions[-1] & 1:
            limits.append(float(len(boundaries) - 1))
            words.extend(int(word) for word in rng.integers(2**32, size=rng.integers(1, 4)))
            boundaries.append(len(words))
        else:
            limits.append(float(rng.choice(_LIMITS)) if rng.random() < 0.7 else float(rng.normal()))
    return TextTree(
        num_leaves=leaves,
        leaf_value=[float(value) for value in rng.normal(size=leaves)],
        split_feature=[int(feature) for feature in rng.integers(FEATURES, size=leaves - 1)],
        threshold=limits,
        decision_type=decisions,
        left_child=left,
        right_child=right,
        cat_boundaries=boundaries,
        cat_threshold=words,
    )


def random_model(seed: int, leaf_counts: list[int], kinds: Sequence[int] = ALL_KINDS) -> TextModel:
    """Return a model of a tree for each of `leaf_counts`, with splits of these decision types."""
    rng = np.random.default_rng(seed)
    names = [f"feature_{index}" for index in range(FEATURES)]
    return TextModel(names, "binary", [random_tree(rng, leaves, kinds) for leaves in leaf_counts])


def render(model: TextModel) -> str:
    """Write `model` in LightGBM's text format."""
    parts = []
    for index, tree in enumerate(model.trees):
        splits, leaves = range(tree.num_leaves - 1), range(tree.num_leaves)
        lines: dict[str, Sequence[object]] = {
            "num_leaves": [tree.num_leaves],
            "num_cat": [len(tree.cat_boundaries) - 1],
            "split_feature": tree.split_feature,
            "split_gain": [1 for _ in splits],
            "threshold": [repr(limit) for limit in tree.threshold],
            "decision_type": tree.decision_type,
            "left_child": tree.left_child,
            "right_child": tree.right_child,
            "leaf_value": [repr(value) for value in tree.leaf_value],
            "leaf_weight": [1 for _ in leaves],
            "leaf_count": [1 for _ in leaves],
            "internal_value": [0 for _ in splits],
            "internal_weight": [0 for _ in splits],
            "internal_count": [1 for _ in splits],
        }
        if len(tree.cat_boundaries) > 1:
            lines |= {"cat_boundaries": tree.cat_boundaries, "cat_threshold": tree.cat_threshold}
        lines |= {"is_linear": [0], "shrinkage": [1]}
        text = "".join(f"{key}={' '.join(map(str, line))}\n" for key, line in lines.items())
        parts.append(f"Tree={index}\n{text}\n\n")
    header = {
        "version": "v4",
        "num_class": 1,
        "num_tree_per_iteration": 1,
        "label_index": 0,
        "max_feature_idx": len(model.feature_names) - 1,
        "objective": "binary sigmoid:1",
        "feature_names": " ".join(model.feature_names),
        "feature_infos": " ".join("[-1:1]" for _ in model.feature_names),
        "tree_sizes": " ".join(str(len(part)) for part in parts),
    }
    top = "".join(f"{key}={value}\n" for key, value in header.items())
    return f"tree\n{top}\n{''.join(parts)}end of trees\n\nfeature_importances:\n"


def to_block(rows: NDArray[np.float64], columns: int, place: list[int]) -> NDArray[np.float64]:
    """Lay up to 128 rows out as `vectors` (columns, 128); junk stands where no row does."""
    block = np.full((columns, 128), 1e18)
    block[place, : len(rows)] = rows.T
    return block
