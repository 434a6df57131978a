"""What stands between a worker and the broker: requests and answers that come late, or never.

`FakeLog` and `FakeTransactions` are the ports of `streams/ports.py`; the code above them is the
real one. A request that has left is on its way whatever becomes of its worker: it may reach the
broker after the worker has given up, been stopped, or died.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from streams.ports import Committed, FencedError, Fetched, Place, Sendable, UnansweredError
from tests.simulation.broker import FakeBroker, StateError

T = TypeVar("T")

_FETCH_WAIT_S = 0.1
_PATIENCE_S = 1.0


class Weather:
    """How bad the network is, drawn per seed; `calm` ends all faults."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.lost = dice.choice([0.0, 0.002, 0.02])  # of requests and of answers, each
        self.broken = dice.choice([0.0, 0.01])  # of requests refused at once
        self.slow = dice.choice([0.0, 0.01])  # of requests that take seconds
        self.far_s = dice.choice([0.02, 0.02, 0.02, 0.3])  # one way, at most
        self.away = False  # nobody reaches the broker

    def calm(self) -> None:
        """Lose and delay nothing any more."""
        self.lost = self.broken = self.slow = 0.0
        self.far_s = 0.02
        self.away = False

    def delay_s(self) -> float:
        """Return how long one way takes."""
        if self.dice.random() < self.slow:
            return self.dice.uniform(0.5, 8.0)
        return self.dice.uniform(0.0005, self.far_s)


class Line:
    """One worker's line to the broker: stopped with it, silent once it is dead."""

    def __init__(self, broker: FakeBroker, weather: Weather) -> None:
        self.broker = broker
        self.weather = weather
        self.dead = False
        self.running = asyncio.Event()
        self.running.set()

    async def ask(self, request: Callable[[], T]) -> T:
        """Send a request, and return the broker's answer if there is one."""
        await self.running.wait()
        weather, loop = self.weather, asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        if self.dead:
            return await answer
        if weather.away or weather.dice.random() < weather.broken:
            raise UnansweredError("broken line")
        if weather.dice.random() >= weather.lost:
            loop.call_later(weather.delay_s(), self._arrive, request, answer)
        result = await answer
        await self.running.wait()
        return result

    def _arrive(self, request: Callable[[], T], answer: "asyncio.Future[T]") -> None:
        try:
            result = request()
        except Exception as error:  # noqa: BLE001 whatever the broker says goes back
            said = error
            self._return(answer, lambda: answer.set_exception(said))
        else:
            self._return(answer, lambda: answer.set_result(result))

    def _return(self, answer: "asyncio.Future[Any]", give: Callable[[], None]) -> None:
        weather = self.weather
        if self.dead or weather.dice.random() < weather.lost:
            return
        loop = asyncio.get_running_loop()
        loop.call_later(weather.delay_s(), lambda: None if answer.done() else give())


class FakeLog:
    """Reads one partition of the fake broker."""

    def __init__(self, line: Line, place: Place) -> None:
        self.place = place
        self._line = line

    async def close(self) -> None:
        """Do nothing."""

    async def fetch(self, offset: int) -> Fetched:
        """Return what stands from `offset` on, after a while where nothing does."""
        found = await self._patiently(lambda: self._line.broker.fetch(self.place, offset))
        if not found.data:
            await asyncio.sleep(_FETCH_WAIT_S)
        return found

    async def bounds(self) -> tuple[int, int]:
        """Return the first offset and the one behind the last readable record."""
        broker = self._line.broker
        return await self._patiently(
            lambda: (broker.begin_of(self.place), broker.stable_end(self.place))
        )

    async def committed(self, group: str) -> Committed:
        """Return the group's offset; -1 where none."""
        broker = self._line.broker
        return await self._patiently(lambda: Committed(broker.committed.get(self.place, -1)))

    async def _patiently(self, request: Callable[[], T]) -> T:
        while True:
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    return await self._line.ask(request)
            except (UnansweredError, TimeoutError):
                await asyncio.sleep(0.1)


class FakeTransactions:
    """A writer under one transactional id; one request of a partition at a time, in order.

    A request bears the epoch with which it left, however late it arrives.
    """

    def __init__(self, line: Line, transactional_id: str) -> None:
        self._line = line
        self._id = transactional_id
        self._producer_id = self._epoch = -1
        self._sent: dict[Place, int] = {}

    async def start(self) -> None:
        """Fence whoever had the id before."""
        found = await self._line.ask(partial(self._line.broker.start, self._id))
        self._producer_id, self._epoch = found
        self._sent.clear()

    async def begin(self) -> None:
        """Say nothing yet: the broker hears of it with the first partition."""

    async def send(self, place: Place, batches: Sequence[Sendable]) -> None:
        """Send one batch after the other."""
        broker = self._line.broker
        for batch in batches:
            sequence = self._sent.get(place, 0)
            batch._set_producer_state(self._producer_id, self._epoch, sequence)
            # The bytes leave now: memory that is used again behind them changes them no more.
            data = bytes(batch._build())
            await self._ask(partial(broker.begin, self._id, self._epoch))
            await self._ask(partial(broker.produce, self._id, self._epoch, place, data))
            self._sent[place] = sequence + batch.record_count()

    async def offset(self, place: Place, committed: Committed, group: str) -> None:
        """Let the offset move with the transaction."""
        broker = self._line.broker
        await self._ask(partial(broker.begin, self._id, self._epoch))
        offsets = {place: committed.offset}
        await self._ask(partial(broker.send_offsets, self._id, self._epoch, offsets))

    async def end(self) -> None:
        """Commit."""
        broker = self._line.broker
        await self._ask(partial(broker.end, self._id, self._epoch, commit=True))

    async def abandon(self) -> None:
        """Let go; what is on its way may still arrive."""

    async def _ask(self, request: Callable[[], T]) -> T:
        try:
            return await self._line.ask(request)
        except StateError as error:
            raise FencedError("no transaction is open") from error
