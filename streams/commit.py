"""Stage 11, commit: outputs and the input's offset onto Kafka, at least once.

1. Pack: what the step wrote becomes record batches, per output topic in order.
2. Send: the batches go to the partition that has the number of their input's.
3. Wait: every batch is acknowledged by all in-sync copies.
4. Commit: the offset after the batch's last record, named explicitly, in the group's name.

If the worker dies before 3 is done, some outputs stand and the offset does not: whoever has the
partition next decides the same records again, and writes the same bytes under the same ids. If it
dies between 3 and 4, all outputs stand once more than they should, in the same bytes. After 4
nothing is repeated. In no case is a record left out: the offset never stands before the outputs.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.partition import Output
from streams.topology import STEP_OUTPUTS


class Packed(NamedTuple):
    """Record batches of one output topic, in order; a batch is aiokafka's BatchBuilder."""

    topic: int
    batches: list[Any]


def pack(producer: AIOKafkaProducer, outputs: Iterable[Output]) -> list[Packed]:
    """Step 1. Touches no connection, so it may run beside the event loop, with the step itself."""
    packed = [Packed(topic, []) for topic in range(len(STEP_OUTPUTS))]
    for output in outputs:
        batches = packed[output.topic].batches
        if not batches or not _append(batches[-1], output):
            batches.append(producer.create_batch())
            # A batch takes its first record whatever its size; the topic's limit is the broker's.
            _append(batches[-1], output)
    return [each for each in packed if each.batches]


def _append(batch: Any, output: Output) -> bool:
    headers = list(output.headers)
    added = batch.append(timestamp=None, key=output.key, value=output.value, headers=headers)
    return added is not None


async def write(producer: AIOKafkaProducer, partition: int, packed: list[Packed]) -> None:
    """Steps 2 and 3: return when every record stands; raises `KafkaError` where one does not."""
    await asyncio.gather(*(_write_topic(producer, partition, each) for each in packed))


async def _write_topic(producer: AIOKafkaProducer, partition: int, packed: Packed) -> None:
    topic = STEP_OUTPUTS[packed.topic].name
    sent = [await producer.send_batch(each, topic, partition=partition) for each in packed.batches]
    await asyncio.gather(*sent)


async def commit(group: AIOKafkaConsumer, partition: TopicPartition, offset: int) -> None:
    """Step 4; raises `KafkaError` where the partition is no longer this member's."""
    await group.commit({partition: offset})
