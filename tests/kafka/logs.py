"""Topics read whole, for tests."""

import asyncio
from collections.abc import Awaitable, Callable

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from streams.broker.client import make_consumer, read_whole


async def read_partition(bootstrap: str, topic: str, partition: int) -> list[ConsumerRecord]:
    """Return every record that stands in the partition now."""
    consumer = make_consumer(bootstrap)
    await consumer.start()
    try:
        return [each async for each in read_whole(consumer, TopicPartition(topic, partition))]
    finally:
        await consumer.stop()


async def read_topic(bootstrap: str, topic: str, partitions: int) -> list[list[bytes | None]]:
    """Return the values of every partition."""
    return [
        [record.value for record in await read_partition(bootstrap, topic, number)]
        for number in range(partitions)
    ]


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 90) -> None:
    """Return when `holds` says so; fail after so many seconds."""
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.05)
