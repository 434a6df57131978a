"""One form of a partition's output as bytes, so that two runs are compared without reading them.

A file `<topic>.<partition>.bin` holds the records of one topic and partition in order. Each record:
key, value, then the headers, every part as an unsigned 32-bit little-endian length and its bytes
(length 2^32 - 1 for null); headers as a count, then name and value of each.
"""

import struct
from collections.abc import Iterable
from pathlib import Path

from aiokafka import TopicPartition

from streams.broker.client import make_consumer, read_whole
from streams.partition import Output
from streams.topology import STEP_OUTPUTS

_NULL = struct.pack("<I", 0xFFFFFFFF)


def pack_output(output: Output) -> bytes:
    """Return one record in this form."""
    parts = [_part(output.key), _part(output.value), struct.pack("<I", len(output.headers))]
    for name, value in output.headers:
        parts += [_part(name.encode()), _part(value)]
    return b"".join(parts)


def dump_path(folder: Path, topic: int, partition: int) -> Path:
    """Return the file of one of `topology.STEP_OUTPUTS` and one partition."""
    return folder / f"{STEP_OUTPUTS[topic].name}.{partition}.bin"


def write_dump(folder: Path, partition: int, outputs: Iterable[Output]) -> None:
    """Write the files of one partition, one per topic, also where it has no records."""
    folder.mkdir(parents=True, exist_ok=True)
    packed = [bytearray() for _ in STEP_OUTPUTS]
    for output in outputs:
        packed[output.topic] += pack_output(output)
    for topic, data in enumerate(packed):
        dump_path(folder, topic, partition).write_bytes(data)


def _part(value: bytes | None) -> bytes:
    return _NULL if value is None else struct.pack("<I", len(value)) + value


async def dump_topics(bootstrap: str, folder: Path, partitions: int) -> None:
    """Write the files of what stands on the output topics, as a replay with `dump` writes them."""
    consumer = make_consumer(bootstrap)
    await consumer.start()
    try:
        for number in range(partitions):
            outputs: list[Output] = []
            for topic, each in enumerate(STEP_OUTPUTS):
                partition = TopicPartition(each.name, number)
                outputs += [
                    Output(topic, record.key, record.value, tuple(record.headers))
                    async for record in read_whole(consumer, partition)
                ]
            write_dump(folder, number, outputs)
    finally:
        await consumer.stop()
