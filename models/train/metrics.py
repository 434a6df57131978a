"""How well scores tell bad from good, and how true the probabilities are, with intervals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Z95 = 1.959963984540054
BOOTSTRAP_SAMPLES = 500


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Metrics:
    """Quality on `rows` rows of which `bads` went bad; AUC, KS, Brier 0 to 1, Gini -1 to 1."""

    rows: int
    bads: int
    auc: Estimate
    ks: Estimate
    gini: Estimate
    brier: Estimate


def measure(
    bad: NDArray[np.bool_], score: NDArray[np.float64], pd: NDArray[np.float64], seed: int
) -> Metrics:
    """Measure `score` (higher is riskier) and `pd` (0 to 1) against the outcome; all [rows].

    Both outcomes must occur. `seed` fixes the bootstrap of KS.
    """
    assert bad.any()
    assert not bad.all()
    auc = auc_delong(bad, score)
    return Metrics(
        rows=len(bad),
        bads=int(bad.sum()),
        auc=auc,
        ks=ks_bootstrap(bad, score, seed),
        gini=Estimate(2 * auc.value - 1, 2 * auc.low - 1, 2 * auc.high - 1),
        brier=brier(bad, pd),
    )


def midranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value from 1, ties sharing their mean rank."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[group]
    return ranks


def auc_delong(bad: NDArray[np.bool_], score: NDArray[np.float64]) -> Estimate:
    """Return the area under the ROC curve, ties counting half, with DeLong's interval.

    Source: DeLong et al., Biometrics 44 (1988); computed by ranks as in Sun and Xu, IEEE Signal
    Processing Letters 21 (2014).
    """
    bads, goods = int(bad.sum()), int((~bad).sum())
    ranks = midranks(score)
    # For a bad row: the share of good rows below it. For a good row: the share of bad rows above.
    below = (ranks[bad] - midranks(score[bad])) / goods
    above = 1.0 - (ranks[~bad] - midranks(score[~bad])) / bads
    auc = float(below.mean())
    variance = _variance_of_mean(below) + _variance_of_mean(above)
    return _normal(auc, variance, 0.0, 1.0)


def auc_weighted(
    bad: NDArray[np.bool_], score: NDArray[np.float64], weight: NDArray[np.float64]
) -> float:
    """Return the share of pairs of a bad and a good row that the score orders, ties half, each pair
    counting as much as the product of its weights.
    """
    _, group = np.unique(score, return_inverse=True)
    bads, goods = (np.bincount(group, weight * which) for which in (bad, ~bad))
    below = np.cumsum(goods) - goods / 2
    return float((bads * below).sum() / (bads.sum() * goods.sum()))


def ks_statistic(
    bad: NDArray[np.float64], good: NDArray[np.float64], group_stop: NDArray[np.int64]
) -> float:
    """Return the largest gap between the score distributions of bad and good rows.

    `bad` and `good` [rows] are weights in rising order of score; `group_stop` holds the last row of
    each run of equal scores, where the distributions are compared.
    """
    bads, goods = np.cumsum(bad), np.cumsum(good)
    return float(np.abs(bads[group_stop] / bads[-1] - goods[group_stop] / goods[-1]).max())


def ks_bootstrap(bad: NDArray[np.bool_], score: NDArray[np.float64], seed: int) -> Estimate:
    """Return the Kolmogorov-Smirnov statistic with a percentile interval of seeded resamples.

    Resamples keep the numbers of bad and good rows, so that none is without one of them.
    """
    order = np.argsort(score, kind="stable")
    group_stop = np.flatnonzero(np.append(np.diff(score[order]) > 0, np.True_))
    is_bad = bad[order].astype(np.float64)
    value = ks_statistic(is_bad, 1.0 - is_bad, group_stop)
    rng = np.random.default_rng(seed)
    rows = len(order)
    of_bad, of_good = np.flatnonzero(is_bad == 1.0), np.flatnonzero(is_bad == 0.0)
    samples = np.empty(BOOTSTRAP_SAMPLES)
    for sample in range(BOOTSTRAP_SAMPLES):
        drawn_bad = np.bincount(rng.choice(of_bad, len(of_bad)), minlength=rows)
        drawn_good = np.bincount(rng.choice(of_good, len(of_good)), minlength=rows)
        samples[sample] = ks_statistic(
            drawn_bad.astype(np.float64), drawn_good.astype(np.float64), group_stop
        )
    low, high = np.quantile(samples, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def brier(bad: NDArray[np.bool_], pd: NDArray[np.float64]) -> Estimate:
    """Return the mean squared error of the probabilities with its normal interval."""
    errors = (pd - bad) ** 2
    return _normal(float(errors.mean()), _variance_of_mean(errors), 0.0, 1.0)


def _variance_of_mean(values: NDArray[np.float64]) -> float:
    if len(values) < 2:
        return float("inf")  # one row says nothing of its spread: the interval is the whole range
    return float(values.var(ddof=1)) / len(values)


def _normal(value: float, variance: float, low: float, high: float) -> Estimate:
    half = _Z95 * variance**0.5
    return Estimate(value, max(low, value - half), min(high, value + half))
