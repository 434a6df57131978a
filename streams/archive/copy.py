"""Copy topics into the archive before Kafka deletes them, and delete there what is safe here.

1. For each topic and partition: go on where its last segment ends, to the end of what is committed.
2. Write a segment: whole under its name, or not at all.
3. Where asked to trim: delete from `dipper.events` what is archived and stands behind the
   second-newest snapshot of its partition.

If it dies anywhere, the next run goes on at the end of the last segment: no record is twice in the
archive, and none is deleted before it is there. A partition that cannot be archived keeps no other
from it.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import KafkaError

from monitoring.archiver import Reached
from streams.archive.segments import ARCHIVED, Archived, Shelf
from streams.archive.vault import Vault
from streams.broker.access import make_admin
from streams.broker.client import log_end, make_consumer, stop_client
from streams.broker.topics import count_partitions
from streams.errors import BrokerError, DipperError
from streams.snapshot.shelf import Shelf as Snapshots
from streams.snapshot.store import Store
from streams.topology import EVENTS, Topic

SEGMENT_RECORDS = 200_000
_POLL_MS = 500
_log = logging.getLogger("dipper.archive")


class Copied(NamedTuple):
    """What a run found and did in one partition of a topic: records archived, where the archive
    ends, where the log begins now.
    """

    topic: str
    partition: int
    records: int
    archived: int
    log_begin: int


async def archive(
    bootstrap: str,
    store: Store,
    vault: Vault,
    snapshots: Store | None,
    *,
    trim: bool = False,
    tell: Callable[[Reached], None] = lambda _: None,
) -> list[Copied]:
    """Archive all that stands, once; with `trim` delete from Kafka what need not stand there.

    `tell` hears how far each partition is, whenever that changes. Raises `DipperError` where a log
    begins behind the end of the archive, when all others are archived: what lies between is lost to
    it, and somebody must know.
    """
    count = await count_partitions(bootstrap)
    consumer = make_consumer(bootstrap)
    done: list[Copied] = []
    faults: list[DipperError] = []
    try:
        await consumer.start()
        for topic in ARCHIVED:
            for number in range(count):
                shelf = Shelf(store, topic, number)
                try:
                    done.append(await _copy(consumer, topic, number, shelf, vault, tell))
                except DipperError as fault:
                    faults.append(fault)
        if snapshots is not None:
            ours = [copied for copied in done if copied.topic == EVENTS.name]
            _check(ours, snapshots)
            if trim:
                await _trim(bootstrap, ours, snapshots)
    except (KafkaError, OSError, sqlite3.Error) as error:
        raise BrokerError(
            f"{bootstrap}, the store or the vault failed: {error}; run it again"
        ) from error
    finally:
        await stop_client(consumer)
    if faults:
        raise faults[0]
    return done


async def _copy(
    consumer: AIOKafkaConsumer,
    topic: Topic,
    number: int,
    shelf: Shelf,
    vault: Vault,
    tell: Callable[[Reached], None],
) -> Copied:
    place = TopicPartition(topic.name, number)
    consumer.assign([place])
    begin = int((await consumer.beginning_offsets([place]))[place])
    looked_s = time.time()
    end = await log_end(consumer, place)
    segments = shelf.segments()
    reached = segments[-1].next if segments else 0

    def told(offset: int, since_s: float) -> None:
        tell(Reached(topic.name, number, offset, begin, end, since_s))

    if begin > reached:
        told(reached, 0.0)
        raise DipperError(
            f"{topic.name} partition {number} begins at offset {begin}, the archive ends at "
            f"{reached}: what stood between was deleted before it was archived"
        )
    taken: list[Archived] = []
    records, first = 0, reached
    consumer.seek(place, reached)
    while (position := await consumer.position(place)) < end or taken:
        if position < end and len(taken) < SEGMENT_RECORDS:
            found = [
                each
                for each in (await consumer.getmany(place, timeout_ms=_POLL_MS)).get(place, ())
                if each.offset < end
            ]
            if found and not taken:
                told(first, found[0].timestamp / 1_000)
            taken += [Archived(r.offset, r.key, r.value, tuple(r.headers)) for r in found]
            continue
        after = end if position >= end else taken[-1].offset + 1
        shelf.append(taken, first, after, vault)
        records += len(taken)
        first, taken = after, []
    told(first, looked_s)
    return Copied(topic.name, number, records, first, begin)


def safe_to_delete(archived: int, snapshots: Sequence[int]) -> int:
    """Return the offset before which a partition of `dipper.events` need not stand on Kafka.

    Behind the second-newest snapshot: should the newest be corrupt, there is one before it.
    """
    return min(archived, snapshots[-2]) if len(snapshots) >= 2 else 0


def _check(ours: Sequence[Copied], snapshots: Store) -> None:
    for copied in ours:
        offsets = Snapshots(snapshots, copied.partition).offsets()
        second = offsets[-2] if len(offsets) >= 2 else 0
        if copied.log_begin > second:
            _log.error(
                "%s partition %d begins at offset %d, and the second-newest snapshot stands at %d: "
                "should the newest be corrupt, only the archive can bring the state back",
                copied.topic, copied.partition, copied.log_begin, second,
            )  # fmt: skip


async def _trim(bootstrap: str, ours: Sequence[Copied], snapshots: Store) -> None:
    ends = {
        TopicPartition(copied.topic, copied.partition): safe_to_delete(
            copied.archived, Snapshots(snapshots, copied.partition).offsets()
        )
        for copied in ours
    }
    begins = {TopicPartition(c.topic, c.partition): c.log_begin for c in ours}
    wanted = {
        place: RecordsToDelete(before_offset=end)
        for place, end in ends.items()
        if end > begins[place]
    }
    if wanted:
        admin = make_admin(bootstrap)
        try:
            await admin.start()
            await admin.delete_records(wanted)
        finally:
            await admin.close()
