"""Scorecards by training: exact points, in the catalog's direction, loaded as trees are."""

import sys
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest

from models.artifact import load_models
from models.errors import ModelError
from models.score import score_rows
from models.scorecard import CardFeature, parse_scorecard
from models.train import TrainingResult, train
from models.train.isotonic import fit_calibration
from models.train.points import ODDS, PDO, render_scorecard
from tests.models.borrowers import borrowers

FEATURES = ["noise", "dpd", "income", "channel", "income_again"]
HASHES = {feature: f"hash of {feature}" for feature in FEATURES}
MONOTONE = [0, 1, -1, 0, -1]


def requests(rows: int = 3_000) -> pl.DataFrame:
    """Return requests with a feature of nothing and one said twice."""
    rng = np.random.default_rng(5)
    return borrowers(rng, rows).with_columns(
        noise=rng.normal(size=rows),
        income_again=pl.col("income") + rng.normal(scale=0.05, size=rows),
        at=np.arange(rows) * 1000,
    )


def learn(folder: Path, frame: pl.DataFrame) -> TrainingResult:
    """Train a scorecard with four parts."""
    return train(
        frame,
        FEATURES,
        label="bad",
        time="at",
        name="points",
        folder=folder,
        definition_hashes=HASHES,
        kind="scorecard",
        categorical=["channel"],
        monotone=MONOTONE,
        fractions=(0.5, 0.2, 0.15),
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingResult, pl.DataFrame]:
    """Give a scorecard, and what it learnt from."""
    frame = requests()
    return learn(tmp_path_factory.mktemp("points") / "m", frame), frame


def test_a_scorecard_is_trained_and_loads(
    trained: tuple[TrainingResult, pl.DataFrame],
) -> None:
    """Its folder loads as that of trees does, ranks, is calibrated, and every measured row has the
    points that optbinning gives it.
    """
    result, frame = trained
    measured = result.rows_test + result.rows_out_of_time
    assert (result.trainer, result.rows_equal_trained) == ("optbinning", measured)
    assert result.auc.low > 0.7
    assert abs(result.mean_pd - result.bad_rate) < 0.06
    columns = {name: place for place, name in enumerate(FEATURES)}
    tables, infos = load_models([result.folder], columns, HASHES)
    assert infos[0].sha256 == result.sha256
    X = frame.select(FEATURES).cast(pl.Float64).to_numpy()
    raw, pd_ppm = score_rows(tables, X)
    # More points, less risk; never a jump back.
    order = np.argsort(raw[0], kind="stable")
    assert (np.diff(pd_ppm[0][order]) <= 0).all()
    assert len(np.unique(pd_ppm)) > 5
    # Twice the odds every PDO points: the slope of the outcome's log-odds on points says so.
    near = np.abs(raw[0] - np.median(raw[0])) < 2 * PDO
    good, bad = (raw[0][near & (frame["bad"].to_numpy() == k)] for k in (0, 1))
    assert good.mean() > bad.mean()
    odds = ODDS * 2.0 ** ((raw[0] - 600) / PDO)
    assert abs((1 / (1 + odds)).mean() - frame["bad"].mean()) < 0.02


def test_points_follow_the_hints(trained: tuple[TrainingResult, pl.DataFrame]) -> None:
    """Points move as the catalog says, noise is left out, and of two that say the same one stays;
    an unseen category is worth what a missing one is.
    """
    path = trained[0].folder / "scorecard.csv"
    card = {feature.name: feature for feature in parse_scorecard(path, path.read_bytes())}
    assert set(card) in ({"dpd", "channel", "income"}, {"dpd", "channel", "income_again"})
    assert (np.diff(card["dpd"].points) <= 0).all()
    assert len(card["dpd"].points) > 2
    income = card.get("income") or card["income_again"]
    assert (np.diff(income.points) >= 0).all()
    channel = card["channel"]
    by_code = dict(zip(channel.starts, channel.points, strict=True))
    assert by_code[3.0] == min(by_code.values())
    assert by_code[-np.inf] == by_code[5.0] == channel.missing_points


def test_its_card_says_what_drives_it(trained: tuple[TrainingResult, pl.DataFrame]) -> None:
    """card.json names scaling, information values and points, and every part is measured."""
    card = orjson.loads((trained[0].folder / "card.json").read_bytes())
    assert card["kind"] == "scorecard"
    assert card["parameters"] == {"base_points": 600, "odds": 50, "pdo": 20, "iv_min": 0.02}
    assert all(row["iv"] >= 0.02 and row["coefficient"] < 0 for row in card["features"])
    assert [part["auc"] > 0.7 for part in card["data"]] == [True] * 4


def test_the_same_rows_give_the_same_card(
    trained: tuple[TrainingResult, pl.DataFrame], tmp_path: Path
) -> None:
    """A second run gives the same content address."""
    assert learn(tmp_path / "again", trained[1]).sha256 == trained[0].sha256


def test_nothing_to_learn_is_told(tmp_path: Path) -> None:
    """Where no feature says anything, training refuses and leaves no folder."""
    frame = requests().with_columns(bad=pl.int_range(pl.len()) % 2)
    with pytest.raises(ModelError, match="none of 5 features tells bad from good"):
        learn(tmp_path / "m", frame)
    assert not (tmp_path / "m").exists()


def test_a_missing_library_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without optbinning one sentence says what to install."""
    monkeypatch.setitem(sys.modules, "optbinning", None)
    with pytest.raises(ModelError, match=r"pip install 'dipper\[scorecard\]'"):
        learn(tmp_path / "m", requests())


def test_a_falling_calibration_is_the_rising_one_turned() -> None:
    """Points turned into risk and calibrated give each row the same PD."""
    rng = np.random.default_rng(3)
    points = np.rint(rng.normal(500, 40, 2_000))
    bad = rng.random(2_000) < 1 / (1 + np.exp((points - 480) / 30))
    falling = fit_calibration(bad, points, falls=True)
    rising = fit_calibration(bad, -points)
    pds = [
        np.array(each.pd_ppm)[np.searchsorted(each.raw_from, values, side="right") - 1]
        for each, values in ((falling, points), (rising, -points))
    ]
    np.testing.assert_array_equal(pds[0], pds[1])
    assert list(falling.pd_ppm) == sorted(falling.pd_ppm, reverse=True)


def test_a_card_survives_its_file() -> None:
    """What is written is read back to the same floats and points."""
    features = [
        CardFeature("a", -5, [-np.inf, 0.1 + 0.2, 1e300], [1, 2, 3]),
        CardFeature("b", 0, [-np.inf], [7]),
    ]
    assert parse_scorecard(Path("s.csv"), render_scorecard(features)) == features
