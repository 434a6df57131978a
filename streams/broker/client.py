"""Kafka clients with the settings that dipper's guarantees rest on, per kind of broker.

With `access.py` the one place that makes clients, so that all show the same credentials.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any, Literal

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError
from aiokafka.producer import sender
from aiokafka.structs import ConsumerRecord

from streams.broker.access import PREFIX, load_access, make_admin
from streams.broker.embedded import CLUSTER_ID
from streams.broker.kafka import RECORD_BYTES_MAX
from streams.errors import BrokerError

Kind = Literal["embedded", "kafka"]

_FETCH_WAIT_MS = 50
_POLL_MS = 200
_STOP_S_MAX = 5.0
_FETCH_BYTES_MAX = 16 * 1024 * 1024
_BATCH_BYTES_MAX = 256 * 1024
_REQUEST_MS_MAX = 5_000
_BETWEEN_TRANSACTIONS_S = 0.001
_RETRY_MS = 5
# The broker gives up a transaction of a producer that has gone; readers wait for it so long.
_TRANSACTION_MS_MAX = 10_000
_ABANDON_S_MAX = 1.0


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


def make_client(bootstrap: str) -> AIOKafkaClient:
    """Return aiokafka's connections and metadata without a consumer around them, not started."""
    return AIOKafkaClient(
        bootstrap_servers=bootstrap,
        client_id="dipper-intake",
        request_timeout_ms=_REQUEST_MS_MAX,
        **load_access().client_settings(),
    )


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
        # It keeps what the group gave last on the class: two members in one process need two.
        "partition_assignment_strategy": (type("Sticky", (StickyPartitionAssignor,), {}),),
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


async def read_whole(
    consumer: AIOKafkaConsumer, partition: TopicPartition
) -> AsyncIterator[ConsumerRecord]:
    """Yield every record that stands in a partition now; the consumer is left assigned to it."""
    consumer.assign([partition])
    end = await log_end(consumer, partition)
    await consumer.seek_to_beginning(partition)
    while await consumer.position(partition) < end:
        found = await consumer.getmany(partition, timeout_ms=_POLL_MS)
        for record in found.get(partition, ()):
            yield record


def make_transactional_producer(bootstrap: str, transactional_id: str) -> AIOKafkaProducer:
    """Return a producer for transactions under this id, not started; starting it fences the last.

    Between two transactions of one id aiokafka waits for the coordinator to finish the first: 20 ms
    before a transaction's first partition, and `retry_backoff_ms` before its offsets. Both are cut
    here, since they are most of the time from an event to its visible decision.
    """
    sender.BACKOFF_OVERRIDE = _BETWEEN_TRANSACTIONS_S
    return make_producer(
        bootstrap,
        "kafka",
        transactional_id=transactional_id,
        transaction_timeout_ms=_TRANSACTION_MS_MAX,
        request_timeout_ms=_REQUEST_MS_MAX,
        retry_backoff_ms=_RETRY_MS,
    )


async def abandon_producer(producer: AIOKafkaProducer) -> None:
    """Stop a producer without a word to the broker: what it had under way may or may not stand."""
    # Its own stop waits for answers first; with its sender gone there is nothing to wait for.
    with suppress(KafkaError, OSError, TimeoutError, asyncio.CancelledError):
        await asyncio.wait_for(_stop_sender(producer), _ABANDON_S_MAX)
    producer._sender = None  # noqa: SLF001 see above
    await stop_client(producer)


async def _stop_sender(producer: AIOKafkaProducer) -> None:
    if producer._sender is not None:  # noqa: SLF001
        await producer._sender.close()  # noqa: SLF001


async def stop_client(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    """Stop a client in bounded time: a broker that has gone must not keep us from leaving.

    aiokafka lets the cancellation of its own tasks escape from `stop` where no broker answers.
    """
    await _in_bounded_time(client.stop())


async def close_client(client: AIOKafkaClient) -> None:
    """Close what the other clients stand on, in bounded time."""
    await _in_bounded_time(client.close())


async def _in_bounded_time(work: Coroutine[Any, Any, None]) -> None:
    with suppress(KafkaError, OSError, TimeoutError, asyncio.CancelledError):
        await asyncio.wait_for(work, _STOP_S_MAX)
