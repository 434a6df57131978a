"""Record batches of one partition as the broker sends them: a fetch without a consumer.

aiokafka's consumer makes an object of every record before we see it. Here its client, which knows
connections, metadata and versions of requests, sends the same fetch request, and the bytes stay
bytes. No part of aiokafka is changed by it: other users in the process keep what they have. What is
used of it beyond its public names is held by `tests/streams/broker/test_contract.py`.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import (
    CorruptRecordException,
    GroupAuthorizationFailedError,
    KafkaError,
    NoError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest

from streams.broker.client import close_client, make_client
from streams.broker.health import Health
from streams.errors import BrokerError, CorruptBatchError
from streams.ports import Committed, Fetched, Place

FETCH_BYTES_MAX = 2 * 1024 * 1024  # of one answer; a single larger batch comes all the same
_WAIT_MS = 100
_RETRY_S = 0.1
_READ_COMMITTED = 1
_EARLIEST, _LATEST = -2, -1
_FOR_GOOD = (TopicAuthorizationFailedError, GroupAuthorizationFailedError)


class KafkaLog:
    """Asks one partition's leader by a connection of its own, patiently: without an answer it asks
    again until there is one, and tells `health`.
    """

    def __init__(self, bootstrap: str, place: Place, health: Health) -> None:
        self.place = place
        self._bootstrap = bootstrap
        self._health = health
        self._client: AIOKafkaClient | None = None

    async def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            await close_client(client)

    async def fetch(self, offset: int) -> Fetched:
        """Return what stands from `offset` on, waiting up to 0.1 s for the first byte.

        `BrokerError` where the log does not hold the offset or may not be read.
        """
        where = (self.place.partition, offset, FETCH_BYTES_MAX)
        request = FetchRequest(
            _WAIT_MS, 1, FETCH_BYTES_MAX, _READ_COMMITTED, [(self.place.topic, [where])]
        )
        _, _, highwater, stable, *more = await self._ask(request, offset)
        # From version 11 on a replica to be preferred stands between the two.
        aborted = more[-3] if len(more) > 3 else more[-2]
        end = stable if stable >= 0 else highwater
        return Fetched(offset, more[-1] or b"", tuple(aborted or ()), int(end))

    async def bounds(self) -> tuple[int, int]:
        """Return the first offset of the log and the one after its last readable record.

        The embedded broker answers the second with the offset after the *first* record of the last
        batch, so the truth is taken from what comes with a fetch.
        """
        begin = await self._offset(_EARLIEST)
        end = await self._offset(_LATEST)
        if end == 0:
            return begin, end
        return begin, max(end, (await self.fetch(max(begin, end - 1))).log_end)

    async def committed(self, group: str) -> Committed:
        """Return what the group has committed."""
        return (await self.committed_of(group, [self.place.partition]))[0]

    async def committed_of(self, group: str, partitions: Sequence[int]) -> list[Committed]:
        """Return what the group has committed in each of these partitions of the topic."""
        request = OffsetFetchRequest(group, [(self.place.topic, list(partitions))])
        while True:
            try:
                client = await self._connect()
                node = await client.coordinator_lookup(CoordinationType.GROUP, group)
                answer = await client.send(node, request)
                # A coordinator that is not ready answers for none of the partitions.
                self._raise(for_code(answer.error_code))
                ((_, parts),) = answer.topics
                for *_, code in parts:
                    self._raise(for_code(code))
                self._health.seen()
                found = {number: Committed(int(at), note or "") for number, at, note, _ in parts}
                return [found[number] for number in partitions]
            except (KafkaError, OSError, TimeoutError) as error:
                await self._patience(error)

    async def _offset(self, which: int) -> int:
        place = self.place
        request = OffsetRequest(-1, _READ_COMMITTED, [(place.topic, [(place.partition, which)])])
        _, _, _, offset = await self._ask(request, which)
        return int(offset)

    async def _ask(self, request: FetchRequest | OffsetRequest, offset: int) -> tuple[Any, ...]:
        """Return the partition's part of the leader's answer."""
        while True:
            try:
                client = await self._connect()
                leader = client.cluster.leader_for_partition(TopicPartition(*self.place))
                if leader is None or leader == -1:
                    await client.force_metadata_update()
                    await asyncio.sleep(_RETRY_S)
                    continue
                answer = await client.send(leader, request)
                (_, (part,)) = answer.topics[0]
                error = for_code(part[1])
                if error is OffsetOutOfRangeError:
                    raise BrokerError(
                        f"{self.place.topic} partition {self.place.partition} does not "
                        f"hold offset {offset}; keep the log whole (retention.ms=-1)"
                    )
                if error is CorruptRecordException:
                    topic, partition = self.place
                    raise CorruptBatchError(topic, partition, offset, "so says the broker itself")
                self._raise(error)
                self._health.seen()
                return tuple(part)
            except (KafkaError, OSError, TimeoutError) as error:
                await self._patience(error)

    def _raise(self, error: type[KafkaError]) -> None:
        if error is not NoError:
            raise error(str(self.place))

    async def _patience(self, error: Exception) -> None:
        if isinstance(error, _FOR_GOOD):
            raise BrokerError(f"{self._bootstrap} refuses: {error!r}") from error
        if not getattr(error, "invalid_metadata", False):
            self._health.missed(repr(error))
        await asyncio.sleep(_RETRY_S)
        if self._client is not None:
            self._client.force_metadata_update()

    async def _connect(self) -> AIOKafkaClient:
        if self._client is None:
            client = make_client(self._bootstrap)
            try:
                await client.bootstrap()
                await client.set_topics([self.place.topic])
            except BaseException:
                await close_client(client)
                raise
            self._client = client
        return self._client


async def all_committed(
    bootstrap: str, group: str, topic: str, partitions: int, health: Health | None = None
) -> list[Committed]:
    """Return what a group has committed in each partition of a topic; offset 0 where nothing."""
    log = KafkaLog(bootstrap, Place(topic, 0), health or Health(bootstrap))
    try:
        found = await log.committed_of(group, range(partitions))
    finally:
        await log.close()
    return [Committed(max(each.offset, 0), each.note) for each in found]
