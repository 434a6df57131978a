"""What the serving of a partition needs of the outside, as protocols: a log, and a writer to it.

`streams/serving.py`, `commit.py`, `recover.py` and `broker/intake.py` know these and asyncio, and
nothing of Kafka's client, of threads or of a clock but the loop's own. `streams/broker/fetch.py`
and `writer.py` are the real ones; a fake log and a loop with a time of its own can take their
place, so that one seed repeats everything.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol


class Place(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class Fetched(NamedTuple):
    """One answer: whole record batches and perhaps a part of one more, as bytes.

    `aborted` are producer id and first offset of transactions whose records must not be read;
    `log_end` is the offset after the last record that may be read now.
    """

    offset: int
    data: bytes
    aborted: tuple[tuple[int, int], ...]
    log_end: int


class Committed(NamedTuple):
    """What a group has committed in a partition: the offset, -1 where none, and the note that its
    transaction put beside it (`streams/handover.py`).
    """

    offset: int
    note: str = ""


class FencedError(Exception):
    """The partition is another's: give it up, ask the group, never open again by oneself."""


class UnansweredError(Exception):
    """Whether it stands is not known: open again, if still assigned, and look."""


class Log(Protocol):
    """One partition as it can be read. Patient: without an answer it asks again until there is one.

    `DipperError` where the answer is no for good.
    """

    @property
    def place(self) -> Place:
        """Which partition."""

    async def fetch(self, offset: int) -> Fetched:
        """Return what stands from `offset` on, after a moment even if that is nothing."""

    async def bounds(self) -> tuple[int, int]:
        """Return the first offset of the log and the one after its last readable record."""

    async def committed(self, group: str) -> Committed:
        """Return what the group has committed, offset and note as one transaction wrote them."""

    async def close(self) -> None:
        """Disconnect."""


class Sendable(Protocol):
    """A finished record batch, with the names by which aiokafka's sender asks."""

    def closed(self) -> bool:
        """Say that nothing may be added."""

    def close(self) -> None:
        """Let nothing be added any more."""

    def _set_producer_state(self, producer_id: int, epoch: int, sequence: int) -> None:
        """Say who sends it, and the number of its first record."""

    def _build(self) -> bytes | memoryview:
        """Return its bytes as Kafka stores them."""

    def record_count(self) -> int:
        """Return how many records it holds."""

    def size(self) -> int:
        """Return its length in bytes."""


class Writer(Protocol):
    """Sends record batches to partitions; raises `FencedError`, `UnansweredError`, or `DipperError`
    where the answer is no for good.
    """

    async def send(self, place: Place, batches: Sequence[Sendable]) -> None:
        """Send the batches in order; return when all stand on all in-sync copies."""

    async def offset(self, place: Place, committed: Committed, group: str) -> None:
        """Say how far the group has come; with transactions it stands when they end, note and all.

        Without transactions there is no note.
        """


class TransactionalWriter(Writer, Protocol):
    """A writer under one transactional id: what it sends stands whole or not at all."""

    async def start(self) -> None:
        """Fence whoever had the id, end what it left open, be ready to begin."""

    async def begin(self) -> None:
        """Begin a transaction."""

    async def end(self) -> None:
        """Commit it: return when that is written down."""

    async def abandon(self) -> None:
        """Let go without a word: what is not ended will not stand. Harmless at any time."""


# Runs a function beside the event loop, so that the group's heartbeats go on.
Aside = Callable[[Callable[[], Any]], Awaitable[Any]]
