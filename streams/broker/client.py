"""Kafka clients with the settings that dipper's guarantees rest on, per kind of broker.

With `access.py` the one place that makes clients, so that all show the same credentials.
"""

import asyncio
from contextlib import suppress
from typing import Any, Literal

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError

from streams.broker.access import PREFIX, load_access, make_admin
from streams.broker.embedded import CLUSTER_ID
from streams.broker.kafka import RECORD_BYTES_MAX
from streams.errors import BrokerError

Kind = Literal["embedded", "kafka"]

_FETCH_WAIT_MS = 50
_STOP_S_MAX = 5.0
_FETCH_BYTES_MAX = 16 * 1024 * 1024
_BATCH_BYTES_MAX = 256 * 1024


async def broker_kind(bootstrap: str) -> Kind:
    """Return which kind of broker answers at `bootstrap`; `BrokerError` if none does."""
    access = load_access()
    admin = make_admin(bootstrap, access)
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
    except (KafkaError, OSError) as error:
        remedy = "start one with `dipper broker`"
        if access.protocol != "PLAINTEXT":
            remedy = f"or it refuses us by {access.protocol}: see {PREFIX}* in SECURITY.md"
        raise BrokerError(f"no broker answers at {bootstrap}: {error}; {remedy}") from error
    finally:
        await admin.close()
    return "embedded" if cluster["cluster_id"] == CLUSTER_ID else "kafka"


def make_producer(bootstrap: str, kind: Kind, **overrides: Any) -> AIOKafkaProducer:
    """Return a producer, not started: every record acknowledged by all in-sync copies.

    On Apache Kafka it is idempotent, so a retry neither repeats nor reorders; the embedded broker
    knows no idempotent producer. Keys go to murmur2(key) mod partitions, aiokafka's default and
    Java's: `partitioner` must not be overridden for `dipper.events`.
    """
    settings: dict[str, Any] = {
        "bootstrap_servers": bootstrap,
        "acks": "all",
        "enable_idempotence": kind == "kafka",
        "max_batch_size": _BATCH_BYTES_MAX,
        "max_request_size": RECORD_BYTES_MAX,
        **load_access().client_settings(),
    }
    return AIOKafkaProducer(**(settings | overrides))


def make_consumer(
    bootstrap: str, *topics: str, group: str | None = None, **overrides: Any
) -> AIOKafkaConsumer:
    """Return a consumer, not started: from the start of the log, no offset committed by itself.

    It reads committed transactions only. In a group, partitions stay where they are as long as
    they can (sticky). The same settings do for both kinds of broker.
    """
    settings: dict[str, Any] = {
        "bootstrap_servers": bootstrap,
        "group_id": group,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "isolation_level": "read_committed",
        "partition_assignment_strategy": (StickyPartitionAssignor,),
        "fetch_max_bytes": _FETCH_BYTES_MAX,
        "max_partition_fetch_bytes": _FETCH_BYTES_MAX,
        "fetch_max_wait_ms": _FETCH_WAIT_MS,
        **load_access().client_settings(),
    }
    return AIOKafkaConsumer(*topics, **(settings | overrides))


async def log_end(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int:
    """Return the offset after the last record that this consumer may read.

    `partition` must be assigned; the consumer's position in it is moved. The embedded broker
    answers `end_offsets` with the offset after the *first* record of the last batch, so the truth
    is taken from what comes with a fetch.
    """
    reported = int((await consumer.end_offsets([partition]))[partition])
    if reported == 0:
        return 0
    consumer.seek(partition, reported - 1)
    while consumer.highwater(partition) is None:
        await consumer.getmany(partition, timeout_ms=_FETCH_WAIT_MS, max_records=1)
    stable = consumer.last_stable_offset(partition)
    known = stable if stable is not None and stable >= 0 else consumer.highwater(partition)
    return max(reported, int(known))


async def stop_client(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    """Stop a client in bounded time: a broker that has gone must not keep us from leaving.

    aiokafka lets the cancellation of its own tasks escape from `stop` where no broker answers.
    """
    with suppress(KafkaError, OSError, TimeoutError, asyncio.CancelledError):
        await asyncio.wait_for(client.stop(), _STOP_S_MAX)
