"""Faults put in on purpose: each breaks one rule that exactly once rests on.

A simulator that does not notice one of them would not notice such a fault of our own either. Each
row names the rule; `streams/commit.py`, `streams/serving.py` and `streams/recover.py` hold them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from streams.broker.reader import Reader
from streams.commit import Transactions
from streams.partition import Partition
from streams.ports import Place
from streams.serving import Serving
from tests.simulation.broker import FakeBroker
from tests.simulation.network import FakeTransactions


class Canary(NamedTuple):
    """A rule, and how to break it: arguments of `unittest.mock.patch.object`."""

    rule: str
    place: Any
    name: str
    broken: Callable[..., Any]

    @contextmanager
    def flying(self) -> Iterator[None]:
        """Break the rule for a while."""
        with patch.object(self.place, self.name, self.broken):
            yield


def _start_without_fence(self: FakeBroker, transactional_id: str) -> tuple[int, int]:
    found = self._producers.get(transactional_id)
    return (found.id, found.epoch) if found is not None else _REAL_START(self, transactional_id)


async def _offset_at_once(self: FakeTransactions, place: Place, offset: int, group: str) -> None:
    await self._ask(lambda: self._line.broker.commit_offsets({place: offset}))


async def _look_first(self: Transactions) -> int:
    """Read the offset before whoever had the partition is fenced."""
    committed = await self._committed()
    await _REAL_OPEN(self)
    return committed


def _skip_one(self: Reader, offset: int) -> None:
    _REAL_SEEK(self, offset + (1 if offset else 0))


def _never_muted(self: Partition, *, on: bool) -> None:
    """Let recovery write what stands already."""


async def _keep_whatever(self: Serving, going: Callable[[], bool]) -> bool:
    kept = self._partition
    if kept is not None:
        committed = await self._committer.open()
        self._committed = committed
        self._torn = False
        kept.position = committed
        self._reader.seek(committed)
        await self._intake.start(committed)
        self.ready = True
        return True
    return await _REAL_READY(self, going)


_REAL_START = FakeBroker.start
_REAL_OPEN = Transactions.open
_REAL_SEEK = Reader.seek
_REAL_READY = Serving._make_ready

CANARIES = (
    Canary("a start fences whoever had the id", FakeBroker, "start", _start_without_fence),
    Canary(
        "the offset moves with the transaction",
        FakeTransactions,
        "offset",
        _offset_at_once,
    ),
    Canary("fence before the offset is read", Transactions, "open", _look_first),
    Canary("reading goes on at the committed offset", Reader, "seek", _skip_one),
    Canary("recovery writes nothing", Partition, "mute", _never_muted),
    Canary("state that is ahead of the log is given up", Serving, "_make_ready", _keep_whatever),
)
