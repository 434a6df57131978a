"""Workers and a follower in trouble: the real serving and following loops under a group that lies.

A crash ends a process between any two of its steps; a stop freezes it; the group gives a partition
to another while the first still believes that it has it, or deals all of them anew. Memory of a
dead process is gone; requests that had left it are not.
"""

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Any

from monitoring.meter import WorkerMeter
from streams.archive.copy import safe_to_delete
from streams.broker.health import Health
from streams.commit import Transactions
from streams.errors import BrokerError
from streams.keep import Every, Follower
from streams.partition import Partition
from streams.ports import Place
from streams.recover import load
from streams.serving import Serving
from streams.serving import Worker as Shared
from streams.snapshot.shelf import Shelf
from streams.topology import EVENTS
from tests.simulation.broker import FakeBroker
from tests.simulation.disk import FakeDisk, KilledError
from tests.simulation.network import FakeLog, FakeTransactions, Line, Weather

GROUP = "dipper"
MakePartition = Callable[[int], Partition]


class World:
    """What all processes share: broker, network, disk, how to make a partition, and chance."""

    def __init__(
        self,
        broker: FakeBroker,
        disk: FakeDisk,
        partitions: range,
        make: MakePartition,
        dice: random.Random,
    ) -> None:
        self.broker = broker
        self.disk = disk
        self.partitions = partitions
        self.make = make
        self.dice = dice
        self.weather = Weather(dice)
        self.trims = dice.random() < 0.5
        self.events: list[str] = []  # what happened, for whoever reads a failure

    def note(self, what: str) -> None:
        """Write down what happens, and when."""
        self.events.append(f"{asyncio.get_running_loop().time():8.3f} {what}")


class Process:
    """What can be frozen and killed."""

    def __init__(self, name: str, world: World) -> None:
        self.name = name
        self.world = world
        self.line = Line(world.broker, world.weather)

    def crash(self) -> None:
        """Die: nothing is cleaned up, nobody is told."""
        self.line.dead = True

    async def aside(self, work: Callable[[], Any]) -> Any:
        """Compute, which takes a while, during which the rest of the world goes on."""
        await asyncio.sleep(self.world.dice.uniform(0.0, 0.01))
        await self.line.running.wait()
        if self.line.dead:
            await asyncio.Event().wait()
        return work()

    def log(self, number: int) -> FakeLog:
        """Return a log to read, by this process's line."""
        return FakeLog(self.line, Place(EVENTS.name, number))


class Worker(Process):
    """One worker: a serving for each partition, wanted here or not."""

    def __init__(self, name: str, world: World) -> None:
        super().__init__(name, world)
        self.failure: Exception | None = None
        self.fenced = False
        self.meter = WorkerMeter()
        self.shared = Shared(
            self.aside, lambda: 0, Health(name), self.meter, self._on_fenced, self._fail
        )
        self.servings = {number: self._serving(number) for number in world.partitions}

    def _serving(self, number: int) -> Serving:
        log = self.log(number)
        committer = Transactions(FakeTransactions(self.line, f"{GROUP}-{number}"), log, GROUP)
        make = partial(load, partial(self.world.make, number), self.world.disk)
        return Serving(log, committer, make, self.shared, transactional=True)

    def hold(self) -> None:
        """Hear that the group deals anew."""
        for serving in self.servings.values():
            serving.hold()

    def crash(self) -> None:
        """Die. What it was about to begin does not begin."""
        super().crash()
        # What still runs of it hears nothing any more; what it had sent may still arrive.
        self.hold()
        for serving in self.servings.values():
            if serving.busy is not None:
                serving.busy.cancel()

    def _on_fenced(self) -> None:
        self.fenced = True

    def _fail(self, error: Exception) -> None:
        self.failure = error


class Keeper(Process):
    """One follower process, `dipper state keep`, of all partitions."""

    def __init__(self, name: str, world: World) -> None:
        super().__init__(name, world)
        every = Every(world.dice.choice([8, 30]), world.dice.choice([1.0, 5.0]))
        self.tasks = [
            asyncio.create_task(
                Follower(
                    self.log(number),
                    GROUP,
                    partial(world.make, number),
                    world.disk,
                    self.aside,
                    every,
                ).run(lambda: not self.line.dead)
            )
            for number in world.partitions
        ]

    @property
    def ended(self) -> list[BaseException | None]:
        """What its tasks ended with, which never happens to a healthy one."""
        done = [task for task in self.tasks if task.done() and not task.cancelled()]
        return [task.exception() for task in done]

    def crash(self) -> None:
        """Die in the midst of whatever its tasks do."""
        super().crash()
        for task in self.tasks:
            task.cancel()


class Cluster:
    """The group and its chaos, until `calm`."""

    def __init__(self, world: World) -> None:
        self.workers: list[Worker] = []
        self.keeper: Keeper
        self.deaths: list[str] = []  # of what workers died by themselves
        self._world = world
        self._dice = world.dice
        self._names = 0
        self._owners: dict[int, Worker] = {}
        self._later: list[asyncio.Task[None]] = []
        self._keepers: list[Keeper] = []
        self._calm = False

    async def chaos(self, traffic: "asyncio.Future[Any]") -> None:
        """Hurt somebody now and then, as long as there is traffic."""
        for _ in range(2):
            self._add()
        self._follow()
        for number in self._world.partitions:
            self._give(number, self._dice.choice(self.workers))
        hurts = (
            self._move, self._move, self._crash, self._stop, self._split, self._deal,
            self._crash_keeper, self._stop_keeper, self._go_away,
        )  # fmt: skip
        while not traffic.done():
            await asyncio.sleep(self._dice.choice([0.02, 0.3, 2.0]) * self._dice.random())
            self.supervise()
            self._trim()
            if self._dice.random() < 0.5:
                self._dice.choice(hurts)()

    async def calm(self) -> None:
        """Mend everything: each partition has one worker, all others know it."""
        self._calm = True
        self._world.weather.calm()
        self._world.disk.calm()
        for task in self._later:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)
        for process in (*self.workers, *self._keepers):
            process.line.running.set()
        self.supervise()
        self._owners.clear()
        for worker in self.workers:
            worker.hold()
        for number in self._world.partitions:
            self._give(number, self._dice.choice(self.workers))

    def supervise(self) -> None:
        """Start anew what has ended, and let a fenced worker join again.

        Where a trimmed log and a store that does not answer leave nothing to begin with, a worker
        ends and says so; it is started again, and in calm weather that must not happen.
        """
        for worker in [each for each in self.workers if each.failure is not None]:
            assert worker.failure is not None
            said = f"{worker.name} ends: {worker.failure!r}"
            self._world.note(said)
            if self._calm or not isinstance(worker.failure, BrokerError):
                self.deaths.append(said)
            self._replace(worker)
        for worker in self.workers:
            if worker.fenced:
                worker.fenced = False
                for number in [n for n, owner in self._owners.items() if owner is worker]:
                    worker.servings[number].hold()
                    self._give(number, worker)
        if ended := self.keeper.ended:
            self._world.note(f"{self.keeper.name} ends: {ended}")
            if self._calm or not all(isinstance(e, KilledError | BrokerError) for e in ended):
                self.deaths.append(f"{self.keeper.name}: {ended}")
            self._crash_keeper()

    async def end(self) -> None:
        """Stop all that runs."""
        for process in (*self.workers, *self._keepers):
            process.crash()
        await asyncio.sleep(60)

    @property
    def failures(self) -> list[str]:
        """What processes died of, and what halted partitions."""
        return self.deaths + [
            f"{w.name}: partition {number} halted at {at}"
            for w in self.workers
            for number, at in w.meter.halted.items()
        ]

    def _add(self) -> Worker:
        self._names += 1
        worker = Worker(f"w{self._names}", self._world)
        self.workers.append(worker)
        return worker

    def _follow(self) -> None:
        self._names += 1
        self.keeper = Keeper(f"k{self._names}", self._world)
        self._keepers.append(self.keeper)

    def _any_number(self) -> int:
        return self._dice.choice(self._world.partitions)

    def _give(self, number: int, worker: Worker) -> None:
        self._world.note(f"{worker.name} is given partition {number}")
        self._owners[number] = worker
        worker.servings[number].take_up()

    def _move(self) -> None:
        """Take one from a worker and give it to another; the first hears of it some time."""
        number = self._any_number()
        old, new = self._owners.get(number), self._dice.choice(self.workers)
        if old is not None and old is not new:
            self._soon(number, old, give_up=self._dice.random() < 0.5)
        self._give(number, new)

    def _split(self) -> None:
        """Give one to another; the first never hears of it, until he is fenced."""
        self._give(self._any_number(), self._dice.choice(self.workers))

    def _deal(self) -> None:
        """Deal all of them anew: a worker takes up what is his and lets go the rest."""
        self._world.note("all partitions are dealt anew")
        for worker in self.workers:
            worker.hold()
        before = dict(self._owners)
        for number in self._world.partitions:
            self._give(number, self._dice.choice(self.workers))
            if number in before and before[number] is not self._owners[number]:
                before[number].servings[number].give_up()

    def _replace(self, worker: Worker) -> None:
        worker.crash()
        self.workers.remove(worker)
        new = self._add()
        for number in [n for n, owner in self._owners.items() if owner is worker]:
            self._give(number, new)

    def _crash(self) -> None:
        worker = self._dice.choice(self.workers)
        self._world.note(f"{worker.name} crashes")
        self._replace(worker)

    def _stop(self) -> None:
        """Freeze one; when he is beyond his session another has what was his."""
        worker = self._dice.choice(self.workers)
        seconds = self._freeze(worker)
        lost = [n for n, owner in self._owners.items() if owner is worker]
        if lost and seconds > 5.0:
            new = self._add()
            for number in lost:
                self._give(number, new)

    def _crash_keeper(self) -> None:
        self._world.note(f"{self.keeper.name} crashes")
        self.keeper.crash()
        self._follow()

    def _stop_keeper(self) -> None:
        """Freeze the follower; perhaps a second one runs beside it when it wakes."""
        self._freeze(self.keeper)
        if self._dice.random() < 0.5:
            self._follow()

    def _go_away(self) -> None:
        """Let nobody reach the broker for up to a minute."""
        if self._dice.random() < 0.7:
            return
        self._world.note("the broker is away")
        self._world.weather.away = True

        def back() -> None:
            self._world.note("the broker is back")
            self._world.weather.away = False

        self._at(self._dice.uniform(1.0, 60.0), back)

    def _freeze(self, process: Process) -> float:
        self._world.note(f"{process.name} is stopped")
        process.line.running.clear()
        seconds = self._dice.uniform(0.1, 15.0)

        def wake() -> None:
            self._world.note(f"{process.name} wakes")
            process.line.running.set()

        self._at(seconds, wake)
        return seconds

    def _trim(self) -> None:
        """Delete what `dipper archive copy --trim` would."""
        if not self._world.trims or self._dice.random() < 0.7:
            return
        for number in self._world.partitions:
            place = Place(EVENTS.name, number)
            try:
                offsets = Shelf(self._world.disk, number).offsets()
            except OSError:
                continue
            begin = safe_to_delete(self._world.broker.committed.get(place, 0), offsets)
            self._world.broker.trim(place, begin)

    def _soon(self, number: int, worker: Worker, *, give_up: bool) -> None:
        serving = worker.servings[number]

        def tell() -> None:
            if worker is not self._owners.get(number):
                (serving.give_up if give_up else serving.hold)()

        self._at(self._dice.choice([0.0, 0.05, 2.0]) * self._dice.random(), tell)

    def _at(self, seconds: float, what: Callable[[], None]) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            what()

        self._later.append(asyncio.create_task(wait()))
