"""Seeds of workers in trouble in the normal run; `make sim` runs many more."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.deployment import Deployment
from streams.ports import FencedError, Place
from tests.naive.deployments import small_deployment
from tests.simulation.broker import FakeBroker
from tests.simulation.canaries import CANARIES, Canary
from tests.simulation.crew import run_seeds
from tests.simulation.seed import run_seed
from tests.sizes import sized

SEEDS = sized(100)
_CHUNK = 20
_CANARY_SEEDS = 60


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Give a small deployment with every branch near at hand."""
    return small_deployment(tmp_path_factory.mktemp("simulation"))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Workers in trouble say so at length."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.timeout(900)  # the first of them compiles the step
@pytest.mark.parametrize("first", range(0, SEEDS, _CHUNK))
def test_whatever_happens_to_workers_the_log_decides(deployment: Deployment, first: int) -> None:
    """Crashes, freezes, lost answers and two owners at once change no record that is ever read."""
    for seed in range(first, min(first + _CHUNK, SEEDS)):
        failure = run_seed(deployment, seed)
        assert failure is None, failure


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1408, 1738, 4200, 5907, 9752, 9917])
def test_seeds_that_found_a_fault_find_it_no_more(deployment: Deployment, seed: int) -> None:
    """Who stood still while the log was let go looks once more for a snapshot before it ends."""
    assert (failure := run_seed(deployment, seed)) is None, failure


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("deployment")  # compiles its kernels, which two processes would at once
def test_processes_that_take_turns_come_to_an_end() -> None:
    """Seeds over several sets of processes all run, and the run ends."""
    assert list(run_seeds(range(6), workers=2, shift=2)) == []


@pytest.mark.timeout(900)
@pytest.mark.parametrize("canary", CANARIES, ids=lambda canary: canary.rule.replace(" ", "-"))
def test_a_broken_rule_is_noticed(deployment: Deployment, canary: Canary) -> None:
    """A fault put in on purpose fails one of the first seeds."""
    with canary.flying():
        assert any(run_seed(deployment, seed) for seed in range(_CANARY_SEEDS))


def test_a_seed_repeats_itself(deployment: Deployment) -> None:
    """The same seed gives the same crashes at the same moments."""
    canary = CANARIES[0]
    with canary.flying():
        failures = [run_seed(deployment, 1) for _ in range(2)]
    assert failures[0] is not None
    assert failures[0] == failures[1]


def test_the_fake_broker_fences() -> None:
    """A second start under an id aborts what the first had open and refuses all that it says."""
    broker, topic = FakeBroker(), Place("t", 0)
    _, first = broker.start("id")
    broker.begin("id", first)
    broker.send_offsets("id", first, {topic: 7})
    broker.start("id")
    with pytest.raises(FencedError):
        broker.begin("id", first)
    with pytest.raises(FencedError):
        broker.end("id", first, commit=True)
    assert topic not in broker.committed


def test_the_fake_broker_hides_what_is_open_or_aborted(tmp_path: Path) -> None:
    """A reader sees plain records, and none behind the first one of an open transaction."""
    broker, topic = FakeBroker(), Place("t", 0)
    broker.publish(topic, [(b"k", b"1"), (None, b"2")])
    assert [(r.offset, r.key, r.value) for r in broker.visible(topic)] == [
        (0, b"k", b"1"),
        (1, None, b"2"),
    ]
    assert broker.fetch(topic, 0).log_end == 2
