"""What the whole live loop takes from the allocator for one event; see `allocations.py`.

    python -m streams.bench.allocating_live FOLDER LIMITS    prints one JSON object

From the answer of a broker to the committed offset: intake, batches, step, packing, transaction and
metrics are the worker's own; only the broker is a stand-in that hands over one answer, takes what
is written as a sender would, and hands over the next once that is committed. Objects a batch are
allowed, an event none: so the figure is the slope between rounds of the same number of batches, of
few events each and of many. What many requests write must still fit one record batch of a megabyte.
"""

import asyncio
import gc
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from monitoring.meter import WorkerMeter
from streams.bench.allocations import taken
from streams.bench.step import KINDS, Prepared
from streams.bench.traffic import Record, Traffic
from streams.broker.health import Health
from streams.buffers import Array, Batch, Out
from streams.commit import Transactions
from streams.config import load_deployment
from streams.partition import AnyStep, Partition
from streams.ports import Committed, Fetched, Place, Sendable
from streams.serving import Serving, Worker
from streams.state.tables import State
from streams.topology import EVENTS

_APPLICANTS = 500
_HISTORY = 20
_ROWS = {"requests": (100, 900), "mixed": (256, 4_096)}  # of a batch: few, many
_BATCHES = 8  # a round
_ROUNDS = 8  # of each size; when a thread wakes is chance, and takes some blocks more or less
_DEADLINE_S = 120.0


class _Broker:
    """Log and transactions of one partition: an answer is there once all before it is committed."""

    place = Place(EVENTS.name, 0)

    def __init__(self, begin: int, answers: Sequence[tuple[int, bytes]]) -> None:
        self._begin, self._done = begin, begin
        self._end = begin
        self._answers: dict[int, Fetched] = {}
        for rows, data in answers:
            self._answers[self._end] = Fetched(self._end, data, (), self._end + rows)
            self._end += rows
        self._moved = asyncio.Event()
        self._limit = begin
        self._pending = begin
        self.sent_bytes = 0

    async def run_to(self, offset: int) -> None:
        """Let answers out up to `offset`; return when all before it is committed."""
        self._limit = offset
        self._moved.set()
        while self._done < offset:
            self._moved.clear()
            await self._moved.wait()

    async def fetch(self, offset: int) -> Fetched:
        while offset > self._done or offset >= self._limit:
            self._moved.clear()
            await self._moved.wait()
        return self._answers[offset]

    async def bounds(self) -> tuple[int, int]:
        return self._begin, self._end

    async def committed(self, group: str) -> Committed:  # noqa: ARG002 there is one
        return Committed(self._done)

    async def close(self) -> None:
        """Hold no connection."""

    async def start(self) -> None:
        """Know no other worker."""

    async def begin(self) -> None:
        """Begin."""

    async def send(self, place: Place, batches: Sequence[Sendable]) -> None:  # noqa: ARG002
        for batch in batches:
            batch._set_producer_state(1, 0, 0)  # noqa: SLF001 as a sender does
            self.sent_bytes += len(batch._build())  # noqa: SLF001

    async def offset(self, place: Place, committed: Committed, group: str) -> None:  # noqa: ARG002
        self._pending = committed.offset

    async def end(self) -> None:
        self._done = self._pending
        self._moved.set()

    async def abandon(self) -> None:
        """Let go."""


class _Wasteful:
    """A step that makes an object an event, which must be seen."""

    def __init__(self, step: AnyStep) -> None:
        self._step = step
        self.batch: Batch = step.batch
        self.partition = step.partition

    @property
    def counters(self) -> Array:
        return self._step.counters

    @property
    def state(self) -> State | None:
        return self._step.state

    def mute(self, *, on: bool) -> None:
        self._step.mute(on=on)

    def run(self) -> Iterator[Out]:
        for row in range(int(self.batch.used[0])):
            bytes(row % 7 + 100)
        yield from self._step.run()


def answer(first: int, records: Sequence[Record]) -> bytes:
    """Return records as one record batch from offset `first` on, as a broker sends it."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 1 << 26)
    for place, (key, value) in enumerate(records):
        assert builder.append(place, 0, key, value, []) is not None
    data = bytearray(builder.build())
    data[:8] = first.to_bytes(8, "big")
    return bytes(data)


async def slope(prepared: Prepared, step: AnyStep, kind: str) -> float:
    """Return calls of the allocator per event, in the least of some rounds."""
    few, many = _ROWS[kind]
    sizes = [few, many] * _ROUNDS
    count = _BATCHES * sum(sizes)
    records = list(prepared.traffic.mixed(count, prepared.lines, KINDS[kind], 0.0))
    answers, at = [], 0
    for rows in sizes:
        for _ in range(_BATCHES):
            answers.append((rows, answer(prepared.offset + at, records[at : at + rows])))
            at += rows
    broker = _Broker(prepared.offset, answers)
    partition = Partition(step)
    partition.move(prepared.offset)
    prepared.offset += count
    with ThreadPoolExecutor(1) as pool:

        async def aside(work: Callable[[], Any]) -> Any:
            return await asyncio.get_running_loop().run_in_executor(pool, work)

        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        worker = Worker(
            aside, lambda: 0, Health("none"), WorkerMeter(), lambda: None, failed.set_exception
        )
        serving = Serving(
            broker, Transactions(broker, broker, "g"), lambda _: partition, worker,
            transactional=True,
        )  # fmt: skip
        serving.take_up()
        found: dict[int, list[int]] = {few: [], many: []}
        end = partition.position
        # A collection of garbage would take blocks at a moment of its own.
        gc.collect()
        gc.disable()
        for rows in sizes:
            end += rows * _BATCHES
            before = taken()
            await asyncio.wait_for(broker.run_to(end), _DEADLINE_S)
            found[rows].append(taken() - before)
        gc.enable()
        serving.give_up()
        assert serving.busy is not None
        await serving.busy
    assert broker.sent_bytes > count
    least = {rows: min(counts[1:]) for rows, counts in found.items()}
    return (least[many] - least[few]) / (_BATCHES * (many - few))


async def _main() -> None:
    deployment = load_deployment(Path(sys.argv[1]), json.loads(sys.argv[2]))
    found = {}
    for kind in KINDS:
        prepared = Prepared(deployment, Traffic(_APPLICANTS), _HISTORY)
        found[kind] = await slope(prepared, prepared.step, kind)
        wasteful = _Wasteful(prepared.step)
        found[f"{kind} with an object an event"] = await slope(prepared, wasteful, kind)
    print(json.dumps(found))  # noqa: T201 read by the process that counts


if __name__ == "__main__":
    asyncio.run(_main())
