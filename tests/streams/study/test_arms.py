"""Results by arm: counted from a replay, with intervals that hold the truth as they say."""

import numpy as np
import orjson
import polars as pl
import pytest

from streams.deployment import Deployment
from streams.limits import SECOND_MS
from streams.replay import replay
from streams.study.arms import arms, difference
from tests.naive.logs import START

_PEOPLE = 400


def requests(count: int, amount_cents: int = 1_000) -> pl.DataFrame:
    """Return a log of requests for a loan, each of another applicant and a cent above the last."""
    lines = [{"type": "tick", "at": START}]
    for number in range(count):
        lines.append(
            {
                "type": "application", "id": "r", "applicant": f"p{number}", "at": START + number,
                "product": "instalment_loan", "channel": "app",
                "amount_cents": amount_cents + number,
                "tenor_days": 30, "income_cents": 900_000,
            }
        )  # fmt: skip
    lines.append({"type": "tick", "at": START + count * SECOND_MS})
    return pl.DataFrame({"value": [orjson.dumps(line) for line in lines]})


def test_the_arms_of_a_replay_are_counted(segmented: Deployment) -> None:
    """Everybody is in one arm, the challenger's about its share; whoever was let in at random bears
    the chance that is declared, and nobody else was approved with a reason against it.
    """
    result = replay(requests(_PEOPLE), segmented, partitions=2)
    rows = result.candidates.filter(pl.col("institution") == "dawn")
    assert rows.height == _PEOPLE
    assert rows["arm"].null_count() == 0
    table = arms(result.candidates)
    counted = dict(table.select("arm", "requests").iter_rows())
    assert counted["champion"] + counted["challenger"] == _PEOPLE
    assert abs(counted["challenger"] - 0.7 * _PEOPLE) < 5 * (0.21 * _PEOPLE) ** 0.5
    chance = rows.filter(pl.col("propensity").is_not_null())
    assert set(chance["arm"]) == {"challenger"}
    assert set(chance["propensity"]) == {0.6}
    lucky = chance.filter(pl.col("outcome") == "approved")
    assert counted["at_random"] == lucky.height > 0
    assert (chance["outcome"] == "credit").any()
    against = rows.filter((pl.col("outcome") == "approved") & (pl.col("reasons").list.len() > 0))
    assert against["decision"].to_list() == lucky["decision"].to_list()
    gap = difference(table, "dawn/instalment_loan")
    assert gap["low"] < gap["difference"] < gap["high"]


def test_outcomes_are_counted_by_arm(segmented: Deployment) -> None:
    """Bad rates are of the approved whose outcome is known, each in the arm that decided."""
    candidates = replay(requests(_PEOPLE), segmented, partitions=2).candidates
    mine = candidates.filter((pl.col("institution") == "dawn") & (pl.col("outcome") == "approved"))
    # Every second outcome is known, and all of the challenger's are bad.
    known = mine.gather_every(2).select("decision", bad=(pl.col("arm") == "challenger").cast(int))
    table = arms(candidates, known)
    for row in table.iter_rows(named=True):
        of = mine.filter(
            pl.col("propensity").is_not_null()
            if row["arm"] == "at_random"
            else pl.col("arm") == row["arm"]
        )
        count = of.join(known, on="decision").height
        assert row["known"] == count > 0
        assert row["bad_rate"] == (0.0 if row["arm"] == "champion" else 1.0)
        assert row["bad_low"] <= row["bad_rate"] <= row["bad_high"]
    gap = difference(table, "dawn/instalment_loan", of="bad")
    assert gap["difference"] == 1.0
    assert gap["low"] > 0.5


@pytest.mark.parametrize(("one", "other"), [(0.3, 0.3), (0.05, 0.2), (0.9, 0.6)])
def test_the_interval_holds_the_truth_as_often_as_it_says(one: float, other: float) -> None:
    """Of 400 experiments with known rates the 95 % interval of their difference misses few."""
    rng = np.random.default_rng(4)
    missed = 0
    for _ in range(400):
        table = pl.DataFrame(
            {
                "experiment": ["e", "e"],
                "arm": ["challenger", "champion"],
                "approved": [rng.binomial(80, one), rng.binomial(150, other)],
                "requests": [80, 150],
            }
        )
        gap = difference(table, "e")
        missed += not gap["low"] <= one - other <= gap["high"]
    assert missed < 40
