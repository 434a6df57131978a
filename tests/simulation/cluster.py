"""Workers of one partition: the real serving loop, given and taken by a group that lies.

A crash ends a worker between any two of its steps; a stop freezes it; the group gives the partition
to another while the first still believes that it has it. Memory of a dead worker is gone; requests
that had left it are not.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from monitoring.meter import WorkerMeter
from streams.broker.health import Health
from streams.commit import Transactions
from streams.partition import Partition
from streams.ports import Place
from streams.serving import Serving
from streams.serving import Worker as Shared
from streams.topology import EVENTS
from tests.simulation.broker import FakeBroker
from tests.simulation.network import FakeLog, FakeTransactions, Line, Weather

GROUP = "dipper"
MakePartition = Callable[[], Partition]


class Worker:
    """One worker process, as far as one partition is concerned."""

    def __init__(
        self, name: str, number: int, broker: FakeBroker, weather: Weather, make: MakePartition
    ) -> None:
        self.name = name
        self.line = Line(broker, weather)
        self.failure: Exception | None = None
        self.fenced = False
        log = FakeLog(self.line, Place(EVENTS.name, number))
        writer = FakeTransactions(self.line, f"{GROUP}-{number}")
        self.meter = WorkerMeter()
        shared = Shared(
            self._aside, lambda: 0, Health(name), self.meter, self._on_fenced, self._fail
        )
        committer = Transactions(writer, log, GROUP)
        self.serving = Serving(log, committer, lambda _: make(), shared, transactional=True)

    def crash(self) -> None:
        """Die: nothing is cleaned up, nobody is told."""
        self.line.dead = True
        # What still runs of it hears nothing any more; what it had sent may still arrive.
        self.serving.hold()
        task = self.serving.busy
        if task is not None:
            task.cancel()

    async def _aside(self, work: Callable[[], Any]) -> Any:
        """Compute, which takes a while, during which the rest of the world goes on."""
        await asyncio.sleep(self.line.weather.dice.uniform(0.0, 0.01))
        await self.line.running.wait()
        if self.line.dead:
            await asyncio.Event().wait()
        return work()

    def _on_fenced(self) -> None:
        self.fenced = True

    def _fail(self, error: Exception) -> None:
        self.failure = error


class Cluster:
    """The group and its chaos, until `calm`."""

    def __init__(
        self, broker: FakeBroker, number: int, make: MakePartition, dice: random.Random
    ) -> None:
        self.workers: list[Worker] = []
        self.events: list[str] = []  # what happened, for whoever reads a failure
        self._broker = broker
        self._number = number
        self._make = make
        self._dice = dice
        self._weather = Weather(dice)
        self._names = 0
        self._owner: Worker | None = None
        self._later: list[asyncio.Task[None]] = []

    async def chaos(self, traffic: "asyncio.Task[None]") -> None:
        """Hurt somebody now and then, as long as there is traffic."""
        for _ in range(2):
            self._add()
        self._give(self._dice.choice(self.workers))
        hurts = (self._move, self._move, self._crash, self._stop, self._split)
        while not traffic.done():
            await asyncio.sleep(self._dice.choice([0.02, 0.3, 2.0]) * self._dice.random())
            self._rejoin()
            if self._dice.random() < 0.5:
                self._dice.choice(hurts)()

    async def calm(self) -> None:
        """Mend everything: one worker has the partition, all others know it."""
        self._weather.calm()
        for task in self._later:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)
        for worker in self.workers:
            worker.line.running.set()
        self._owner = None
        for worker in self.workers:
            worker.serving.hold()
        self._give(self._dice.choice(self.workers))

    def keep_calm(self) -> None:
        """Let a fenced owner join again: a late request of another may still fence it."""
        self._rejoin()

    async def end(self) -> None:
        """Stop all that runs."""
        for worker in self.workers:
            worker.crash()
        await asyncio.sleep(60)

    @property
    def failures(self) -> list[str]:
        """What workers died of, and what halted them."""
        said = [f"{w.name}: {w.failure!r}" for w in self.workers if w.failure is not None]
        return said + [
            f"{w.name}: halted at {at}" for w in self.workers for at in w.meter.halted.values()
        ]

    def _note(self, what: str) -> None:
        self.events.append(f"{asyncio.get_running_loop().time():8.3f} {what}")

    def _add(self) -> Worker:
        self._names += 1
        worker = Worker(f"w{self._names}", self._number, self._broker, self._weather, self._make)
        self.workers.append(worker)
        return worker

    def _give(self, worker: Worker) -> None:
        self._note(f"{worker.name} is given the partition")
        self._owner = worker
        worker.serving.take_up()

    def _rejoin(self) -> None:
        owner = self._owner
        if owner is not None and owner.fenced:
            owner.fenced = False
            self._give(owner)

    def _move(self) -> None:
        """Take it from one and give it to another; the first hears of it some time."""
        old, new = self._owner, self._dice.choice(self.workers)
        if old is not None and old is not new:
            self._soon(old, give_up=self._dice.random() < 0.5)
        self._give(new)

    def _split(self) -> None:
        """Give it to another; the first never hears of it, until he is fenced."""
        self._give(self._dice.choice(self.workers))

    def _crash(self) -> None:
        worker = self._dice.choice(self.workers)
        self._note(f"{worker.name} crashes")
        worker.crash()
        self.workers.remove(worker)
        new = self._add()
        if worker is self._owner:
            self._give(new)

    def _stop(self) -> None:
        """Freeze one; when he is beyond his session another has the partition."""
        worker = self._dice.choice(self.workers)
        self._note(f"{worker.name} is stopped")
        worker.line.running.clear()
        seconds = self._dice.uniform(0.1, 15.0)

        async def wake() -> None:
            await asyncio.sleep(seconds)
            self._note(f"{worker.name} wakes")
            worker.line.running.set()

        self._later.append(asyncio.create_task(wake()))
        if worker is self._owner and seconds > 5.0:
            self._give(self._add())

    def _soon(self, worker: Worker, *, give_up: bool) -> None:
        async def tell() -> None:
            await asyncio.sleep(self._dice.choice([0.0, 0.05, 2.0]) * self._dice.random())
            if worker is not self._owner:
                (worker.serving.give_up if give_up else worker.serving.hold)()

        self._later.append(asyncio.create_task(tell()))
