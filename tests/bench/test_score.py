"""How fast stage 6 is: expected scores checked, figures and a hash of the result printed."""

import hashlib
import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from models.calibrate import Calibration, with_calibration
from models.score import score_block
from models.tables import BLOCK, ModelTables, make_scratch
from models.trees import compile_trees
from tests.models.tree_twin import (
    ALL_KINDS,
    FEATURES,
    PLAIN_KINDS,
    random_model,
    to_block,
    twin_raw,
)


def block_of_rows() -> NDArray[np.float64]:
    """Return a full block of rows with some values missing."""
    rows = np.random.default_rng(1).normal(size=(BLOCK, FEATURES))
    rows[rows > 1.5] = np.nan
    return rows


def scorer(
    tables: ModelTables, rows: NDArray[np.float64]
) -> tuple[Callable[[int], None], NDArray[np.float64]]:
    """Return a call that scores the first so many rows, and where it writes raw scores."""
    raw, pd_ppm = np.zeros((1, BLOCK)), np.zeros((1, BLOCK), np.int64)
    vectors, scratch = to_block(rows, FEATURES, list(range(FEATURES))), make_scratch(tables)
    return lambda n_rows: score_block(tables, vectors, n_rows, raw, pd_ppm, scratch), raw


@pytest.mark.parametrize("n_rows", [1, 16, BLOCK])
@pytest.mark.parametrize("kinds", [PLAIN_KINDS, ALL_KINDS], ids=["plain", "all"])
def test_speed_of_200_trees_of_31_leaves(n_rows: int, kinds: list[int]) -> None:
    """The scores are the twin's whatever the size of the wave; the time a row is printed."""
    model = random_model(9, [31] * 200, kinds)
    tables = compile_trees(model, range(FEATURES))
    rows = block_of_rows()
    score, raw = scorer(with_calibration(tables, Calibration([-np.inf], [1])), rows)
    score(n_rows)
    expected = np.array([twin_raw(model, list(row)) for row in rows[:n_rows]])
    assert np.array_equal(raw[0, :n_rows], expected)
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        score(n_rows)
        best = min(best, time.perf_counter() - start)
    digest = hashlib.sha256(raw[:, :n_rows].tobytes()).hexdigest()[:12]
    print(
        f"{len(kinds)} kinds of split, {n_rows} rows: {best / n_rows * 1e6:.2f} µs a row, {digest}"
    )
