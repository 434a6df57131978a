"""Training: split by time, exact scores, honest figures, the same folder from the same rows."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import isotonic_regression

from models.artifact import MANIFEST, Manifest, load_models
from models.errors import ModelError
from models.score import score_rows
from models.train import TrainingResult, measure, train
from models.train.card import CARD
from models.train.isotonic import fit_calibration, pool_adjacent_violators
from models.train.metrics import auc_delong, ks_bootstrap
from models.train.split import PARTS
from tests.models.borrowers import borrowers
from tests.sizes import sized

FEATURES = ["income", "dpd", "channel", "owns_home"]
HASHES = {feature: f"hash of {feature}" for feature in FEATURES}


def requests(rows: int = 1500) -> pl.DataFrame:
    """Return requests in no order of time."""
    rng = np.random.default_rng(5)
    return borrowers(rng, rows).with_columns(
        owns_home=rng.random(rows) < 0.5,
        at=rng.permutation(rows) // 2 * 1000,
    )


def run(folder: Path, frame: pl.DataFrame | None = None, **options: Any) -> TrainingResult:
    """Train with the defaults of these tests."""
    settings: dict[str, Any] = {
        "features": FEATURES,
        "label": "bad",
        "time": "at",
        "name": "m",
        "folder": folder,
        "definition_hashes": HASHES,
        "threads": 1,
        "rounds_max": 60,
    }
    return train(requests() if frame is None else frame, **{**settings, **options})


def test_a_trained_folder_loads_and_ranks(tmp_path: Path) -> None:
    """The folder loads by name, tells bad from good on later rows, and its PD is near the truth."""
    frame = requests()
    result = run(tmp_path / "m", frame, categorical=["channel"])
    tables, infos = load_models([tmp_path / "m"], {n: i for i, n in enumerate(FEATURES)}, HASHES)
    assert infos[0].sha256 == result.sha256
    assert result.rows_equal_trained == result.rows_test == 450
    assert result.auc.low > 0.7
    assert result.auc.low < result.auc.value < result.auc.high
    assert result.ks.low < result.ks.value < result.ks.high
    assert abs(result.mean_pd - result.bad_rate) < 0.06
    test = frame.filter(pl.col("at") >= 525 * 1000)
    _, pd_ppm = score_rows(tables, test.select(FEATURES).cast(pl.Float64).to_numpy())
    assert pd_ppm.mean() / 1e6 == pytest.approx(result.mean_pd)
    manifest = Manifest.model_validate_json((tmp_path / "m" / MANIFEST).read_bytes())
    assert manifest.training is not None
    assert manifest.training.test_from_ms == 525 * 1000
    assert manifest.training.auc == result.auc.value


def test_the_same_rows_give_the_same_folder(tmp_path: Path) -> None:
    """Neither the order of rows with other times nor the place of the folder changes a byte."""
    frame = requests().unique("at", keep="first", maintain_order=True)
    assert run(tmp_path / "a", frame).sha256 == run(tmp_path / "b", frame.reverse()).sha256


def test_later_rows_change_nothing_before(tmp_path: Path) -> None:
    """The model and its calibration know nothing of the test rows."""
    frame = requests()
    flipped = frame.with_columns(
        bad=pl.when(pl.col("at") >= 525_000).then(1 - pl.col("bad")).otherwise(pl.col("bad"))
    )
    split = {"boundaries_ms": (412_000, 525_000)}
    run(tmp_path / "a", frame, **split)
    run(tmp_path / "b", flipped, **split)
    for file in ("model.txt", "calibration.csv"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_four_parts_follow_one_another(tmp_path: Path) -> None:
    """With a share to test on, the newest rest is out of time, all is scored as LightGBM scores it,
    and the card tells each part, month and feature.
    """
    result = run(tmp_path / "m", fractions=(0.5, 0.15, 0.15), tries=3, lineage={"events": "e"})
    measured = result.rows_test + result.rows_out_of_time
    assert (result.rows_train, measured) == (750, 1500 - 750 - result.rows_calibrate)
    assert result.rows_equal_trained == measured
    card = orjson.loads((tmp_path / "m" / CARD).read_bytes())
    assert [part["part"] for part in card["data"]] == list(PARTS)
    assert card["data"][3]["auc"] == pytest.approx(result.auc_out_of_time.value)
    assert sum(row["rows"] for row in card["by_month"]) == measured
    assert sum(row["rows"] for row in card["reliability"]) == measured
    assert {row["feature"] for row in card["features"]} == set(FEATURES)
    assert len(card["search"]) == 3
    assert card["lineage"] == {"events": "e"}


def test_a_search_looks_at_rows_to_learn_from_only(tmp_path: Path) -> None:
    """Turning every outcome after the training rows changes nothing that the search says."""
    frame = requests()
    flipped = frame.with_columns(
        bad=pl.when(pl.col("at") >= 412_000).then(1 - pl.col("bad")).otherwise(pl.col("bad"))
    )
    told = []
    for name, rows in (("a", frame), ("b", flipped)):
        run(tmp_path / name, rows, boundaries_ms=(412_000, 525_000), tries=3)
        told.append(orjson.loads((tmp_path / name / CARD).read_bytes())["search"])
    assert told[0] == told[1]


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "no such feature": ({"features": ["gone"]}, "no column 'gone'"),
    "no features": ({"features": []}, "name at least one"),
    "feature twice": ({"features": ["dpd", "dpd"]}, "each once"),
    "text feature": (
        {"frame": requests().with_columns(dpd=pl.lit("x"))},
        "feature 'dpd' is String",
    ),
    "label as feature": ({"features": ["bad"]}, "'bad' is not in the catalog"),
    "label of 2": ({"frame": requests().with_columns(bad=pl.lit(2))}, "'bad' must be 1"),
    "label of text": ({"frame": requests().with_columns(bad=pl.lit("yes"))}, "'bad' must be 1"),
    "no time": (
        {"frame": requests().with_columns(at=pl.lit(None, pl.Int64))},
        "'at' must be whole",
    ),
    "dates": ({"frame": requests().with_columns(pl.from_epoch("at", "ms"))}, "'at' must be whole"),
    "no rows": ({"frame": requests().clear()}, "it has no rows"),
    "one outcome": (
        {"frame": requests().with_columns(bad=pl.lit(0))},
        "the train rows need good and bad ones",
    ),
    "all at once": ({"frame": requests().with_columns(at=pl.lit(1))}, "the train rows need"),
    "no test": ({"fractions": (0.5, 0.5)}, "together below 1"),
    "linear trees": ({"parameters": {"linear_tree": True}}, "linear trees are not supported"),
    "forest": ({"parameters": {"boosting": "rf"}}, "random forests"),
    "bad parameter": ({"parameters": {"num_leaves": 0}}, "lightgbm: "),
    "unknown category": ({"categorical": ["gone"]}, "categorical: 'gone' is not among"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_train_is_refused(name: str, tmp_path: Path) -> None:
    """A frame or setting that cannot give an exact model is refused, and no folder appears."""
    options, refusal = REFUSALS[name]
    with pytest.raises(ModelError) as caught:
        run(tmp_path / "m", **options)
    assert refusal in str(caught.value)
    assert not (tmp_path / "m").exists()


@settings(max_examples=sized(100))
@given(
    scores=st.lists(st.integers(0, 6), min_size=4, max_size=40),
    seed=st.integers(0, 1000),
)
def test_auc_and_ks_are_their_twins(scores: list[int], seed: int) -> None:
    """AUC is the share of pairs in order, ties half; KS is scipy's two-sample statistic."""
    bad = np.random.default_rng(seed).random(len(scores)) < 0.5
    bad[0], bad[1] = True, False
    score = np.array(scores, np.float64)
    pairs = [(b > g) + (b == g) / 2 for b in score[bad] for g in score[~bad]]
    auc = auc_delong(bad, score)
    assert auc.value == pytest.approx(sum(pairs) / len(pairs))
    assert auc.low <= auc.value <= auc.high
    expected = stats.ks_2samp(score[bad], score[~bad]).statistic
    assert ks_bootstrap(bad, score, seed).value == pytest.approx(expected)


def test_intervals_cover_the_truth() -> None:
    """Of 95 % intervals of AUC on normal scores, about 95 in 100 hold the true AUC."""
    rng = np.random.default_rng(11)
    true_auc = stats.norm.cdf(1 / np.sqrt(2))
    covered = 0
    for _ in range(400):
        bad = np.arange(300) < 100
        auc = auc_delong(bad, rng.normal(size=300) + bad)
        covered += auc.low <= true_auc <= auc.high
    assert 0.92 <= covered / 400 <= 0.98


def test_gini_and_brier_follow() -> None:
    """Gini is 2 AUC − 1, Brier the mean squared error, and the seed fixes all."""
    rng = np.random.default_rng(2)
    bad, pd = rng.random(500) < 0.3, rng.random(500)
    metrics = measure(bad, pd, pd, 1)
    assert metrics.gini.value == pytest.approx(2 * metrics.auc.value - 1)
    assert metrics.brier.value == pytest.approx(np.mean((pd - bad) ** 2))
    assert metrics == measure(bad, pd, pd, 1)
    assert (metrics.rows, metrics.bads) == (500, int(bad.sum()))


@settings(max_examples=sized(100))
@given(pairs=st.lists(st.tuples(st.floats(0, 1), st.floats(0.5, 9)), min_size=1, max_size=30))
def test_pooling_is_isotonic_regression(pairs: list[tuple[float, float]]) -> None:
    """Pooling adjacent violators gives scipy's isotonic regression."""
    values, weights = (np.array(column) for column in zip(*pairs, strict=True))
    expected = isotonic_regression(values, weights=weights).x
    np.testing.assert_allclose(pool_adjacent_violators(values, weights), expected, atol=1e-12)


@settings(max_examples=sized(100))
@given(
    raw=st.lists(st.integers(-9, 9), min_size=1, max_size=300),
    seed=st.integers(0, 1000),
)
def test_calibration_is_monotone_and_keeps_the_mean(raw: list[int], seed: int) -> None:
    """Steps rise strictly in score and PD, from any outcome, and the mean PD is the rate of bad."""
    bad = np.random.default_rng(seed).random(len(raw)) < 0.3
    scores = np.array(raw, np.float64)
    calibration = fit_calibration(bad, scores)
    assert calibration.raw_from[0] == -np.inf
    assert all(np.diff(calibration.raw_from[1:]) > 0)
    assert all(np.diff(calibration.pd_ppm) > 0)
    assert 1 <= calibration.pd_ppm[0] <= calibration.pd_ppm[-1] <= 999_999
    steps = np.searchsorted(calibration.raw_from, scores, side="right") - 1
    mean = np.array(calibration.pd_ppm)[steps].mean() / 1e6
    assert mean == pytest.approx(bad.mean(), abs=0.05)


def test_heloc_reaches_the_published_quality(data_dir: Path, tmp_path: Path) -> None:
    """On the FICO challenge a plain model reaches the published AUC of 0.79, exactly scored."""
    frame = pl.read_csv(data_dir / "heloc" / "heloc.csv.gz", infer_schema_length=None)
    features = [column for column in frame.columns if column != "RiskPerformance"]
    # It has no dates: the order in the file, shuffled by a fixed seed, stands for time.
    frame = frame.with_columns(
        bad=(pl.col("RiskPerformance") == "Bad").cast(pl.Int64),
        at=pl.int_range(pl.len()).shuffle(seed=1),
    )
    result = run(
        tmp_path / "heloc",
        frame,
        features=features,
        definition_hashes=dict.fromkeys(features, "heloc"),
        rounds_max=400,
    )
    assert 0.77 < result.auc.value < 0.82
    assert 0.40 < result.ks.value < 0.49
    assert result.rows_equal_trained == result.rows_test
    assert abs(result.mean_pd - result.bad_rate) < 0.05
