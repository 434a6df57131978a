"""Record batches to Kafka by aiokafka's producers; its errors become the three that we act on."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    GroupAuthorizationFailedError,
    IllegalStateError,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    KafkaError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from streams.broker.client import abandon_producer, make_transactional_producer
from streams.errors import BrokerError
from streams.ports import Committed, FencedError, Place, Sendable, UnansweredError

# Somebody else has the partition, or the broker has ended our transaction as that of a dead worker.
_FENCED = (
    ProducerFenced,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    OutOfOrderSequenceNumber,
    CommitFailedError,
    IllegalStateError,
)
_FOR_GOOD = (
    TopicAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what aiokafka raises into what it means."""
    try:
        yield
    except _FENCED as error:
        raise FencedError(repr(error)) from error
    except _FOR_GOOD as error:
        raise BrokerError(f"the broker refuses what we write: {error!r}") from error
    # Its state machine asserts where one of its requests has failed before.
    except (KafkaError, OSError, TimeoutError, AssertionError) as error:
        raise UnansweredError(repr(error)) from error


async def _send(producer: AIOKafkaProducer, place: Place, batches: Sequence[Sendable]) -> None:
    with _told():
        sent = [await producer.send_batch(each, place[0], partition=place[1]) for each in batches]
        done = await asyncio.gather(*sent, return_exceptions=True)
        for each in done:
            if isinstance(each, BaseException):
                raise each


class KafkaWriter:
    """At least once: a producer that all partitions of a worker share, and the group's consumer."""

    def __init__(self, producer: AIOKafkaProducer, group: Callable[[], AIOKafkaConsumer]) -> None:
        self._producer = producer
        self._group = group

    async def send(self, place: Place, batches: Sequence[Sendable]) -> None:
        """Send and wait."""
        await _send(self._producer, place, batches)

    async def offset(self, place: Place, committed: Committed, group: str) -> None:  # noqa: ARG002
        """Commit in the name of the group's member: refused where the partition is no more ours."""
        with _told():
            await self._group().commit({TopicPartition(*place): committed.offset})


class KafkaTransactions:
    """Exactly once: a producer of its own under one transactional id."""

    def __init__(self, bootstrap: str, transactional_id: str) -> None:
        self._bootstrap = bootstrap
        self._id = transactional_id
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Start a producer under the id: the broker gives it a new epoch."""
        assert self._producer is None, "abandon comes first"
        self._producer = make_transactional_producer(self._bootstrap, self._id)
        with _told():
            await self._producer.start()

    async def begin(self) -> None:
        """Begin; nothing is sent yet."""
        with _told():
            await self._open.begin_transaction()

    async def send(self, place: Place, batches: Sequence[Sendable]) -> None:
        """Send and wait."""
        await _send(self._open, place, batches)

    async def offset(self, place: Place, committed: Committed, group: str) -> None:
        """Put offset and note into the transaction, in the group's name."""
        offsets = {TopicPartition(*place): tuple(committed)}
        with _told():
            await self._open.send_offsets_to_transaction(offsets, group)

    async def end(self) -> None:
        """Commit."""
        with _told():
            await self._open.commit_transaction()

    async def abandon(self) -> None:
        """Close connections; a transaction left open is ended by the next to start, or by time."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await abandon_producer(producer)

    @property
    def _open(self) -> AIOKafkaProducer:
        assert self._producer is not None, "start comes first"
        return self._producer
