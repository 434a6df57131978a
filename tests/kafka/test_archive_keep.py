"""An archiver that runs for good: what it shows, and that it goes on by itself."""

import asyncio
import io
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import polars as pl
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from monitoring.archiver import ArchiverCollector
from monitoring.metrics import ARCHIVER_METRICS
from streams.archive.keep import Archiver
from streams.archive.segments import ARCHIVED
from streams.archive.vault import Vault
from streams.broker.access import make_admin
from streams.broker.client import broker_kind, make_producer
from streams.broker.topics import ensure_topics
from streams.snapshot.store import read_all
from streams.topology import EVENTS
from tests.conftest import Broker
from tests.kafka.logs import until
from tests.snapshot.stores import FullDisk

PARTITIONS = 2
RECORDS = 10
ROOM = 10**9


async def _produce(bootstrap: str, at_ms: int, key: bytes) -> None:
    """Write records of one applicant into partition 0 of events."""
    producer = make_producer(bootstrap, await broker_kind(bootstrap))
    await producer.start()
    try:
        for number in range(RECORDS):
            await producer.send_and_wait(
                EVENTS.name, b"%d" % number, key=key, partition=0, timestamp_ms=at_ms
            )
    finally:
        await producer.stop()


@asynccontextmanager
async def _running(archiver: Archiver) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(archiver.run(0.1, stop))
    try:
        yield
    finally:
        stop.set()
        await task


def _shown(archiver: Archiver, now_s: float) -> dict[str, dict[tuple[str, ...], float]]:
    """Return what a scrape shows: name, then label values, as the catalogue orders them."""
    by_name = {metric.name: metric for metric in ARCHIVER_METRICS}
    shown: dict[str, dict[tuple[str, ...], float]] = {}
    collector = ArchiverCollector(
        lambda: archiver.reached, lambda: archiver.failures, lambda: now_s
    )
    for family in collector.collect():
        for sample in family.samples:
            values = tuple(sample.labels[label] for label in by_name[sample.name].labels)
            assert len(sample.labels) == len(values)
            shown.setdefault(sample.name, {})[values] = sample.value
    return shown


@pytest.mark.timeout(900)
async def test_an_archiver_shows_how_far_it_is_and_goes_on_by_itself(
    fresh_kafka_broker: Broker, tmp_path: Path
) -> None:
    """While the store is full the oldest record that waits is shown by its age, each failed run is
    counted, and with room again all is archived; what the broker deletes before that is told, has
    no age, and keeps no other log from being archived.
    """
    bootstrap, mine = fresh_kafka_broker.bootstrap, (EVENTS.name, "0")
    await ensure_topics(bootstrap, PARTITIONS)
    now_s = time.time()
    await _produce(bootstrap, int(now_s * 1_000) - 3_600_000, b"p1")
    store = FullDisk(tmp_path / "archive", 0)
    archiver = Archiver(bootstrap, store, tmp_path / "vault.db", None, trim=False)
    async with _running(archiver):

        async def failed() -> bool:
            return archiver.failures > 1

        await until(failed)
        shown = _shown(archiver, now_s)
        assert shown["dipper_archive_offset"][mine] == 0
        assert shown["dipper_archive_log_end_offset"][mine] == RECORDS
        assert shown["dipper_archive_lag_seconds"][mine] == pytest.approx(3_600, abs=1)
        assert shown["dipper_archive_failures_total"][()] > 1
        assert archiver.fault is not None
        assert "No space left" in archiver.fault
        store.room_bytes = ROOM

        async def archived() -> bool:
            return archiver.fault is None

        await until(archived)
        shown = _shown(archiver, time.time())
        logs = {(topic.name, str(number)) for topic in ARCHIVED for number in range(PARTITIONS)}
        assert set(shown["dipper_archive_offset"]) == logs
        assert shown["dipper_archive_offset"] == shown["dipper_archive_log_end_offset"]
        assert shown["dipper_archive_offset"][mine] == RECORDS
        assert all(0 <= lag < 300 for lag in shown["dipper_archive_lag_seconds"].values())
        assert set(shown) == {metric.name for metric in ARCHIVER_METRICS}
    await _lost(bootstrap, archiver, mine)


async def _lost(bootstrap: str, archiver: Archiver, mine: tuple[str, str]) -> None:
    await _produce(bootstrap, int(time.time() * 1_000), b"p1")
    admin = make_admin(bootstrap)
    await admin.start()
    place = TopicPartition(EVENTS.name, 0)
    await admin.delete_records({place: RecordsToDelete(before_offset=RECORDS + 5)})
    await admin.close()
    before_s = time.time()
    async with _running(archiver):

        async def told() -> bool:
            return archiver.fault is not None

        await until(told)
    shown = _shown(archiver, time.time())
    assert "was deleted before it was archived" in (archiver.fault or "")
    assert shown["dipper_archive_offset"][mine] == RECORDS
    assert shown["dipper_archive_log_start_offset"][mine] == RECORDS + 5
    lags = shown["dipper_archive_lag_seconds"]
    assert mine not in lags
    assert len(lags) == len(ARCHIVED) * PARTITIONS - 1
    assert all(lag <= time.time() - before_s for lag in lags.values())


@pytest.mark.timeout(900)
async def test_a_key_that_is_destroyed_while_the_archiver_runs_seals_no_more(
    fresh_kafka_broker: Broker, tmp_path: Path
) -> None:
    """An applicant erased by another process is archived without a payload from the next run on."""
    bootstrap = fresh_kafka_broker.bootstrap
    await ensure_topics(bootstrap, PARTITIONS)
    path, store = tmp_path / "vault.db", FullDisk(tmp_path / "archive", ROOM)
    archiver = Archiver(bootstrap, store, path, None, trim=False)
    now_ms = int(time.time() * 1_000)

    async with _running(archiver):

        async def archived(offset: int) -> bool:
            return any(
                (each.topic, each.partition, each.offset) == (EVENTS.name, 0, offset)
                for each in archiver.reached
            )

        await _produce(bootstrap, now_ms, b"p1")
        await until(lambda: archived(RECORDS))
        vault = Vault(path)
        assert vault.erase(b"p1")
        await _produce(bootstrap, now_ms, b"p1")
        await until(lambda: archived(2 * RECORDS))
    bodies = [
        body
        for name in store.names(f"{EVENTS.name}/partition-00000")
        for body in pl.read_parquet(io.BytesIO(read_all(store, name)))["body"].to_list()
    ]
    vault.close()
    assert [body is None for body in bodies] == [False] * RECORDS + [True] * RECORDS
