"""A log far longer than memory, a slow broker, a broker away: memory stays, and it goes on."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from monitoring.meter import WorkerMeter
from streams.broker.fetch import FETCH_BYTES_MAX
from streams.broker.health import Health
from streams.broker.intake import WAITING_BYTES_MAX
from streams.broker.pack import Chunk
from streams.commit import ANSWER_S_MAX, Committer
from streams.partition import Partition
from streams.ports import Committed, Fetched, Place, UnansweredError
from streams.serving import Serving, Worker
from streams.topology import EVENTS
from tests.simulation.loop import run_virtual
from tests.streams.running_step import RunningStep

_BATCH_ROWS = 256
_ANSWER_BATCHES = 8  # 2 MiB, what one fetch gives at most
_ROWS = _BATCH_ROWS * _ANSWER_BATCHES * 24
# Twice: what waits to be read, and one answer more; then the one that is being read, and one that
# came for an assignment that is over.
_HELD_BYTES_MAX = 2 * (WAITING_BYTES_MAX + FETCH_BYTES_MAX) + 2 * FETCH_BYTES_MAX
_FETCH_S, _STEP_S = 0.001, 0.002


class _Answer(bytes):
    """Bytes that are counted while anybody holds them."""

    held = most = 0

    def __new__(cls, data: bytes) -> Self:
        made = super().__new__(cls, data)
        cls.held += len(made)
        cls.most = max(cls.most, cls.held)
        return made

    def __del__(self) -> None:
        type(self).held -= len(self)


class _Broker(NamedTuple):
    """How a broker behaves: seconds that a commit takes, and from when to when it is away."""

    commit_s: float = 0.001
    away_from_s: float = 0.0
    away_to_s: float = 0.0

    async def answers(self) -> None:
        """Return when it is there."""
        now = asyncio.get_running_loop().time()
        if self.away_from_s <= now < self.away_to_s:
            await asyncio.sleep(self.away_to_s - now)


class _Log:
    """One partition of a log that is there in full, as fast as it is asked for."""

    place = Place(EVENTS.name, 0)

    def __init__(self, broker: _Broker) -> None:
        self._broker = broker
        self.offset = 0
        builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 1 << 24)
        for row in range(_BATCH_ROWS):
            assert builder.append(row, 0, b"k", b"%1000d" % row, [])
        # The checksum leaves the base offset out: a broker writes it, and so do we.
        self._rest = bytes(builder.build())[8:]

    async def fetch(self, offset: int) -> Fetched:
        """Return up to 2 MiB of batches."""
        await self._broker.answers()
        await asyncio.sleep(_FETCH_S)
        first = offset - offset % _BATCH_ROWS
        stop = min(first + _BATCH_ROWS * _ANSWER_BATCHES, _ROWS)
        data = b"".join(
            at.to_bytes(8, "big") + self._rest for at in range(first, stop, _BATCH_ROWS)
        )
        if not data:
            await asyncio.sleep(0.1)
        return Fetched(offset, _Answer(data), (), _ROWS)

    async def bounds(self) -> tuple[int, int]:
        """Return the whole of it."""
        return 0, _ROWS

    async def committed(self, group: str) -> Committed:
        """Return what stands."""
        await self._broker.answers()
        return Committed(self.offset)

    async def close(self) -> None:
        """Hold no connection."""


class _Committer(Committer):
    """Commits as fast as the broker does; counts what stands."""

    def __init__(self, log: _Log, broker: _Broker) -> None:
        super().__init__(log, "dipper")
        self._at, self._broker = log, broker
        self._open = self.decisions = 0

    async def open(self) -> Committed:
        self._open = 0
        return await self._committed()

    async def send(self, chunk: Chunk) -> None:
        self._open += sum(batch.record_count() for _, batch in chunk.batches)

    async def finish(self, chunk: Chunk, offset: int) -> None:
        await self.send(chunk)
        now = asyncio.get_running_loop().time()
        if self._broker.away_from_s <= now < self._broker.away_to_s:
            await asyncio.sleep(ANSWER_S_MAX)
            raise UnansweredError("nobody there")
        await asyncio.sleep(self._broker.commit_s)
        assert offset > self._at.offset
        self.decisions, self._open, self._at.offset = self.decisions + self._open, 0, offset

    async def close(self) -> None:
        self._open = 0


async def _aside(work: Callable[[], Any]) -> Any:
    await asyncio.sleep(_STEP_S)
    return work()


async def _catch_up(broker: _Broker) -> tuple[_Committer, list[str]]:
    """Serve the log to its end; return what stands, and the reasons shown on the way."""
    log, health = _Log(broker), Health("broker")
    committer, meter = _Committer(log, broker), WorkerMeter()
    failures: list[Exception] = []
    serving = Serving(
        log, committer, lambda _: Partition(RunningStep(0, 1)),
        Worker(_aside, lambda: 0, health, meter, lambda: None, failures.append),
        transactional=True,
    )  # fmt: skip
    shown = []
    serving.take_up()
    while log.offset < _ROWS and not failures:
        await asyncio.sleep(0.05)
        if health.away_s > 1.0:
            shown.append("away")
        if (status := serving.status) is not None and status.end - status.committed > _ROWS // 2:
            shown.append("behind")
    serving.give_up()
    assert serving.busy is not None
    await serving.busy
    assert not failures
    return committer, shown


@pytest.mark.parametrize(
    ("broker", "reason"),
    [
        pytest.param(_Broker(), "behind", id="far-behind"),
        pytest.param(_Broker(commit_s=1.0), "behind", id="slow-broker"),
        pytest.param(_Broker(away_from_s=0.5, away_to_s=60.5), "away", id="away-for-a-minute"),
    ],
)
def test_memory_does_not_grow_with_the_backlog(broker: _Broker, reason: str) -> None:
    """However long the log, and however slow or absent the broker, fetched bytes stay within their
    bound, the reason is shown, and each record is decided once when the cause is gone.
    """
    _Answer.held = _Answer.most = 0
    committer, shown = run_virtual(_catch_up(broker))
    assert reason in shown
    assert committer.decisions == _ROWS
    assert FETCH_BYTES_MAX <= _Answer.most <= _HELD_BYTES_MAX
    assert _ROWS * 1_000 > 2 * _HELD_BYTES_MAX, "the log is too short to show anything"
