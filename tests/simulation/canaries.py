"""Faults put in on purpose: each breaks one rule that exactly once or recovery rests on.

A simulator that does not notice one of them would not notice such a fault of our own either. Each
row names the rule; `streams/commit.py`, `serving.py`, `recover.py`, `keep.py` and
`streams/snapshot/` hold them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from streams.broker.reader import Reader
from streams.commit import Transactions
from streams.keep import Follower
from streams.partition import Partition
from streams.ports import Committed, Log, Place, Sendable
from streams.serving import Serving
from streams.snapshot.image import Chunk, Image, write_image
from streams.snapshot.shelf import Maker, Shelf, facts_of
from streams.state.tables import State
from tests.simulation import cluster
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


async def _offset_at_once(
    self: FakeTransactions, place: Place, committed: Committed, group: str
) -> None:
    await self._ask(lambda: self._line.broker.commit_offsets({place: committed.offset}))


async def _look_first(self: Transactions) -> Committed:
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
        committed, _ = await self._committer.open()
        self._committed = committed
        self._torn = False
        kept.position = committed
        self._reader.seek(committed)
        await self._intake.start(committed)
        self.ready = True
        return True
    return await _REAL_READY(self, going)


async def _send_to_first(self: FakeTransactions, place: Place, batches: Sequence[Sendable]) -> None:
    await _REAL_SEND(self, Place(place.topic, 0), batches)


class _Eager:
    """A log that calls committed whatever can be read."""

    def __init__(self, log: Log) -> None:
        self.place = log.place
        self.fetch, self.bounds, self.close = log.fetch, log.bounds, log.close

    async def committed(self, group: str) -> Committed:
        """Return the log's end."""
        return Committed((await self.bounds())[1])


def _follow_all(self: Follower, log: Log, *rest: Any) -> None:
    _REAL_FOLLOWER(self, _Eager(log), *rest)


def _read_unchecked(self: Image, chunk: Chunk, data: memoryview) -> None:
    """Believe whatever it says of time and numbers; a chain of rows that is wrong could hang us."""
    if chunk.array == "partition":
        self.read(chunk.at, data)
    else:
        _REAL_READ(self, chunk, data)


def _load_and_skip_one(self: Shelf, *what: Any) -> tuple[State, int]:
    state, offset = _REAL_LOAD(self, *what)
    return state, offset + (1 if offset else 0)


def _publish_or_die(self: Shelf, state: State, maker: Maker, offset: int) -> bool:
    self._store.write(self._name(offset), write_image(state, facts_of(maker, offset)))
    return True


_REAL_SEND = FakeTransactions.send
_REAL_FOLLOWER = Follower.__init__
_REAL_LOAD = Shelf.load
_REAL_READ = Image._read_checked
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
    Canary("outputs go to their input's partition", FakeTransactions, "send", _send_to_first),
    Canary("a snapshot is of what is committed", Follower, "__init__", _follow_all),
    Canary("no corrupt snapshot is believed", Image, "_read_checked", _read_unchecked),
    Canary("the fold begins at its snapshot", Shelf, "load", _load_and_skip_one),
    Canary("a full disk stops no follower", Shelf, "publish", _publish_or_die),
    Canary("the log is kept to a snapshot", cluster, "safe_to_delete", lambda end, _: end),
)
