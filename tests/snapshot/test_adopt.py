"""Another deployment goes on where the old one stopped: at one offset, or not at all."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from streams.adopt import Adopted, adopt_all
from streams.deployment import Deployment
from streams.errors import SnapshotError
from streams.partition import Partition
from streams.recover import load, state_of
from streams.snapshot.image import same_state
from streams.snapshot.shelf import Shelf, maker_of
from streams.snapshot.store import Folder
from streams.step import Step
from streams.topology import OUT_DECISION
from tests.naive.deployments import with_limits
from tests.naive.logs import LogMaker
from tests.naive.run import make_step, run_log

HALF, ROWS = 60, 160
NUMBER = LogMaker.partition
pytestmark = pytest.mark.timeout(900)


def empty(deployment: Deployment) -> Partition:
    """Return a partition without state."""
    return Partition(make_step(deployment))


@pytest.fixture
def maker(step_deployment: Deployment) -> LogMaker:
    """Give a generated log."""
    return LogMaker(step_deployment, 77).make(ROWS)


@pytest.fixture
def old(step_deployment: Deployment, maker: LogMaker, tmp_path: Path) -> Step:
    """Give a step that decided half of the log and left a snapshot."""
    step = make_step(step_deployment)
    run_log(step, maker.log[:HALF], 64)
    assert Shelf(Folder(tmp_path), NUMBER).publish(step.state, maker_of(step, step.state), HALF)
    return step


@pytest.fixture
def changed(step_deployment: Deployment) -> Deployment:
    """Give a deployment with another manifest, whose names and limits are the same."""
    return replace(step_deployment, public_key_sha256="another key")


def test_the_new_one_goes_on_and_the_old_one_is_refused(
    step_deployment: Deployment, changed: Deployment, maker: LogMaker, old: Step, tmp_path: Path
) -> None:
    """What is handed over is the old one's state bit for bit; every decision behind it names the
    new manifest; to hand over twice changes nothing.
    """
    store = Folder(tmp_path)
    with pytest.raises(SnapshotError, match=r"under another deployment .* dipper state adopt"):
        load(partial(empty, changed), store, HALF)
    hash = changed.manifest_hash(LogMaker.partitions)
    for _ in range(2):
        assert list(adopt_all(store, {NUMBER: (partial(empty, changed), HALF)})) == [
            Adopted(NUMBER, HALF, hash)
        ]
    with pytest.raises(SnapshotError, match="under another deployment"):
        load(partial(empty, step_deployment), store, HALF)
    partition = load(partial(empty, changed), store, HALF)
    assert partition.position == HALF
    assert same_state(state_of(partition), old.state) == []
    step = partition.step
    assert isinstance(step, Step)
    written = run_log(step, maker.log, 64, first=HALF)
    decisions = [record.value for record in written if record.topic == OUT_DECISION]
    assert decisions
    assert all(hash.encode() in value for value in decisions)


def test_a_snapshot_before_the_committed_offset_is_not_handed_over(
    changed: Deployment, old: Step, tmp_path: Path
) -> None:
    """What the old one decided behind its last snapshot would be folded by the new rules: refused,
    and no other partition is handed over either.
    """
    store = Folder(tmp_path)
    before = Shelf(store, NUMBER).open(HALF).facts
    make = partial(empty, changed)
    with pytest.raises(SnapshotError, match="newest snapshot stands at offset 60, the"):
        list(adopt_all(store, {NUMBER: (make, HALF + 1)}))
    with pytest.raises(SnapshotError, match="newest snapshot stands at offset 0"):
        list(adopt_all(store, {NUMBER: (make, HALF), 0: (make, 5)}))
    assert Shelf(store, NUMBER).open(HALF).facts == before


def test_rows_that_would_mean_something_else_are_refused(
    step_deployment: Deployment, old: Step, tmp_path: Path
) -> None:
    """Other limits, and names in another order, make state of this kind unreadable: refused."""
    store = Folder(tmp_path)
    swapped = replace(step_deployment, institutions=step_deployment.institutions[::-1])
    cases = [
        (with_limits(step_deployment, lines=1_024), "with other limits"),
        (swapped, "with other institutions, products"),
    ]
    for other, why in cases:
        with pytest.raises(SnapshotError, match=why):
            list(adopt_all(store, {NUMBER: (partial(empty, other), HALF)}))
