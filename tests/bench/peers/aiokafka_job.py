"""Both jobs on plain aiokafka, as somebody would write them who needs no framework.

Partitions assigned by hand, `getmany` for many records at once, a dict as state, batches by
`create_batch` and `send_batch` ("batch producer" in aiokafka's documentation, section examples),
the offset committed by hand once outputs are acknowledged ("manual commit", section consumer): at
least once. In the full job the requests of one batch are scored by one `predict`, unless an
applicant comes twice: then what waits is answered first.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord

from tests.bench.peers.task import Task, read_task

RECORDS_MAX = 4_096
BATCH_BYTES = 512 * 1024
Written = list[tuple[bytes, bytes]]


def thin_job() -> Callable[[Iterable[ConsumerRecord]], Written]:
    """Return a function from records to outputs: one running sum a key."""
    sums: dict[str, int] = {}
    loads, dumps = orjson.loads, orjson.dumps

    def run(records: Iterable[ConsumerRecord]) -> Written:
        written = []
        for record in records:
            event = loads(record.value)
            name = event["k"]
            total = sums[name] = sums.get(name, 0) + event["v"]
            written.append((record.key, dumps({"k": name, "sum": total})))
        return written

    return run


def full_job(task: Task, partition: int) -> Callable[[Iterable[ConsumerRecord]], Written]:
    """Return a function from records of one partition to decisions."""
    from tests.bench.peers.batches import FullBatch

    batch = FullBatch(task.lender(partition))

    def run(records: Iterable[ConsumerRecord]) -> Written:
        return batch.run((record.key, record.offset, record.value) for record in records)

    return run


async def _write(producer: AIOKafkaProducer, sink: str, partition: int, written: Written) -> None:
    batch, sent = producer.create_batch(), []
    for key, value in written:
        if batch.append(key=key, value=value, timestamp=None) is None:
            sent.append(await producer.send_batch(batch, sink, partition=partition))
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)
    if batch.record_count():
        sent.append(await producer.send_batch(batch, sink, partition=partition))
    await asyncio.gather(*sent)


async def main(task: Task) -> None:
    """Run until killed."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=task.broker, group_id=task.group, enable_auto_commit=False,
        auto_offset_reset="earliest", max_partition_fetch_bytes=4 * 1024 * 1024,
    )  # fmt: skip
    producer = AIOKafkaProducer(
        bootstrap_servers=task.broker, acks="all", max_batch_size=BATCH_BYTES,
        enable_idempotence=True,
    )  # fmt: skip
    await producer.start()
    await consumer.start()
    # What a dict knows is lost where a partition moves, so each process has partitions of its own.
    mine = range(task.member, task.partitions, task.processes)
    consumer.assign([TopicPartition(task.source, number) for number in mine])
    jobs: dict[int, Callable[[Iterable[ConsumerRecord]], Written]] = {}
    while True:
        found: dict[TopicPartition, Any] = await consumer.getmany(
            timeout_ms=100, max_records=RECORDS_MAX
        )
        for where, records in found.items():
            if where.partition not in jobs:
                job = thin_job() if task.job == "thin" else full_job(task, where.partition)
                jobs[where.partition] = job
            written = jobs[where.partition](records)
            await _write(producer, task.sink, where.partition, written)
            await consumer.commit({where: records[-1].offset + 1})


if __name__ == "__main__":
    asyncio.run(main(read_task()))
