"""The step on a deployment with lists and a matrix, against its twin in plain Python."""

import pytest

from streams.deployment import Deployment
from tests.naive.listed import RULES, listed_deployment
from tests.naive.logs import LogMaker
from tests.naive.run import make_step, run_log
from tests.sizes import sized

SEEDS = range(sized(4))
ROWS = max(60, sized(400))


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Give the small deployment with lists, loaded once."""
    return listed_deployment(tmp_path_factory.mktemp("listed"))


@pytest.mark.kernel
@pytest.mark.timeout(900)  # the first of them compiles the step
@pytest.mark.parametrize("seed", SEEDS)
def test_lists_are_asked_as_the_twin_asks_them(listed: Deployment, seed: int) -> None:
    """Whatever the batches and versions, lists and matrices decide as they do in plain Python."""
    maker = LogMaker(listed, 6_000 + seed).make(ROWS)
    wanted = [record for records in maker.expected for record in records]
    for size in (1, 64):
        assert run_log(make_step(listed), maker.log, size) == wanted


def test_generated_logs_reach_the_lists(listed: Deployment) -> None:
    """Each rule that asks a list, and the matrix, refuse somebody in these logs."""
    text = b""
    for seed in range(6):
        maker = LogMaker(listed, 6_000 + seed).make(400)
        text += b"".join(record.value for records in maker.expected for record in records)
    reasons = {"history_too_short"} | {reason for rules in RULES.values() for _, _, reason in rules}
    assert not {reason for reason in reasons if reason.encode() not in text}
