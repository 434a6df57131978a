"""Snapshots, archive and audit on Apache Kafka, as one life: kept, trimmed, decided again."""

import asyncio
from pathlib import Path

import pytest

from monitoring.collector import WorkerCollector
from monitoring.metrics import RECOVERY_SKIPS
from streams.adopt import Adopted, adopt
from streams.archive.audit import audit
from streams.archive.copy import archive
from streams.archive.vault import Vault
from streams.broker.topics import ensure_topics
from streams.config import load_deployment
from streams.control.keys import load_private_key
from streams.control.process import ControlProcess
from streams.deployment import Deployment
from streams.errors import DipperError
from streams.live import GROUP, Worker
from streams.replay import replay
from streams.snapshot.store import Folder
from streams.topology import DECISIONS, OUT_DECISION
from tests.conftest import Broker
from tests.deployment import make_deployment
from tests.kafka.life import NUMBERS, PARTITIONS, Life
from tests.kafka.logs import read_topic
from tests.streams.lives import LIMITS, write_lives


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """The example policies with small scorecards and small tables."""
    return load_deployment(make_deployment(tmp_path_factory.mktemp("config") / "d", LIMITS))


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
    life, vault = Life(fresh_kafka_broker, deployment, tmp_path), Vault(tmp_path / "vault.db")
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
    # What decided so far may go on: nothing is to be handed over.
    manifest = deployment.manifest_hash(PARTITIONS)
    handed = await adopt(life.bootstrap, deployment.folder, life.snapshots, GROUP)
    ends = [end for _, end in await life.bounds()]
    assert handed == [Adopted(number, ends[number], manifest) for number in NUMBERS]
    vault.close()
    other = Vault(tmp_path / "other.db")
    with pytest.raises(DipperError, match="was deleted before it was archived"):
        await archive(life.bootstrap, Folder(tmp_path / "other"), other, None)
    other.close()
