"""The running step's events, what must come of them, and workers that decide them."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from streams.broker.client import make_producer
from streams.broker.publish import partition_of
from streams.live import Worker
from streams.topology import DECISIONS, EVENTS
from tests.conftest import Broker
from tests.kafka.logs import read_topic, until
from tests.streams.running_step import RunningStep
from tests.tidy.source import ROOT

PARTITIONS = 4
KEYS = [b"k%d" % n for n in range(9)]


def values(first: int, last: int) -> list[tuple[bytes, bytes]]:
    """Return records of the keys in turn."""
    return [(KEYS[n % len(KEYS)], b"v%d" % n) for n in range(first, last)]


def expected(records: Sequence[tuple[bytes, bytes]]) -> list[list[bytes]]:
    """What the running step writes per partition, by the shortest way of saying it."""
    seen: Counter[bytes] = Counter()
    decided: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
    for key, value in records:
        partition = partition_of(key, PARTITIONS)
        seen[key] += 1
        decided[partition].append(b"%d %s %d %s" % (partition, key, seen[key], value))
    return decided


async def publish(
    broker: Broker, records: Sequence[tuple[bytes, bytes]], compression: str | None = None
) -> None:
    """Publish each record to the partition of its key."""
    producer = make_producer(broker.bootstrap, broker.kind, compression_type=compression)
    await producer.start()
    try:
        for key, value in records:
            partition = partition_of(key, PARTITIONS)
            await producer.send(EVENTS.name, value, key=key, partition=partition)
        await producer.flush()
    finally:
        await producer.stop()


async def decided(broker: Broker, at_least: int) -> list[list[bytes | None]]:
    """Return the decisions of each partition as soon as there are so many."""
    found: list[list[bytes | None]] = []

    async def enough() -> bool:
        found[:] = await read_topic(broker.bootstrap, DECISIONS.name, PARTITIONS)
        return sum(map(len, found)) >= at_least

    await until(enough)
    return found


@asynccontextmanager
async def at_work(*workers: Worker) -> AsyncIterator[None]:
    """Run workers in this process; at the end they finish, commit and leave."""
    stop = asyncio.Event()
    running = [asyncio.create_task(worker.run(stop)) for worker in workers]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*running)


@asynccontextmanager
async def working(broker: Broker) -> AsyncIterator[Worker]:
    """Run a worker of the running step in this process."""
    worker = Worker(broker.bootstrap, RunningStep)
    async with at_work(worker):
        yield worker


def ready(worker: Worker) -> set[int]:
    """Return the partitions that the worker decides."""
    return {status.partition for status in worker.status if status.ready}


async def start(broker: Broker) -> asyncio.subprocess.Process:
    """Start a worker as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "tests" / "kafka" / "running_worker.py"),
        broker.bootstrap,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"started\n"
    return process
