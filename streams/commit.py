"""Stage 11, commit: outputs and the input's offset onto Kafka.

Exactly once, on Apache Kafka 4 or later (`Transactions`), under one transactional id per input
partition:

1. Open: start a producer under the partition's id. The broker fences whoever had the id before and
   ends its open transaction; only then is the committed offset read.
2. Begin.
3. Send: outputs go to the partition that has the number of their input's.
4. Offset: the one after the batch's last record, named explicitly, in the group's name; beside it
   stands who decided (`streams/handover.py`).
5. Wait: every batch and the offset are acknowledged by all in-sync copies.
6. End: one request; the coordinator writes it down, and with that all of 3 and 4 stands, or none.

If the worker dies before 6 is written down, the next owner's step 1 ends the transaction, nothing
of it is ever read, and its records are decided again. If it dies after 6, all stands, answer or
not, and the next owner reads the offset behind it. What a worker cannot know, it asks by 1.

At least once (`Acknowledgements`), for the embedded broker, which knows no transactions: send,
wait, then commit the offset. If the worker dies between, the next one decides the same records
again and writes the same bytes under the same ids; nothing is left out.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any

from streams.broker.pack import Chunk
from streams.ports import (
    Committed,
    Log,
    Place,
    Sendable,
    TransactionalWriter,
    UnansweredError,
    Writer,
)
from streams.topology import EVENTS, STEP_OUTPUTS

ANSWER_S_MAX = 5.0


def transactional_id(group: str, partition: int) -> str:
    """Return the id of a partition: the same in every worker of the group, after every restart."""
    return f"{group}-{EVENTS.name}-{partition}"


class Committer(ABC):
    """Steps 1 to 6 for one partition.

    Each raises `FencedError` or `UnansweredError`, and `DipperError` where the broker refuses for
    good.
    """

    def __init__(self, log: Log, group: str) -> None:
        self._log = log
        self._group = group

    @abstractmethod
    async def open(self) -> Committed:
        """Step 1; return what is committed, which nobody else can move any more."""

    @abstractmethod
    async def send(self, chunk: Chunk) -> None:
        """Steps 2, 3 and 5 for a part of what one step wrote, since memory is bounded."""

    @abstractmethod
    async def finish(self, chunk: Chunk, offset: int) -> None:
        """Steps 2 to 6, as far as they are not done, with the rest of what the step wrote."""

    @abstractmethod
    async def close(self) -> None:
        """Let go; harmless when nothing is open. What is not finished will not stand."""

    async def _committed(self) -> Committed:
        offset, note = await self._log.committed(self._group)
        return Committed(max(offset, 0), note)


class Transactions(Committer):
    """Exactly once; `note` says beside every offset who decided."""

    def __init__(self, writer: TransactionalWriter, log: Log, group: str, note: str = "") -> None:
        super().__init__(log, group)
        self._writer = writer
        self._note = note
        self._begun = False

    async def open(self) -> Committed:
        """Step 1."""
        await self.close()
        await _answered(self._writer.start())
        return await self._committed()

    async def send(self, chunk: Chunk) -> None:
        """Steps 2, 3 and 5."""
        await _answered(self._send(chunk))

    async def finish(self, chunk: Chunk, offset: int) -> None:
        """Steps 2 to 6."""
        await _answered(self._finish(chunk, offset))

    async def note(self, offset: int) -> None:
        """Steps 2, 4 and 6 alone: say who decides, and move nothing."""
        await _answered(self._finish(Chunk([], last=True), offset))

    async def close(self) -> None:
        """Abandon the transaction, if one is open."""
        self._begun = False
        await self._writer.abandon()

    async def _finish(self, chunk: Chunk, offset: int) -> None:
        # 3, 4 and 5 side by side: the broker may take them in any order, 6 alone must be last.
        committed = Committed(offset, self._note)
        await self._send(chunk, (self._writer.offset(self._log.place, committed, self._group),))
        await self._writer.end()
        self._begun = False

    async def _send(self, chunk: Chunk, others: tuple[Coroutine[Any, Any, None], ...] = ()) -> None:
        if not self._begun:
            await self._writer.begin()
            self._begun = True
        await _send(self._writer, self._log.place.partition, chunk, others)


class Acknowledgements(Committer):
    """At least once."""

    def __init__(self, writer: Writer, log: Log, group: str) -> None:
        super().__init__(log, group)
        self._writer = writer

    async def open(self) -> Committed:
        """Nobody can be fenced: only look."""
        return await self._committed()

    async def send(self, chunk: Chunk) -> None:
        """Send and wait."""
        await _answered(_send(self._writer, self._log.place.partition, chunk))

    async def finish(self, chunk: Chunk, offset: int) -> None:
        """Send, wait, commit the offset."""
        await self.send(chunk)
        await _answered(self._writer.offset(self._log.place, Committed(offset), self._group))

    async def close(self) -> None:
        """Do nothing: the writer is the worker's."""


async def _send(
    writer: Writer,
    partition: int,
    chunk: Chunk,
    others: tuple[Coroutine[Any, Any, None], ...] = (),
) -> None:
    """Send the topics side by side, and each topic's batches in order; raise the first fault."""
    by_topic: dict[int, list[Sendable]] = {}
    for topic, batch in chunk.batches:
        by_topic.setdefault(topic, []).append(batch)
    sending = [
        writer.send(Place(STEP_OUTPUTS[topic].name, partition), batches)
        for topic, batches in by_topic.items()
    ]
    done = await asyncio.gather(*sending, *others, return_exceptions=True)
    for each in done:
        if isinstance(each, BaseException):
            raise each


async def _answered(work: Coroutine[Any, Any, None]) -> None:
    """Await an answer, not for ever."""
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            await work
    except TimeoutError as error:
        raise UnansweredError(f"no answer for {ANSWER_S_MAX:.0f} s") from error
