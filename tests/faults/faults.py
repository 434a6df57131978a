"""The faults, a row each: what happens to whom. Each is a coroutine over the fleet and the broker.

After a fault the fleet is whole again: as many workers as before, control, the broker.
"""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tests.faults.fleet import Fleet, MortalKafka

_SESSION_S = 10.0  # of a worker in its group; see streams/live.py


class Scene(NamedTuple):
    """Who can be hurt, and the dice."""

    fleet: Fleet
    broker: MortalKafka
    dice: random.Random


async def kill_worker(scene: Scene) -> None:
    """Kill -9 one worker in the midst of its work; another starts at once."""
    worker = scene.dice.choice(scene.fleet.workers)
    worker.kill()
    scene.fleet.drop(worker)
    scene.fleet.start_worker()


async def kill_all_workers(scene: Scene) -> None:
    """Kill -9 every worker at the same moment; as many start at once."""
    for worker in tuple(scene.fleet.workers):
        worker.kill()
        scene.fleet.drop(worker)
        scene.fleet.start_worker()


async def kill_control(scene: Scene) -> None:
    """Kill -9 the writer of ticks and grants, and start it again after a while without time."""
    scene.fleet.control.kill()
    await asyncio.sleep(scene.dice.uniform(0.0, 3.0))
    scene.fleet.start_control()


async def kill_broker(scene: Scene) -> None:
    """Kill -9 the broker, leave it away for some seconds, start it on the log it left."""
    await asyncio.to_thread(scene.broker.kill)
    await asyncio.sleep(scene.dice.uniform(0.0, 5.0))
    await asyncio.to_thread(scene.broker.start_again)


async def zombie(scene: Scene) -> None:
    """Stop a worker beyond its session, let others take over, wake it: it must do no harm."""
    worker = scene.dice.choice(scene.fleet.workers)
    worker.send(signal.SIGSTOP)
    await asyncio.sleep(_SESSION_S + scene.dice.uniform(1.0, 4.0))
    worker.send(signal.SIGCONT)


async def storm(scene: Scene) -> None:
    """Let workers join and leave so fast that one rebalance overtakes the other."""
    guests = [scene.fleet.start_worker() for _ in range(2)]
    await asyncio.sleep(scene.dice.uniform(2.0, 6.0))
    for guest in guests:
        scene.fleet.drop(guest)
        if scene.dice.random() < 0.5:
            guest.kill()
        else:
            await asyncio.to_thread(guest.leave)


async def replace_worker(scene: Scene) -> None:
    """Let a worker leave in order, then start another: what an upgrade does."""
    worker = scene.dice.choice(scene.fleet.workers)
    scene.fleet.drop(worker)
    await asyncio.to_thread(worker.leave)
    scene.fleet.start_worker()


FAULTS: tuple[Callable[[Scene], Awaitable[None]], ...] = (
    kill_worker,
    kill_broker,
    zombie,
    kill_control,
    storm,
    kill_all_workers,
    replace_worker,
)
