"""The follower: snapshots, never behind the committed offset; and recovery on them."""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from monitoring.keeper import KeeperCollector
from monitoring.metrics import KEEPER_METRICS
from streams.broker.intake import Intake
from streams.broker.reader import Reader
from streams.deployment import Deployment
from streams.errors import BrokerError, SnapshotError
from streams.keep import Every, Follower
from streams.partition import Partition
from streams.ports import UnansweredError
from streams.recover import fold, load, state_of
from streams.show import examine, show_applicant
from streams.snapshot.image import same_state
from streams.snapshot.store import Folder, Store, read_all
from streams.step import Step
from tests.kafka.logs import until
from tests.naive.deployments import with_limits
from tests.naive.logs import LogMaker
from tests.naive.run import make_step, run_log
from tests.snapshot.memory_log import MemoryLog
from tests.snapshot.stores import FullDisk, s3_store

ROWS = 120
pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def maker(step_deployment: Deployment) -> LogMaker:
    """Give a generated log, and a step that is compiled: nothing here waits for a compiler."""
    maker = LogMaker(step_deployment, 77).make(ROWS)
    run_log(make_step(step_deployment), maker.log, ROWS)
    return maker


async def aside(work: Callable[[], Any]) -> Any:
    """Run at once: nothing else waits here."""
    return work()


@asynccontextmanager
async def following(
    log: MemoryLog, deployment: Deployment, store: Store, events: int = 1
) -> AsyncIterator[Follower]:
    """Run a follower that writes a snapshot after so many events."""
    going = True
    follower = Follower(
        log, "dipper", lambda: empty(deployment), store, aside, Every(events, 1_000)
    )
    task = asyncio.create_task(follower.run(lambda: going))
    try:
        yield follower
    finally:
        going = False
        await task


def empty(deployment: Deployment) -> Partition:
    """Return a partition without state."""
    return Partition(make_step(deployment))


async def reached(follower: Follower, offset: int) -> None:
    """Wait for the snapshot at an offset."""

    async def there() -> bool:
        return follower.published == offset

    await until(there)


async def recovered(log: MemoryLog, deployment: Deployment, store: Store) -> Partition:
    """Recover as a worker does."""
    partition = load(lambda: empty(deployment), store, log.offset)
    intake = Intake(log)
    await fold(partition, intake, Reader(log.place), log.offset, aside, lambda: True)
    await intake.close()
    return partition


def alive(deployment: Deployment, maker: LogMaker, offset: int) -> Step:
    """Return a step that decided the log up to an offset and never stopped."""
    step = make_step(deployment)
    run_log(step, maker.log[:offset], 64)
    return step


@pytest.mark.parametrize("kind", ["folder", "s3"])
async def test_a_worker_goes_on_from_what_the_follower_wrote(
    step_deployment: Deployment, maker: LogMaker, tmp_path: Path, kind: str
) -> None:
    """With the log's beginning deleted, the snapshot and what is left of the log give the state of
    a worker that never stopped, bit for bit: in a folder and in an object store.
    """

    async def run(store: Store) -> None:
        log = MemoryLog(maker.partition, maker.log)
        async with following(log, step_deployment, store) as follower:
            log.offset = 41
            await reached(follower, 41)
            log.offset = 70
            await reached(follower, 70)
        log.offset, log.begin = 101, 70
        partition = await recovered(log, step_deployment, store)
        assert partition.position == 101
        assert same_state(state_of(partition), alive(step_deployment, maker, 101).state) == []
        assert all(not found.fault for found in examine(store, 2, deep=True))

    if kind == "folder":
        await run(Folder(tmp_path))
    else:
        with s3_store() as store:
            await run(store)


async def test_nothing_is_folded_that_is_not_committed(
    step_deployment: Deployment, maker: LogMaker, tmp_path: Path
) -> None:
    """However much stands in the log, no snapshot is behind the offset that the group committed."""
    log = MemoryLog(maker.partition, maker.log)
    async with following(log, step_deployment, Folder(tmp_path)) as follower:
        for offset in (1, 2, 50):
            log.offset = offset
            await reached(follower, offset)
            assert follower.position == offset
    assert follower.shelf.offsets() == [1, 2, 50]


async def test_a_follower_that_died_goes_on_from_its_last_snapshot(
    step_deployment: Deployment, maker: LogMaker, tmp_path: Path
) -> None:
    """A second follower needs no log before the newest snapshot, and writes the same state."""
    log = MemoryLog(maker.partition, maker.log)
    for offset in (30, 60, 90):
        async with following(log, step_deployment, Folder(tmp_path)) as follower:
            log.offset = offset
            await reached(follower, offset)
        log.begin = offset
    partition = load(lambda: empty(step_deployment), Folder(tmp_path), 90)
    assert same_state(state_of(partition), alive(step_deployment, maker, 90).state) == []


async def test_a_full_disk_stops_nothing(
    step_deployment: Deployment, maker: LogMaker, tmp_path: Path
) -> None:
    """While the store is full the follower goes on, counts, and writes when there is room again."""
    log, store = MemoryLog(maker.partition, maker.log), FullDisk(tmp_path, 100)
    async with following(log, step_deployment, store) as follower:
        log.offset = 40

        async def failed() -> bool:
            return follower.shelf.failures > 0

        await until(failed)
        assert (follower.position, follower.published) == (40, 0)
        assert _shown(follower)["dipper_snapshot_failures_total"] >= 1
        store.room_bytes = 10**9
        await reached(follower, 40)
        shown = _shown(follower)
    assert shown["dipper_snapshot_offset"] == shown["dipper_followed_offset"] == 40
    time = alive(step_deployment, maker, 40).state.partition["time"][0]
    assert shown["dipper_snapshot_time_seconds"] == time / 1_000 > 0


def _shown(follower: Follower) -> dict[str, float]:
    """Return what a scrape shows of a follower, by name; each name and label is the catalogue's."""
    samples = [
        s for each in KeeperCollector(lambda: [follower.kept]).collect() for s in each.samples
    ]
    labels = {"partition": str(LogMaker.partition)}
    assert {s.name for s in samples} == {metric.name for metric in KEEPER_METRICS}
    assert all(s.labels == labels and metric.labels == ("partition",)
               for s in samples for metric in KEEPER_METRICS)  # fmt: skip
    return {sample.name: sample.value for sample in samples}


async def test_a_corrupt_snapshot_is_counted(
    step_deployment: Deployment, maker: LogMaker, tmp_path: Path
) -> None:
    """A follower that meets a corrupt snapshot goes on before it, and a scrape shows that it was
    passed over.
    """
    log, store = MemoryLog(maker.partition, maker.log), Folder(tmp_path)
    async with following(log, step_deployment, store) as follower:
        log.offset = 30
        await reached(follower, 30)
    (name,) = store.names(f"partition-{LogMaker.partition:05d}")
    store.write(name, [read_all(store, name)[:-1]])
    async with following(log, step_deployment, store) as follower:
        await reached(follower, 30)
        assert _shown(follower)["dipper_snapshots_skipped_total"] == 1


async def test_a_store_that_does_not_answer_is_asked_again(
    step_deployment: Deployment, maker: LogMaker, tmp_path: Path
) -> None:
    """A store that cannot be read is no empty store: a worker opens again until it answers."""
    log, folder = MemoryLog(maker.partition, maker.log), Folder(tmp_path)
    async with following(log, step_deployment, folder) as follower:
        log.offset = 40
        await reached(follower, 40)
    for method in ("names", "size", "read_into"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(folder, method, _no_answer)
            with pytest.raises(UnansweredError, match="snapshots cannot be read"):
                load(lambda: empty(step_deployment), folder, 40)
    assert load(lambda: empty(step_deployment), folder, 40).position == 40


def _no_answer(*what: object) -> None:
    raise OSError(errno.EIO, "Input/output error", what)


async def test_a_lost_beginning_is_said(
    step_deployment: Deployment, maker: LogMaker, tmp_path: Path
) -> None:
    """Without a snapshot that reaches the beginning of the log, recovery says so and guesses
    nothing.
    """
    log = MemoryLog(maker.partition, maker.log)
    log.offset, log.begin = 90, 13
    with pytest.raises(BrokerError, match="begins at offset 13, and the newest snapshot"):
        await recovered(log, step_deployment, Folder(tmp_path))


async def test_a_log_that_others_let_go_is_taken_up_again(
    step_deployment: Deployment, maker: LogMaker, tmp_path: Path
) -> None:
    """A follower that stood still while another wrote a snapshot, and the log was deleted up to it,
    goes on from there.
    """
    log, other = (MemoryLog(maker.partition, maker.log) for _ in range(2))
    store = Folder(tmp_path)
    async with following(log, step_deployment, store) as late:
        log.offset = 20
        await reached(late, 20)
        async with following(other, step_deployment, store) as early:
            other.offset = 40
            await reached(early, 40)
        log.begin, log.offset = 30, 60
        await reached(late, 60)


async def test_another_deployment_does_not_take_it_up(
    step_deployment: Deployment, maker: LogMaker, tmp_path: Path
) -> None:
    """A worker whose limits differ from those of the snapshot is refused, not wrong."""
    log = MemoryLog(maker.partition, maker.log)
    async with following(log, step_deployment, Folder(tmp_path)) as follower:
        log.offset = 20
        await reached(follower, 20)
    with pytest.raises(SnapshotError, match="with other limits or record layouts"):
        await recovered(log, with_limits(step_deployment, lines=1_024), Folder(tmp_path))


def test_what_is_known_of_an_applicant_is_shown(
    step_deployment: Deployment, maker: LogMaker
) -> None:
    """Lines, loans and offers of an applicant are those of the naive step; a stranger has none."""
    step = alive(step_deployment, maker, ROWS)
    books = maker.step.books
    shown = 0
    for person in maker.people:
        found = show_applicant(step.state, step_deployment, person.encode())
        ids = {f"{id[0]:016x}{id[1]:016x}" for id, offer in books.offers.items()
               if offer.applicant == person.encode()}  # fmt: skip
        assert {row["id"] for row in (found or {"offers": []})["offers"]} == ids
        shown += len(ids)
    assert shown
    assert show_applicant(step.state, step_deployment, b"nobody") is None
