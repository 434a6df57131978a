"""Curves and tables of scored rows, each against a definition of its own."""

import numpy as np
import pytest
from scipy import stats

from models.train import quality

RNG = np.random.default_rng(3)
BAD = RNG.random(2_000) < 0.2
SCORE = RNG.normal(size=2_000) + BAD
PD = 1 / (1 + np.exp(-SCORE + 1.8))


def test_a_population_is_stable_against_itself() -> None:
    """The stability index of a sample with itself is 0, grows with a shift, and sees missing
    values.
    """
    values = RNG.normal(size=5_000)
    assert quality.psi(values, values) == pytest.approx(0, abs=1e-12)
    near, far = (quality.psi(values, values + shift) for shift in (0.2, 1.0))
    assert near is not None
    assert far is not None
    assert 0.01 < near < 0.1
    assert far > 0.25
    gone = np.where(RNG.random(5_000) < 0.5, np.nan, values)
    assert (quality.psi(values, gone) or 0) > 1
    assert quality.psi(values, values[:0]) is None


def test_reliability_holds_every_row_once() -> None:
    """Bins rise in PD, cover all rows and bads, and their intervals hold the rate."""
    rows = quality.reliability(BAD, PD)
    assert sum(row["rows"] for row in rows) == len(BAD)
    assert sum(row["rows"] * row["bad_rate"] for row in rows) == pytest.approx(BAD.sum())
    assert [row["mean_pd"] for row in rows] == sorted(row["mean_pd"] for row in rows)
    assert all(row["low"] <= row["bad_rate"] <= row["high"] for row in rows)


def test_equal_scores_stay_together() -> None:
    """Rows of one PD are one bin, however many bins are asked for."""
    assert len(quality.reliability(BAD, np.full(len(BAD), 0.2))) == 1


def test_wilson_is_scipys() -> None:
    """The interval of a share is scipy's Wilson interval; of nothing it is all."""
    for hits, count in ((0, 10), (3, 40), (500, 500)):
        expected = stats.binomtest(hits, count).proportion_ci(0.95, "wilson")
        assert quality.wilson(hits, count) == pytest.approx((expected.low, expected.high))
    assert quality.wilson(0, 0) == (0.0, 1.0)


def test_curves_agree_with_the_measures() -> None:
    """The area under the drawn ROC is the AUC, the largest drawn gap is nearly KS, lifts average
    to 1.
    """
    told = quality.summary(BAD, SCORE, PD)
    x, y = np.array(quality.roc(BAD, SCORE)).T
    assert np.trapezoid(y, x) == pytest.approx(told["auc"], abs=0.01)
    gaps = [goods - bads for _, goods, bads in quality.ks_curve(BAD, SCORE)]
    assert max(gaps) == pytest.approx(told["ks"], abs=0.02)
    assert np.mean(quality.lift(BAD, SCORE)) == pytest.approx(1.0)


def test_one_outcome_gives_no_ranking() -> None:
    """Without both outcomes there is no AUC, Gini or KS, and the rest is told."""
    told = quality.summary(np.zeros(5, bool), SCORE[:5], PD[:5])
    assert told["auc"] is told["gini"] is told["ks"] is None
    assert told["bad_rate"] == 0
