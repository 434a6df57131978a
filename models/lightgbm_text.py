"""Read LightGBM's text model format into plain trees; refuse what dipper does not score exactly.

The live worker never imports lightgbm, so this is the one reader of the format. It is stricter than
LightGBM's own: unknown keys, stray bytes and sizes that disagree are refused, since a model that is
read differently here than there would decide differently. Meanings follow LightGBM's documented
behaviour for versions v3 and v4 of the format.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from pathlib import Path

from models.errors import ModelError

_VERSIONS = ("v3", "v4")
_OBJECTIVES = ("binary", "cross_entropy", "regression")
_HEADER_KEYS = {
    "version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective",
    "average_output", "feature_names", "monotone_constraints", "feature_infos", "tree_sizes",
}  # fmt: skip
_TREE_KEYS = {
    "num_leaves", "num_cat", "split_feature", "split_gain", "threshold", "decision_type",
    "left_child", "right_child", "leaf_value", "leaf_weight", "leaf_count", "internal_value",
    "internal_weight",
    "internal_count", "cat_boundaries", "cat_threshold", "is_linear",
    "shrinkage", "leaf_const", "num_features", "leaf_features", "leaf_coeff",
}  # fmt: skip
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_NOT_TEXT = re.compile(rb"[^\n -~]")
LEAVES_MAX = 1 << 20
"""More leaves than any sensible tree: a guard against a corrupt count."""

CATEGORICAL_BIT = 1
DEFAULT_LEFT_BIT = 2
MISSING_NONE = 0
MISSING_ZERO = 1
MISSING_NAN = 2


@dataclass(frozen=True, slots=True)
class TextTree:
    """One tree as it stands in the file; children >= 0 are splits, others are ~leaf."""

    num_leaves: int
    leaf_value: list[float]
    split_feature: list[int]
    threshold: list[float]
    decision_type: list[int]
    left_child: list[int]
    right_child: list[int]
    cat_boundaries: list[int]
    cat_threshold: list[int]


@dataclass(frozen=True, slots=True)
class TextModel:
    """A gradient-boosted model of one output; its raw score is the sum of its trees in order."""

    feature_names: list[str]
    objective: str
    trees: list[TextTree]


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    offset: int
    text: str


class _Reader:
    """The lines of one file with their numbers, and refusals that name them."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self._lines: Iterator[_Line] = self._split(text)
        self.line = _Line(0, 0, "")

    @staticmethod
    def _split(text: str) -> Iterator[_Line]:
        offset = 0
        # What stands after the last line end is cut off, or nothing.
        for number, line in enumerate(text.split("\n")[:-1], start=1):
            yield _Line(number, offset, line)
            offset += len(line) + 1

    def step(self) -> str:
        line = next(self._lines, None)
        if line is None:
            raise ModelError(
                f"{self.path}:{self.line.number + 1}: the file ends early; copy the model again."
            )
        self.line = line
        return line.text

    def refuse(self, sentence: str) -> ModelError:
        return ModelError(f"{self.path}:{self.line.number}: {sentence}.")

    def keys_until_blank(self, known: set[str], where: str) -> dict[str, str]:
        """Read `key=value` lines up to a blank one."""
        values: dict[str, str] = {}
        while (text := self.step()) != "":
            key, _, value = text.partition("=")
            if key not in known:
                shown = key[:40].encode("unicode_escape").decode()
                raise self.refuse(
                    f"unknown key '{shown}' in {where}; save the model with LightGBM 3 or 4"
                )
            if key in values:
                raise self.refuse(f"key '{key}' stands twice in {where}; save the model again")
            values[key] = value
        return values

    def integers(self, values: dict[str, str], key: str, count: int, where: str) -> list[int]:
        items = self._items(values, key, count, where)
        if not all(_INTEGER.fullmatch(item) for item in items):
            raise self.refuse(
                f"'{key}' of {where} holds something else than whole numbers; save it again"
            )
        return [int(item) for item in items]

    def numbers(self, values: dict[str, str], key: str, count: int, where: str) -> list[float]:
        return self._finite(self._items(values, key, count, where), key, where)

    def thresholds(self, values: dict[str, str], count: int, where: str) -> list[float]:
        """Return numbers, or infinity for a split that only asks whether there is a value."""
        items = self._items(values, "threshold", count, where)
        self._finite([item for item in items if item != "inf"], "threshold", where)
        return [float(item) for item in items]

    def _finite(self, items: list[str], key: str, where: str) -> list[float]:
        if not all(_NUMBER.fullmatch(item) for item in items):
            raise self.refuse(
                f"'{key}' of {where} holds something else than finite numbers; retrain it"
            )
        numbers = [float(item) for item in items]
        if not all(isfinite(number) for number in numbers):
            raise self.refuse(
                f"'{key}' of {where} holds a number beyond float64; retrain the model"
            )
        return numbers

    def _items(self, values: dict[str, str], key: str, count: int, where: str) -> list[str]:
        if key not in values:
            raise self.refuse(f"'{key}' of {where} is missing; save the model again")
        items = values[key].split(" ") if values[key] else []
        if len(items) != count:
            raise self.refuse(
                f"'{key}' of {where} holds {len(items)} values, not {count}; save the model again"
            )
        return items


def parse_lightgbm_text(path: Path, data: bytes) -> TextModel:
    """Parse the text model `data`, read from `path`.

    Raises ModelError on anything but a one-output gradient-boosted model (gbdt, dart or goss) with
    constant leaves, naming file, line and remedy.
    """
    if bad := _NOT_TEXT.search(data):
        line = data.count(b"\n", 0, bad.start()) + 1
        raise ModelError(
            f"{path}:{line}: byte {bad.start()} is not printable ASCII; save the model again, with "
            "ASCII feature names and Unix line ends."
        )
    text = data.decode("ascii")
    reader = _Reader(path, text)
    if not text.startswith("tree\n"):
        raise ModelError(
            f"{path}:1: this is no LightGBM text model, which begins with 'tree'; use save_model."
        )
    reader.step()
    header = reader.keys_until_blank(_HEADER_KEYS, "the header")
    _refuse_unsupported(reader, header)
    features = _feature_names(reader, header)
    sizes = reader.integers(
        header, "tree_sizes", len(header.get("tree_sizes", "").split()), "the header"
    )
    trees = []
    for index, size in enumerate(sizes):
        if reader.step() != f"Tree={index}":
            raise reader.refuse(f"'Tree={index}' belongs here; the file is damaged, copy it again")
        start = reader.line.offset
        trees.append(_tree(reader, index, len(features)))
        while text.startswith("\n", reader.line.offset + len(reader.line.text) + 1):
            reader.step()
        stop = reader.line.offset + len(reader.line.text) + 1
        if stop - start != size:
            raise reader.refuse(
                f"tree {index} is {stop - start} bytes, not {size}; copy the file again"
            )
    if reader.step() != "end of trees":
        raise reader.refuse("'end of trees' belongs here; the file is damaged, copy it again")
    if not isfinite(sum(max(map(abs, tree.leaf_value)) for tree in trees)):
        raise reader.refuse("the leaf values can sum to infinity; retrain the model")
    return TextModel(features, header["objective"].split(" ")[0], trees)


def _refuse_unsupported(reader: _Reader, header: dict[str, str]) -> None:
    version = header.get("version", "")
    if version not in _VERSIONS:
        raise reader.refuse(
            f"format version '{version}' is not one of v3, v4; save it with LightGBM 3 or 4"
        )
    if "average_output" in header:
        raise reader.refuse(
            "random forests (averaged output) are not supported; train with boosting=gbdt"
        )
    if header.get("num_class") != "1" or header.get("num_tree_per_iteration") != "1":
        raise reader.refuse(
            "models of several outputs are not supported; train with objective=binary"
        )
    objective = header.get("objective", "").split(" ")[0]
    if objective not in _OBJECTIVES:
        raise reader.refuse(
            f"objective '{objective}' is none of {', '.join(_OBJECTIVES)}; train with 'binary'"
        )


def _feature_names(reader: _Reader, header: dict[str, str]) -> list[str]:
    last = reader.integers(header, "max_feature_idx", 1, "the header")[0]
    names = header.get("feature_names", "").split(" ")
    if len(names) != last + 1 or len(set(names)) != len(names) or "" in names:
        raise reader.refuse(
            "'feature_names' are not max_feature_idx + 1 different names; save the model again"
        )
    return names


def _tree(reader: _Reader, index: int, feature_count: int) -> TextTree:
    where = f"tree {index}"
    values = reader.keys_until_blank(_TREE_KEYS, where)
    if values.get("is_linear", "0") != "0":
        raise reader.refuse("linear trees are not supported; train with linear_tree=false")
    num_leaves = reader.integers(values, "num_leaves", 1, where)[0]
    num_cat = reader.integers(values, "num_cat", 1, where)[0]
    splits = num_leaves - 1
    if not 1 <= num_leaves <= LEAVES_MAX or not 0 <= num_cat <= splits:
        raise reader.refuse(
            f"{where} has {num_leaves} leaves, {num_cat} categorical; copy the file again"
        )
    boundaries, words = [0], list[int]()
    if num_cat > 0:
        boundaries = reader.integers(values, "cat_boundaries", num_cat + 1, where)
        words = reader.integers(values, "cat_threshold", max(boundaries[-1], 0), where)
    tree = TextTree(
        num_leaves=num_leaves,
        leaf_value=reader.numbers(values, "leaf_value", num_leaves, where),
        split_feature=reader.integers(values, "split_feature", splits, where),
        threshold=reader.thresholds(values, splits, where),
        decision_type=reader.integers(values, "decision_type", splits, where),
        left_child=reader.integers(values, "left_child", splits, where),
        right_child=reader.integers(values, "right_child", splits, where),
        cat_boundaries=boundaries,
        cat_threshold=words,
    )
    _check_tree(reader, where, tree, feature_count)
    return tree


def _check_tree(reader: _Reader, where: str, tree: TextTree, feature_count: int) -> None:
    """Refuse what would read outside an array, loop, or mean another thing to LightGBM."""
    splits = tree.num_leaves - 1
    if not all(0 <= feature < feature_count for feature in tree.split_feature):
        raise reader.refuse(
            f"{where} splits on a feature that is not in 'feature_names'; copy it again"
        )
    if not _is_one_tree(tree):
        raise reader.refuse(f"the children of {where} do not form one tree; copy the file again")
    starts = tree.cat_boundaries
    if starts[0] != 0 or any(stop < start for start, stop in pairwise(starts)):
        raise reader.refuse(f"'cat_boundaries' of {where} do not rise from 0; copy the file again")
    if not all(0 <= word < 1 << 32 for word in tree.cat_threshold):
        raise reader.refuse(
            f"'cat_threshold' of {where} is not of 32-bit words; copy the file again"
        )
    for split in range(splits):
        decision = tree.decision_type[split]
        if not 0 <= decision <= DEFAULT_LEFT_BIT + CATEGORICAL_BIT + (MISSING_NAN << 2):
            raise reader.refuse(
                f"split {split} of {where} has unknown decision_type {decision}; copy it again"
            )
        if decision & CATEGORICAL_BIT and tree.threshold[split] not in range(len(starts) - 1):
            raise reader.refuse(
                f"split {split} of {where} names no set of categories; copy the file again"
            )


def _is_one_tree(tree: TextTree) -> bool:
    """Whether each split but the root, and each leaf, is the child of exactly one split that comes
    before it.
    """
    splits = tree.num_leaves - 1
    seen_splits, seen_leaves = {0} if splits else set[int](), set[int]()
    for split, children in enumerate(zip(tree.left_child, tree.right_child, strict=True)):
        for child in children:
            if child >= 0:
                if not split < child < splits or child in seen_splits:
                    return False
                seen_splits.add(child)
            else:
                if not 0 <= ~child < tree.num_leaves or ~child in seen_leaves:
                    return False
                seen_leaves.add(~child)
    return len(seen_splits) == splits and len(seen_leaves) == (tree.num_leaves if splits else 0)
