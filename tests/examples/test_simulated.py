"""Where the simulator knows the truth: PDs are near it, and intervals of swap-ins hold it."""

import numpy as np
import polars as pl
import pytest

from examples.results.simulated import SEEDS, Seen, see, strict_deployment
from streams.study.swaps import swap_in_rate

WORLDS = 6


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[Seen]:
    """Give a few of the worlds of the page, smaller."""
    folder = tmp_path_factory.mktemp("worlds")
    strict = strict_deployment(folder / "strict")
    return [see(seed, strict, folder, applicants=600) for seed in SEEDS[:WORLDS]]


def test_pds_are_near_the_truth(seen: list[Seen]) -> None:
    """In worlds that the models have not seen, PD is the true PD, overall and by tenths of PD."""
    for each in seen:
        assert each.requests > 1_500
        assert each.mean_pd == pytest.approx(each.mean_true_pd, abs=0.02)
        assert each.calibration_error < 0.03


def test_intervals_of_swap_ins_hold_what_became_of_them(seen: list[Seen]) -> None:
    """Of six 95 % intervals two may miss (binomial: three or more miss in 2 of 1,000 runs), and
    none says nothing.
    """
    assert sum(each.covered for each in seen) >= WORLDS - 2
    for each in seen:
        assert each.swap_ins > 200
        assert 0 < each.low < each.high < 0.5


def test_intervals_hold_as_often_as_they_say() -> None:
    """Where equal PD means equal risk, even if PDs are off in level and slope, 95 % intervals hold
    the rate of swap-ins in 93 to 99 of 100 cases.
    """
    held, cases = 0, 200
    for seed in range(cases):
        rng = np.random.default_rng([seed, 5])
        x = np.round(rng.normal(-2.5, 0.7, 3_000), 1)  # PDs come in steps
        bad = rng.random(3_000) < 1 / (1 + np.exp(-(0.3 + 1.1 * x)))
        pd = 1 / (1 + np.exp(-x))
        known = pl.Series(bad.astype(np.int8)).set(pl.Series(pd >= 0.08), None)
        rows = pl.DataFrame(
            {"a_approved": pd < 0.08, "b_approved": pd < 0.12,
             "b_pd_ppm": (pd * 1e6).astype(int), "bad": known}
        )  # fmt: skip
        told = swap_in_rate(rows, seed)
        assert told is not None
        held += told["low"] <= bad[(pd >= 0.08) & (pd < 0.12)].mean() <= told["high"]
    assert 0.93 <= held / cases <= 0.99
