"""Reject inference: an assumption that is named, does what it says, and is held to a random arm."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.artifact import MANIFEST, Manifest
from models.errors import ModelError
from models.train import train
from models.train.card import CARD
from models.train.fit import TrainingResult
from models.train.isotonic import fit_calibration
from models.train.metrics import auc_weighted
from models.train.reject import MODELS, declined_of, inferred_pd

FEATURES = ["income", "dpd", "noise"]
WORSE = 2.5
"""Odds of the declined over those of the approved of equal features, in the world below."""
CHANCE = 0.1


@pytest.fixture(scope="module")
def world() -> pl.DataFrame:
    """Give requests of which the risky are declined, but for one in ten by chance: `true_pd` is
    known to us alone, and the declined are worse than their features say.
    """
    rng, rows = np.random.default_rng(5), 6_000
    income, dpd = rng.normal(size=rows), rng.poisson(1.0, rows).astype(float)
    risk = 0.7 * dpd - income
    declined = risk + rng.normal(size=rows) > 0.3
    pd = 1 / (1 + np.exp(2.0 - risk - np.where(declined, np.log(WORSE), 0.0)))
    bad = rng.random(rows) < pd
    known = ~declined | (rng.random(rows) < CHANCE)
    return pl.DataFrame(
        {
            "income": income,
            "dpd": dpd,
            "noise": rng.normal(size=rows),
            "bad": np.where(known, bad, 0),
            "label": np.where(known, np.where(bad, "bad", "good"), "declined"),
            "propensity": np.where(declined, CHANCE, 1.0),
            "at": np.arange(rows) * 1_000,
            "true_pd": pd,
        }
    )


def learn(world: pl.DataFrame, folder: Path, odds: float | None, **more: Any) -> TrainingResult:
    """Train on known outcomes, with the declined at `odds` or without them."""
    return train(
        world.filter(pl.col("label") != "declined"),
        FEATURES,
        label="bad",
        time="at",
        name="m",
        folder=folder / "m",
        definition_hashes=dict.fromkeys(FEATURES, "h"),
        threads=1,
        rounds_max=80,
        declined=None if odds is None else declined_of(world, FEATURES, "at", odds),
        **more,
    )


@pytest.mark.parametrize("kind", ["lightgbm", "scorecard"])
def test_the_right_assumption_nears_the_truth(
    kind: str, world: pl.DataFrame, tmp_path: Path
) -> None:
    """With the odds that the world has, the mean PD of all who ask comes nearer to the truth, and
    the random arm says so: its bad rate covers the truth, its difference lies below nothing.
    """
    result = learn(world, tmp_path, WORSE, kind=kind)
    card = orjson.loads((tmp_path / "m" / CARD).read_bytes())
    told = card["reject_inference"]
    assert told == result.inference
    assert "2.5 times" in told["assumption"]
    arm = told["random_arm"]
    later = world.filter(pl.col("at") >= result.test_from_ms)
    truth = float(later["true_pd"].mean())  # type: ignore[arg-type]
    assert arm["bad_rate"]["low"] < truth < arm["bad_rate"]["high"]
    off = [abs(arm[f"{name}: mean_pd"]["value"] - truth) for name in MODELS]
    assert off[0] < 0.6 * off[1]
    assert arm["mean_pd_off difference"]["high"] < 0
    assert arm["rows"] == result.rows_test
    # The manifest, which a decision names by its hash, bears the assumption too.
    manifest = Manifest.model_validate_json((tmp_path / "m" / MANIFEST).read_bytes())
    assert manifest.lineage is not None
    assert told["assumption"] in manifest.lineage["reject_inference"]
    declined = world.filter(
        (pl.col("label") == "declined") & (pl.col("at") < result.test_from_ms)
    ).height
    assert told["rows"] == declined
    assert result.rows_equal_trained == result.rows_test


def test_equal_odds_teach_little(world: pl.DataFrame, tmp_path: Path) -> None:
    """With a factor of 1 the mean PD of all who ask stays about where it was."""
    result = learn(world, tmp_path, 1.0)
    assert result.inference is not None
    means = [result.inference["random_arm"][f"{name}: mean_pd"]["value"] for name in MODELS]
    assert means[0] == pytest.approx(means[1], abs=0.02)


def test_without_it_nothing_is_told(world: pl.DataFrame, tmp_path: Path) -> None:
    """Without the option no card, manifest or result speaks of declined requests."""
    assert learn(world, tmp_path, None, tries=2).inference is None
    card = orjson.loads((tmp_path / "m" / CARD).read_bytes())
    assert card["reject_inference"] is None


def test_without_an_arm_nothing_is_claimed(world: pl.DataFrame, tmp_path: Path) -> None:
    """Where chance had no part, the card says that nothing can tell whether it holds; a search
    is kept as it was made before.
    """
    result = learn(world.drop("propensity"), tmp_path, WORSE, tries=2)
    assert result.inference is not None
    assert result.inference["random_arm"] is None
    assert len(orjson.loads((tmp_path / "m" / CARD).read_bytes())["search"]) == 2


def test_later_declined_requests_are_not_looked_at(world: pl.DataFrame, tmp_path: Path) -> None:
    """Declined requests of the time to test on change neither trees nor calibration."""
    cut = learn(world, tmp_path / "a", WORSE).test_from_ms
    learn(world.filter((pl.col("label") != "declined") | (pl.col("at") < cut)),
          tmp_path / "b", WORSE)  # fmt: skip
    for file in ("model.txt", "calibration.csv"):
        one, other = ((tmp_path / side / "m" / file).read_bytes() for side in "ab")
        assert one == other


def test_no_declined_is_told(world: pl.DataFrame) -> None:
    """Where every request has an outcome there is nothing to infer, and a sentence says so."""
    known = world.filter(pl.col("label") != "declined")
    with pytest.raises(ModelError, match="every request of the log has an outcome"):
        declined_of(known, FEATURES, "at", 2.0)
    with pytest.raises(ModelError, match="take 1 to 10"):
        declined_of(world, FEATURES, "at", 0.0)


@given(st.floats(0, 1), st.floats(0.1, 10))
def test_odds_are_multiplied(pd: float, factor: float) -> None:
    """The inferred PD has `factor` times the odds, and stays a probability."""
    p = float(inferred_pd(np.array([pd]), factor)[0])
    assert 0 <= p <= 1
    assert p * (1 - pd) == pytest.approx(factor * pd * (1 - p), abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(1, 3)),
                min_size=1, max_size=30))  # fmt: skip
def test_a_weight_is_as_many_rows(rows: list[tuple[int, bool, int]]) -> None:
    """A row of weight k counts in AUC as k rows do, and in a calibration as well."""
    rows = [*rows, (2, True, 1), (2, False, 1)]
    score, bad, weight = (np.array(column) for column in zip(*rows, strict=True))
    many = np.repeat(score, weight).astype(float), np.repeat(bad, weight)
    one = auc_weighted(bad, score.astype(float), weight.astype(float))
    pairs = [(b > g) + (b == g) / 2 for b in many[0][many[1]] for g in many[0][~many[1]]]
    assert one == pytest.approx(float(np.mean(pairs)))
    weighed = fit_calibration(bad, np.zeros(len(bad)), weight.astype(float))
    assert weighed.pd_ppm == fit_calibration(many[1], np.zeros(len(many[1]))).pd_ppm
