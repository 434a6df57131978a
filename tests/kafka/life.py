"""A deployment on Apache Kafka as one life: published to, decided, kept in snapshots."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiokafka import TopicPartition

from streams.broker.client import make_consumer
from streams.broker.lines import LineFile
from streams.broker.publish import Publisher, publish
from streams.control.keys import load_private_key, load_trusted, verifier
from streams.deployment import Deployment
from streams.keep import Every, keep_snapshots
from streams.live import GROUP, Worker
from streams.snapshot.shelf import Shelf
from streams.snapshot.store import Folder, read_all
from streams.step import Step
from streams.topology import EVENTS
from tests.conftest import Broker
from tests.kafka.logs import until
from tests.kafka.running import at_work

PARTITIONS = 2
NUMBERS = range(PARTITIONS)


class Life:
    """A deployment on a broker, with control's clock from the file that is published."""

    def __init__(self, broker: Broker, deployment: Deployment, folder: Path) -> None:
        self.bootstrap = broker.bootstrap
        self.deployment = deployment
        self.snapshots = Folder(folder / "snapshots")
        self.store = Folder(folder / "archive")
        self.verify = verifier(load_trusted(deployment.folder))

    async def publish(self, path: Path) -> None:
        """Publish a file of events, loan events signed as control does."""
        sign = load_private_key(self.deployment.folder).sign
        async with Publisher(self.bootstrap) as publisher:
            await publish(
                publisher,
                LineFile(path),
                raw=True,
                sign=sign,
                institutions=self.deployment.institution_ids,
            )

    def worker(self, *, without_snapshots: bool = False) -> Worker:
        """Return a worker that recovers from snapshots, or from the whole log."""
        return Worker(
            self.bootstrap,
            lambda number, count: Step(self.deployment, number, count, self.verify),
            snapshots=None if without_snapshots else self.snapshots,
        )

    @asynccontextmanager
    async def working(self) -> AsyncIterator[Worker]:
        """Run such a worker."""
        worker = self.worker()
        async with at_work(worker):
            yield worker

    def spoil_newest(self, number: int) -> None:
        """Cut the newest snapshot of a partition short by a byte."""
        name = self.snapshots.names(f"partition-{number:05d}")[-1]
        self.snapshots.write(name, [read_all(self.snapshots, name)[:-1]])

    async def caught_up(self, worker: Worker) -> None:
        """Wait until the worker has committed all that stands."""
        ends = [end for _, end in await self.bounds()]

        async def holds() -> bool:
            at = {s.partition: s.committed for s in worker.status if s.ready}
            return [at.get(number) for number in NUMBERS] == ends

        await until(holds, 240)

    async def bounds(self) -> list[tuple[int, int]]:
        """Return where each partition of events begins and ends."""
        consumer = make_consumer(self.bootstrap)
        await consumer.start()
        places = [TopicPartition(EVENTS.name, number) for number in NUMBERS]
        begins = await consumer.beginning_offsets(places)
        ends = await consumer.end_offsets(places)
        await consumer.stop()
        return [(begins[place], ends[place]) for place in places]

    async def kept(self, at_least: int) -> None:
        """Follow the worker until each partition has so many snapshots, one at its end."""
        stop = asyncio.Event()
        following = asyncio.create_task(
            keep_snapshots(
                self.bootstrap, self.deployment.folder, self.snapshots, GROUP, None,
                Every(1, 0.1), stop,
            )
        )  # fmt: skip
        ends = [end for _, end in await self.bounds()]

        async def holds() -> bool:
            shelves = [Shelf(self.snapshots, number).offsets() for number in NUMBERS]
            return all(
                len(shelf) >= at_least and shelf[-1] == end
                for shelf, end in zip(shelves, ends, strict=True)
            )

        await until(holds, 120)
        stop.set()
        await following
