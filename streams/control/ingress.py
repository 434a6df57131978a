"""What institutions say of their own loans and lines: taken in, stamped, signed, forwarded.

1. Read what stands on `dipper.ingress.<institution>`, from the group's committed offsets.
2. Stamp each record with its issuer: Kafka's ACL says who may write there, so the topic says
   who speaks. What is neither, or names another issuer, becomes a dead letter.
3. Sign all of them as one batch, send each to its applicant's partition of `dipper.events`.
4. When all stand, commit the offsets read.

If it dies between 3 and 4, the same events are forwarded again and are duplicates by their ids.
"""

import asyncio
from collections.abc import Collection
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from streams.broker.client import broker_kind, make_consumer, make_producer, stop_client
from streams.broker.publish import partition_of
from streams.broker.roles import writers
from streams.control.loans import BATCH_MAX, sign_loans, stamp
from streams.control.records import Sign
from streams.errors import BrokerError, DipperError
from streams.topology import DEAD_LETTERS, EVENTS, INGRESS_PREFIX

GROUP = "dipper-control-ingress"
_POLL_MS = 100
_EVERYBODY = "User:*"


class Ingress:
    """Forwards loan and line events of some institutions: `async with Ingress(...) as ingress:`.

    Takes the broker, how many partitions `dipper.events` has, the institutions and how to sign.
    """

    def __init__(
        self, bootstrap: str, partitions: int, institutions: Collection[str], sign: Sign
    ) -> None:
        self._bootstrap = bootstrap
        self._partitions = partitions
        self._topics = {
            TopicPartition(INGRESS_PREFIX + name, 0): name for name in sorted(institutions)
        }
        self._sign = sign
        self._producer: AIOKafkaProducer
        self._consumer: AIOKafkaConsumer
        self.forwarded = self.refused = 0
        self.checked = False  # whether the broker checks who writes to these topics

    async def __aenter__(self) -> Self:
        kind = await broker_kind(self._bootstrap)
        if kind == "kafka":
            await self._check_writers()
        self._producer = make_producer(self._bootstrap, kind)
        self._consumer = make_consumer(self._bootstrap, group=GROUP)
        await self._producer.start()
        await self._consumer.start()
        self._consumer.assign(list(self._topics))
        for each in self._topics:
            self._consumer.seek(each, await self._consumer.committed(each) or 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await stop_client(self._consumer)
        await stop_client(self._producer)

    async def run(self, stop: asyncio.Event) -> None:
        """Forward until `stop` is set; `BrokerError` where Kafka refuses."""
        try:
            while not stop.is_set():
                found = await self._consumer.getmany(
                    *self._topics, timeout_ms=_POLL_MS, max_records=BATCH_MAX
                )
                if found:
                    await self._forward(found)
        except KafkaError as error:
            raise BrokerError(f"{self._bootstrap} failed: {error}; start control again") from error

    async def _forward(self, found: dict[TopicPartition, list[Any]]) -> None:
        stamped: list[tuple[bytes, bytes]] = []
        sent = []
        for topic, records in found.items():
            for record in records:
                try:
                    stamped.append(stamp(record.value, self._topics[topic]))
                except DipperError as refusal:
                    sent.append(await self._refuse(record, str(refusal)))
        if stamped:
            signed = sign_loans([value for _, value in stamped], self._sign)
            for (key, _), value in zip(stamped, signed, strict=True):
                partition = partition_of(key, self._partitions)
                sent.append(
                    await self._producer.send(EVENTS.name, value, key=key, partition=partition)
                )
        await asyncio.gather(*sent)
        self.forwarded += len(stamped)
        ends = {topic: records[-1].offset + 1 for topic, records in found.items()}
        await self._consumer.commit(ends)

    async def _refuse(self, record: Any, reason: str) -> Any:
        self.refused += 1
        headers = [
            ("reason", reason.encode()),
            ("position", b"-1"),
            ("topic", record.topic.encode()),
            ("partition", b"%d" % record.partition),
            ("offset", b"%d" % record.offset),
        ]
        return await self._producer.send(
            DEAD_LETTERS.name, record.value, key=record.key, partition=0, headers=headers
        )

    async def _check_writers(self) -> None:
        for topic in self._topics:
            allowed = await writers(self._bootstrap, topic.topic)
            if allowed is None:
                return
            if _EVERYBODY in allowed:
                raise BrokerError(
                    f"everybody may write to {topic.topic}, so nobody knows who speaks there: "
                    "take the ACL of User:* away"
                )
        self.checked = True
