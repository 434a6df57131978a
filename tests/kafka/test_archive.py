"""Snapshots, archive and audit on Apache Kafka, as one life: kept, trimmed, decided again."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from monitoring.collector import WorkerCollector
from monitoring.metrics import RECOVERY_SKIPS
from streams.adopt import Adopted, adopt
from streams.archive.audit import audit
from streams.archive.copy import archive
from streams.archive.vault import Vault
from streams.broker.client import make_consumer
from streams.broker.lines import LineFile
from streams.broker.publish import Publisher, publish
from streams.broker.topics import ensure_topics
from streams.config import load_deployment
from streams.control.keys import load_private_key, load_trusted, verifier
from streams.control.process import ControlProcess
from streams.deployment import Deployment
from streams.errors import DipperError, SnapshotError
from streams.keep import Every, keep_snapshots
from streams.kernel_cache import code_hash
from streams.live import GROUP, Worker
from streams.replay import replay
from streams.snapshot import shelf
from streams.snapshot.shelf import Shelf
from streams.snapshot.store import Folder, read_all
from streams.step import Step
from streams.topology import DECISIONS, EVENTS, OUT_DECISION
from tests.conftest import Broker
from tests.deployment import make_deployment
from tests.kafka.logs import read_topic, until
from tests.kafka.running import at_work
from tests.streams.lives import LIMITS, write_lives

PARTITIONS = 2
NUMBERS = range(PARTITIONS)


class _Life:
    """A deployment on a broker, with control's clock from the file that is published."""

    def __init__(self, broker: Broker, deployment: Deployment, folder: Path) -> None:
        self.bootstrap = broker.bootstrap
        self.deployment = deployment
        self.snapshots = Folder(folder / "snapshots")
        self.store = Folder(folder / "archive")
        self.verify = verifier(load_trusted(deployment.folder))

    async def publish(self, path: Path) -> None:
        """Publish a file of events, loan events signed as control does."""
        sign = load_private_key(self.deployment.folder).sign
        async with Publisher(self.bootstrap) as publisher:
            await publish(
                publisher,
                LineFile(path),
                raw=True,
                sign=sign,
                institutions=self.deployment.institution_ids,
            )

    def worker(self) -> Worker:
        """Return a worker that recovers from snapshots."""
        return Worker(
            self.bootstrap,
            lambda number, count: Step(self.deployment, number, count, self.verify),
            snapshots=self.snapshots,
        )

    @asynccontextmanager
    async def working(self) -> AsyncIterator[Worker]:
        """Run such a worker."""
        worker = self.worker()
        async with at_work(worker):
            yield worker

    def spoil_newest(self, number: int) -> None:
        """Cut the newest snapshot of a partition short by a byte."""
        name = self.snapshots.names(f"partition-{number:05d}")[-1]
        self.snapshots.write(name, [read_all(self.snapshots, name)[:-1]])

    async def caught_up(self, worker: Worker) -> None:
        """Wait until the worker has committed all that stands."""
        ends = [end for _, end in await self.bounds()]

        async def holds() -> bool:
            at = {s.partition: s.committed for s in worker.status if s.ready}
            return [at.get(number) for number in NUMBERS] == ends

        await until(holds, 240)

    async def bounds(self) -> list[tuple[int, int]]:
        """Return where each partition of events begins and ends."""
        consumer = make_consumer(self.bootstrap)
        await consumer.start()
        places = [TopicPartition(EVENTS.name, number) for number in NUMBERS]
        begins = await consumer.beginning_offsets(places)
        ends = await consumer.end_offsets(places)
        await consumer.stop()
        return [(begins[place], ends[place]) for place in places]

    async def kept(self, at_least: int) -> None:
        """Follow the worker until each partition has so many snapshots, one at its end."""
        stop = asyncio.Event()
        following = asyncio.create_task(
            keep_snapshots(
                self.bootstrap, self.deployment.folder, self.snapshots, GROUP, None,
                Every(1, 0.1), stop,
            )
        )  # fmt: skip
        ends = [end for _, end in await self.bounds()]

        async def holds() -> bool:
            shelves = [Shelf(self.snapshots, number).offsets() for number in NUMBERS]
            return all(
                len(shelf) >= at_least and shelf[-1] == end
                for shelf, end in zip(shelves, ends, strict=True)
            )

        await until(holds, 120)
        stop.set()
        await following


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """The example policies with small scorecards and small tables."""
    return load_deployment(make_deployment(tmp_path_factory.mktemp("config") / "d", LIMITS))


def _of_another_engine(life: _Life, patch: pytest.MonkeyPatch) -> Worker:
    """Return a worker whose code has another hash than all others in this process."""
    worker = life.worker()
    worker._pool = ThreadPoolExecutor(thread_name_prefix="another-engine")
    ours = code_hash

    def hash_here(path: Path) -> str:
        another = threading.current_thread().name.startswith("another-engine")
        return "f" * 64 if another else ours(path)

    patch.setattr(shelf, "code_hash", hash_here)
    return worker


@pytest.mark.timeout(900)
async def test_a_worker_of_another_engine_leaves_what_is_not_its_own(
    fresh_kafka_broker: Broker,
    deployment: Deployment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker of another version that joins is refused the state of each partition given to it,
    says so and leaves; who had them has them back with all they knew, and decides each once.
    """
    events = tmp_path / "events.jsonl"
    write_lives(events, deployment, 40)
    lines = events.read_bytes().splitlines(keepends=True)
    parts = [tmp_path / f"part-{k}.jsonl" for k in range(2)]
    for part, some in zip(parts, (lines[: len(lines) // 2], lines[len(lines) // 2 :]), strict=True):
        part.write_bytes(b"".join(some))
    life = _Life(fresh_kafka_broker, deployment, tmp_path)
    await ensure_topics(life.bootstrap, PARTITIONS)
    key, stop = load_private_key(deployment.folder), asyncio.Event()
    async with ControlProcess(life.bootstrap, PARTITIONS, key, deployment.caps) as control:
        ticking = asyncio.create_task(control.run_file_clock(stop))
        async with life.working() as worker:
            await life.publish(parts[0])
            await life.caught_up(worker)
            await life.kept(1)
            stranger = _of_another_engine(life, monkeypatch)
            with pytest.raises(SnapshotError, match="by another version of the engine"):
                await asyncio.wait_for(stranger.run(asyncio.Event()), 240)
            assert stranger.meter.halted
            assert stranger.meter.commits == 0
            await life.publish(parts[1])
            await life.caught_up(worker)
        stop.set()
        await ticking
    found = await read_topic(life.bootstrap, DECISIONS.name, PARTITIONS)
    expected = replay(events, deployment, partitions=PARTITIONS).read(OUT_DECISION)
    assert [value for part in found for value in part] == expected.splitlines()


def _skips_shown(worker: Worker, deployment: Deployment) -> dict[str, float]:
    """Return what a scrape shows of the snapshots that recovery passed over, by partition."""
    info = {"version": "0", "manifest": ""}
    collector = WorkerCollector(
        deployment.dimensions, worker.meter, lambda: worker.status, lambda: info
    )
    return {
        sample.labels["partition"]: sample.value
        for family in collector.collect()
        for sample in family.samples
        if sample.name == RECOVERY_SKIPS.name
    }


@pytest.mark.timeout(900)
async def test_a_trimmed_log_goes_on_and_is_decided_again(
    fresh_kafka_broker: Broker, deployment: Deployment, tmp_path: Path
) -> None:
    """With snapshots kept, the log archived and trimmed to them, the next worker writes what one
    would have written that never stopped, and the archive leads to every decision again. A corrupt
    snapshot is passed over, and a scrape of the worker shows it.
    """
    events = tmp_path / "events.jsonl"
    write_lives(events, deployment)
    lines = events.read_bytes().splitlines(keepends=True)
    cuts = (0, len(lines) // 3, 2 * len(lines) // 3, len(lines))
    parts = [tmp_path / f"part-{k}.jsonl" for k in range(3)]
    for part, first, stop in zip(parts, cuts, cuts[1:], strict=False):
        part.write_bytes(b"".join(lines[first:stop]))
    life, vault = _Life(fresh_kafka_broker, deployment, tmp_path), Vault(tmp_path / "vault.db")
    await ensure_topics(life.bootstrap, PARTITIONS)
    key = load_private_key(deployment.folder)
    stop_control = asyncio.Event()
    async with ControlProcess(life.bootstrap, PARTITIONS, key, deployment.caps) as control:
        ticking = asyncio.create_task(control.run_file_clock(stop_control))
        async with life.working() as worker:
            for snapshots, part in enumerate(parts[:2], 1):
                await life.publish(part)
                await life.caught_up(worker)
                await life.kept(snapshots)
        done = await archive(life.bootstrap, life.store, vault, life.snapshots, trim=True)
        assert sum(copied.records for copied in done) > 0
        assert all(begin > 0 for begin, _ in await life.bounds())
        life.spoil_newest(0)
        async with life.working() as worker:
            await life.publish(parts[2])
            await life.caught_up(worker)
            assert _skips_shown(worker, deployment) == {"0": 1, "1": 0}
        stop_control.set()
        await ticking
    await archive(life.bootstrap, life.store, vault, life.snapshots)
    again = await archive(life.bootstrap, life.store, vault, life.snapshots)
    assert not any(copied.records for copied in again)
    found = await read_topic(life.bootstrap, DECISIONS.name, PARTITIONS)
    expected = replay(events, deployment, partitions=PARTITIONS)
    assert [value for part in found for value in part] == expected.read(OUT_DECISION).splitlines()
    late = min(end for _, end in await life.bounds()) - 20
    kept: Folder | None
    for begin, kept in ((0, None), (late, life.snapshots)):
        reports = list(
            audit(deployment.folder, life.store, vault, kept, PARTITIONS, None, begin, 0)
        )
        assert all(report.good for report in reports)
        assert all(report.identical for report in reports) or begin
        assert all(bool(report.began) == bool(kept) for report in reports)
    with pytest.raises(SnapshotError, match="let dipper state keep of the old deployment reach it"):
        await adopt(life.bootstrap, deployment.folder, life.snapshots, GROUP)
    await life.kept(3)
    manifest = deployment.manifest_hash(PARTITIONS)
    handed = await adopt(life.bootstrap, deployment.folder, life.snapshots, GROUP)
    ends = [end for _, end in await life.bounds()]
    assert handed == [Adopted(number, ends[number], manifest) for number in NUMBERS]
    vault.close()
    other = Vault(tmp_path / "other.db")
    with pytest.raises(DipperError, match="was deleted before it was archived"):
        await archive(life.bootstrap, Folder(tmp_path / "other"), other, None)
    other.close()
