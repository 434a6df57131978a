"""Stage 11, commit: outputs and the input's offset onto Kafka.

Exactly once, on Apache Kafka 4 or later (`Transactions`), under one transactional id per input
partition:

1. Open: start a producer under the partition's id. The broker fences whoever had the id before and
   ends its open transaction; only then is the committed offset read.
2. Begin.
3. Send: outputs go to the partition that has the number of their input's.
4. Offset: the one after the batch's last record, named explicitly, in the group's name.
5. Wait: every batch and the offset are acknowledged by all in-sync copies.
6. End: one request; the coordinator writes it down, and with that all of 3 and 4 stands, or none.

If the worker dies before 6 is written down, the next owner's step 1 ends the transaction, nothing
of it is ever read, and its records are decided again. If it dies after 6, all stands, answer or
not, and the next owner reads the offset behind it. What a worker cannot know, it asks by 1.

At least once (`Acknowledgements`), for the embedded broker, which knows no transactions: send,
wait, then commit the offset. If the worker dies between, the next one decides the same records
again and writes the same bytes under the same ids; nothing is left out.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any

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
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from streams.broker.client import abandon_producer, make_transactional_producer
from streams.broker.pack import Chunk
from streams.errors import BrokerError
from streams.topology import STEP_OUTPUTS

ANSWER_S_MAX = 5.0

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
)


class FencedError(Exception):
    """The partition is another's: give it up, ask the group, never open again by oneself."""


class UnansweredError(Exception):
    """Whether it stands is not known: open again, if still assigned, and look."""


class Committer(ABC):
    """Steps 1 to 6 for one partition.

    Each raises `FencedError` or `UnansweredError`, and `BrokerError` where the broker refuses for
    good.
    """

    def __init__(self, partition: TopicPartition) -> None:
        self._partition = partition

    @abstractmethod
    async def open(self) -> None:
        """Step 1."""

    @abstractmethod
    async def send(self, chunk: Chunk) -> None:
        """Steps 2 and 3, and wait: a part of what one step wrote, since memory is bounded."""

    @abstractmethod
    async def finish(self, chunk: Chunk, offset: int) -> None:
        """Steps 2 to 6, as far as they are not done, with the rest of what the step wrote."""

    @abstractmethod
    async def close(self) -> None:
        """Let go; harmless when nothing is open. What is not finished will not stand."""


class Transactions(Committer):
    """Exactly once."""

    def __init__(self, bootstrap: str, group: str, partition: TopicPartition) -> None:
        super().__init__(partition)
        self._bootstrap = bootstrap
        self._group = group
        self._producer: AIOKafkaProducer | None = None
        self._begun = False

    @property
    def transactional_id(self) -> str:
        """Return the id: the same in every worker of the group, and after every restart."""
        return f"{self._group}-{self._partition.topic}-{self._partition.partition}"

    async def open(self) -> None:
        """Step 1."""
        await self.close()
        producer = make_transactional_producer(self._bootstrap, self.transactional_id)
        self._producer = producer
        await _answered(producer.start())

    async def send(self, chunk: Chunk) -> None:
        """Steps 2, 3 and 5."""
        await _answered(self._send(chunk, ()))

    async def finish(self, chunk: Chunk, offset: int) -> None:
        """Steps 2 to 6."""
        await _answered(self._finish(chunk, offset))

    async def close(self) -> None:
        """Abandon the producer."""
        producer, self._producer = self._producer, None
        self._begun = False
        if producer is not None:
            await abandon_producer(producer)

    async def _finish(self, chunk: Chunk, offset: int) -> None:
        producer = self._producer
        assert producer is not None
        offsets = producer.send_offsets_to_transaction({self._partition: offset}, self._group)
        await self._send(chunk, (offsets,))
        await producer.commit_transaction()
        self._begun = False

    async def _send(self, chunk: Chunk, others: tuple[Coroutine[Any, Any, None], ...]) -> None:
        producer = self._producer
        assert producer is not None
        if not self._begun:
            await producer.begin_transaction()
            self._begun = True
        await _send(producer, self._partition.partition, chunk, others)


class Acknowledgements(Committer):
    """At least once: a producer that all partitions of the worker share, the group's consumer."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        group: Callable[[], AIOKafkaConsumer],
        partition: TopicPartition,
    ) -> None:
        super().__init__(partition)
        self._producer = producer
        self._group = group

    async def open(self) -> None:
        """Do nothing: nobody can be fenced."""

    async def send(self, chunk: Chunk) -> None:
        """Send and wait."""
        await _answered(_send(self._producer, self._partition.partition, chunk, ()))

    async def finish(self, chunk: Chunk, offset: int) -> None:
        """Send, wait, commit the offset."""
        await self.send(chunk)
        await _answered(self._group().commit({self._partition: offset}))

    async def close(self) -> None:
        """Do nothing: the producer is the worker's."""


async def _send(
    producer: AIOKafkaProducer,
    partition: int,
    chunk: Chunk,
    others: tuple[Coroutine[Any, Any, None], ...],
) -> None:
    """Send the topics side by side, and each topic's batches in order; raise the first fault."""
    by_topic: dict[int, list[Any]] = {}
    for topic, batch in chunk.batches:
        by_topic.setdefault(topic, []).append(batch)
    sending = [
        _send_topic(producer, STEP_OUTPUTS[topic].name, partition, batches)
        for topic, batches in by_topic.items()
    ]
    done = await asyncio.gather(*sending, *others, return_exceptions=True)
    for each in done:
        if isinstance(each, BaseException):
            raise each


async def _send_topic(
    producer: AIOKafkaProducer, topic: str, partition: int, batches: list[Any]
) -> None:
    sent = [await producer.send_batch(each, topic, partition=partition) for each in batches]
    done = await asyncio.gather(*sent, return_exceptions=True)
    for each in done:
        if isinstance(each, BaseException):
            raise each


async def _answered(work: Coroutine[Any, Any, None]) -> None:
    """Await an answer, not for ever, and say what its absence means."""
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            await work
    except _FENCED as error:
        raise FencedError(repr(error)) from error
    except _FOR_GOOD as error:
        raise BrokerError(f"the broker refuses a commit: {error!r}") from error
    # Its state machine asserts where one of its requests has failed before.
    except (KafkaError, OSError, TimeoutError, AssertionError) as error:
        raise UnansweredError(repr(error)) from error
