"""Trees score as LightGBM does, bit for bit, whatever the splits, the values and the number of
rows.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.lean_lightgbm import lgb
from models.lightgbm_text import TextModel, parse_lightgbm_text
from models.score import score_block
from models.tables import (
    BLOCK,
    PATH_MASK,
    PATH_WALK,
    ModelTables,
    empty_tables,
    join_models,
    make_scratch,
)
from models.trees import compile_trees
from tests.models.tree_twin import EDGES, FEATURES, random_model, render, to_block, twin_raw, values
from tests.sizes import sized

PLACE = [5, 0, 2, 3]  # the catalog's columns need not stand in the model's order
COLUMNS = 7
LEAF_COUNTS = st.lists(st.integers(1, 70), min_size=0, max_size=6)


def with_one_step(tables: ModelTables) -> ModelTables:
    """Give a model the shortest calibration: one step."""
    tables.models["step_stop"] = 1
    return tables._replace(step_from=np.array([-np.inf]), step_pd_ppm=np.array([7], np.int64))


def raw_scores(
    tables: ModelTables, vectors: NDArray[np.float64], n_rows: int
) -> NDArray[np.float64]:
    """Score one block; what the kernel must not touch stays NaN."""
    count = len(tables.models)
    raw, pd_ppm = np.full((count, BLOCK), np.nan), np.full((count, BLOCK), -5, np.int64)
    score_block(tables, vectors, n_rows, raw, pd_ppm, make_scratch(tables))
    assert np.isnan(raw[:, n_rows:]).all()
    assert (pd_ppm[:, n_rows:] == -5).all()
    return raw[:, :n_rows]


def same_bits(left: NDArray[np.float64], right: Any) -> bool:
    """Compare float64 arrays bit for bit: NaN equals itself, 0.0 is not -0.0."""
    return np.array_equal(left.view(np.uint64), right.view(np.uint64))


@pytest.mark.kernel
@settings(max_examples=sized(150))
@given(
    seed=st.integers(0, 2**32),
    leaf_counts=LEAF_COUNTS,
    rows=st.lists(st.lists(values, min_size=FEATURES, max_size=FEATURES), min_size=1, max_size=12),
)
def test_kernel_is_its_twin(seed: int, leaf_counts: list[int], rows: list[list[float]]) -> None:
    """Masks and walks give the sum that a plain walk in Python gives, for few and for many rows."""
    model = random_model(seed, leaf_counts)
    tables = with_one_step(compile_trees(model, PLACE))
    expected = np.array([twin_raw(model, row) for row in rows])
    for n_rows in (1, len(rows)):
        block = to_block(np.array(rows), COLUMNS, PLACE)
        assert same_bits(raw_scores(tables, block, n_rows)[0], expected[:n_rows])


@settings(max_examples=sized(60))
@given(seed=st.integers(0, 2**32), leaf_counts=st.lists(st.integers(1, 90), min_size=1, max_size=5))
def test_generated_text_scores_as_in_lightgbm(seed: int, leaf_counts: list[int]) -> None:
    """LightGBM reads the same text, with every kind of split and value, to the same raw scores."""
    text = render(random_model(seed, leaf_counts))
    rng = np.random.default_rng(seed)
    rows = rng.choice([*EDGES, *rng.normal(size=20), *range(100)], size=(BLOCK, FEATURES))
    expected = lgb.Booster(model_str=text).predict(rows, raw_score=True)
    tables = with_one_step(
        compile_trees(parse_lightgbm_text(Path("model.txt"), text.encode()), PLACE)
    )
    assert same_bits(raw_scores(tables, to_block(rows, COLUMNS, PLACE), BLOCK)[0], expected)


def training_rows(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """2,000 rows with missing values, zeros, a sparse column and two columns of categories."""
    X = rng.normal(size=(2000, 6))
    X[rng.random(X.shape) < 0.1] = np.nan
    X[rng.random(X.shape) < 0.2] = 0.0
    X[:, 3] = np.where(rng.random(2000) < 0.9, 0.0, X[:, 3])
    X[:, 4] = rng.integers(0, 40, 2000)
    X[:, 5] = rng.integers(0, 300, 2000)
    X[rng.random(2000) < 0.1, 5] = np.nan
    signal = np.nan_to_num(X[:, 0]) + (X[:, 4] % 7 > 2) + np.nan_to_num(X[:, 5]) % 3 / 2
    return X, (signal + rng.normal(size=2000) > 1.0).astype(float)


BASE = {"objective": "binary", "verbose": -1, "num_threads": 1, "seed": 1, "min_data_in_leaf": 5}
TRAINED: dict[str, dict[str, Any]] = {
    "31 leaves": {"num_leaves": 31},
    "32 leaves, no missing type": {"num_leaves": 32, "use_missing": False},
    "64 leaves, zero as missing": {"num_leaves": 64, "zero_as_missing": True},
    "65 leaves": {"num_leaves": 65},
    "200 leaves, zero as missing": {"num_leaves": 200, "zero_as_missing": True},
    "stumps": {"num_leaves": 2},
    "single leaves": {"min_data_in_leaf": 1500},
    "dart": {"boosting": "dart", "drop_rate": 0.5},
    "goss": {"data_sample_strategy": "goss"},
    "no average first": {"boost_from_average": False},
    "cross entropy": {"objective": "cross_entropy"},
    "regression": {"objective": "regression"},
    "one-hot categories": {"max_cat_to_onehot": 500},
    "monotone": {"monotone_constraints": [1, -1, 0, 0, 0, 0]},
}


@pytest.mark.parametrize("name", TRAINED)
def test_trained_models_score_as_in_lightgbm(name: str, tmp_path: Path) -> None:
    """Each way to train a supported model ends in raw scores equal to LightGBM's, bit for bit."""
    rng = np.random.default_rng(7)
    X, y = training_rows(rng)
    data = lgb.Dataset(X, y, categorical_feature=[4, 5])
    booster = lgb.train({**BASE, **TRAINED[name], "cat_smooth": 1}, data, 30)
    booster.save_model(tmp_path / "model.txt")
    model = parse_lightgbm_text(tmp_path / "model.txt", (tmp_path / "model.txt").read_bytes())
    tables = with_one_step(compile_trees(model, range(6)))
    probes = np.concatenate([X, rng.choice([*EDGES, *range(310)], size=(2000, 6))])
    expected = booster.predict(probes, raw_score=True)
    got = [
        raw_scores(tables, to_block(probes[start : start + BLOCK], 6, [*range(6)]), n_rows)[0]
        for start in range(0, len(probes), BLOCK)
        for n_rows in [min(BLOCK, len(probes) - start)]
    ]
    assert same_bits(np.concatenate(got), expected)


def test_split_on_presence_alone() -> None:
    """A split that tells missing from present has the limit infinity, and scores as in LightGBM."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(500, 2))
    X[rng.random(500) < 0.5, 0] = np.nan
    data = lgb.Dataset(X, np.isnan(X[:, 0]).astype(float))
    booster = lgb.train({**BASE, "num_leaves": 3}, data, 2)
    text = booster.model_to_string()
    assert "\nthreshold=inf" in text
    tables = with_one_step(
        compile_trees(parse_lightgbm_text(Path("model.txt"), text.encode()), range(2))
    )
    probes = np.array([[value, 0.0] for value in EDGES])
    got = raw_scores(tables, to_block(probes, 2, [0, 1]), len(probes))[0]
    assert same_bits(got, booster.predict(probes, raw_score=True))


def test_more_limits_than_a_byte_counts() -> None:
    """A column with more than 255 limits has several scales, and scores as in LightGBM."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(4000, 2))
    X[rng.random(4000) < 0.1, 1] = np.nan
    data = lgb.Dataset(X, rng.normal(size=4000), params={"max_bin": 4000})
    booster = lgb.train({**BASE, "objective": "regression", "num_leaves": 64}, data, 30)
    model = parse_lightgbm_text(Path("model.txt"), booster.model_to_string().encode())
    tables = with_one_step(compile_trees(model, range(2)))
    assert np.bincount(tables.scales["column"]).min() > 1
    got = raw_scores(tables, to_block(X[:BLOCK], 2, [0, 1]), BLOCK)[0]
    assert same_bits(got, booster.predict(X[:BLOCK], raw_score=True))


def test_path_is_chosen_at_load() -> None:
    """Up to 64 leaves a tree is masked, beyond it is walked."""
    tables = compile_trees(random_model(0, [1, 2, 64, 65]), PLACE)
    assert tables.trees["path"].tolist() == [PATH_MASK, PATH_MASK, PATH_MASK, PATH_WALK]


@pytest.mark.kernel
@pytest.mark.parametrize("n_rows", [0, 1, 5, 6, 7, 8, 9, 63, 127, 128])
def test_rows_do_not_know_their_neighbours(n_rows: int) -> None:
    """A row has the same score alone, in a short wave and in a full block."""
    model = random_model(3, [31, 64, 70])
    tables = with_one_step(compile_trees(model, PLACE))
    rows = np.random.default_rng(3).choice(EDGES, size=(BLOCK, FEATURES))
    expected = np.array([twin_raw(model, list(row)) for row in rows])
    block = to_block(rows, COLUMNS, PLACE)
    assert same_bits(raw_scores(tables, block, n_rows)[0], expected[:n_rows])


@pytest.mark.kernel
def test_joined_models_score_as_each_alone() -> None:
    """Models side by side score as they do alone, and no model at all is legal."""
    models: list[TextModel] = [random_model(seed, [1, 9, 40, 66, 3]) for seed in range(4)]
    alone = [with_one_step(compile_trees(model, PLACE)) for model in models]
    rows = np.random.default_rng(4).choice(EDGES, size=(20, FEATURES))
    block = to_block(rows, COLUMNS, PLACE)
    together = raw_scores(join_models(alone), block, 20)
    for index, tables in enumerate(alone):
        assert same_bits(together[index], raw_scores(tables, block, 20)[0])
    assert raw_scores(join_models([]), block, 20).shape == (0, 20)
    assert raw_scores(empty_tables(), block, 20).shape == (0, 20)
