"""One partition between any source and any sink: records in, the step, records out.

Both doors and recovery drive the step through this and nothing else, so they cannot differ in how a
batch is filled or in what a dead letter looks like.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from streams.buffers import Array, Batch, Out, bytes_room, fill_batch
from streams.limits import RECORD_BYTES_MAX
from streams.schema import Refusal
from streams.state.tables import State
from streams.topology import EVENTS, OUT_DEAD_LETTER

Headers = tuple[tuple[str, bytes], ...]

REMEDIES = {
    Refusal.WRONG_PARTITION: b"partition by murmur2 of the key: librdkafka needs "
    b"partitioner=murmur2_random",
}


class Input(NamedTuple):
    """One record of the input log of a partition; a key or value may be null."""

    offset: int
    key: bytes | None
    value: bytes | None


class Output(NamedTuple):
    """One record to write: which of `topology.STEP_OUTPUTS`, its key, value and headers."""

    topic: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class AnyStep(Protocol):
    """What of `streams.step.Step` is used here."""

    batch: Batch
    partition: int

    @property
    def counters(self) -> Array:
        """The array that `streams.counters.layout` describes."""

    @property
    def state(self) -> State | None:
        """The tables, for whoever watches; None where there are none."""

    def run(self) -> Iterator[Out]:
        """Decide the batch; yield the output as often as it must be handed over."""

    def mute(self, *, on: bool) -> None:
        """Switch the output off or on."""


class Partition:
    """One partition's step, with its position: the offset after the last record decided."""

    def __init__(self, step: AnyStep) -> None:
        self.step = step
        self.position = 0
        self._next = 0
        self._muted = False
        self._taken: list[Input] = []
        self._bytes = 0
        self._rows_max = int(step.batch.offset.shape[0])
        self._bytes_max = bytes_room(step.batch)
        self._oversize: Input | None = None

    def mute(self, *, on: bool) -> None:
        """Switch the output off, to fold a log into state, or on again."""
        self._muted = on
        self.step.mute(on=on)

    def move(self, offset: int) -> None:
        """Say that all before `offset` is decided: offsets may stand without a record."""
        assert self.position <= offset
        self.position = self._next = offset

    def decide(self, position: int) -> Iterator[Out]:
        """Decide what a door has put into `step.batch`; yield the step's own output to be read.

        Then all before the offset `position` is decided.
        """
        yield from self.step.run()
        self.move(position)

    def refuse(self, record: Input) -> Iterator[Output]:
        """Refuse a record that no batch can take: it changes no state."""
        if not self._muted:
            yield dead_letter(record, self.step.partition, Refusal.TOO_LONG, -1)

    def add(self, record: Input) -> bool:
        """Take one record into the batch; False where `run` must come first."""
        if self._oversize is not None or len(self._taken) == self._rows_max:
            return False
        size = self._bytes + len(record.key or b"") + len(record.value or b"")
        if size <= self._bytes_max:
            self._taken.append(record)
            self._bytes = size
        elif self._taken:
            return False
        else:
            self._oversize = record
        self._next = record.offset + 1
        return True

    def run(self) -> Iterator[Output]:
        """Decide the records taken; yield what is to be written. Then `position` is behind them.

        A record that is larger than a whole batch has no place in the step's memory: it changes no
        state, and is refused here as the step refuses what is too long.
        """
        fill_batch(self.step.batch, self._taken)
        self._taken, self._bytes = [], 0
        for out in self.step.run():
            yield from _read(out, self.step.batch, self.step.partition)
        if self._oversize is not None:
            record, self._oversize = self._oversize, None
            yield from self.refuse(record)
        self.position = self._next


def dead_letter(record: Input, partition: int, refusal: int, position: int) -> Output:
    """Return the dead letter of a record: its own bytes, and why and where from in the headers.

    Headers: reason (name of `schema.Refusal` in lower case), position (byte in the value, -1 where
    none is to blame), topic, partition, offset, and remedy where there is one setting to change. A
    value beyond `RECORD_BYTES_MAX` is not carried: header value_bytes says how long it was.
    """
    headers: list[tuple[str, bytes]] = [
        ("reason", Refusal(refusal).name.lower().encode()),
        ("position", b"%d" % position),
        ("topic", EVENTS.name.encode()),
        ("partition", b"%d" % partition),
        ("offset", b"%d" % record.offset),
    ]
    if remedy := REMEDIES.get(Refusal(refusal)):
        headers.append(("remedy", remedy))
    key, value = record.key, record.value
    if len(key or b"") + len(value or b"") > RECORD_BYTES_MAX:
        headers.append(("value_bytes", b"%d" % len(value or b"")))
        key, value = None, None
    return Output(OUT_DEAD_LETTER, key, value, tuple(headers))


def _read(out: Out, batch: Batch, partition: int) -> Iterator[Output]:
    count = int(out.used[0])
    rows = out.rows[:count]
    columns = (rows[name].tolist() for name in rows.dtype.names or ())
    data = out.data.data
    for topic, source, key_at, key_len, at, length, refusal, position in zip(*columns, strict=True):
        if topic == OUT_DEAD_LETTER:
            yield dead_letter(_input(batch, source), partition, refusal, position)
        else:
            key = None if key_len < 0 else bytes(data[key_at : key_at + key_len])
            yield Output(topic, key, bytes(data[at : at + length]))


def _input(batch: Batch, row: int) -> Input:
    return Input(
        int(batch.offset[row]),
        _span(batch, int(batch.key_start[row]), int(batch.key_len[row])),
        _span(batch, int(batch.value_start[row]), int(batch.value_len[row])),
    )


def _span(batch: Batch, start: int, length: int) -> bytes | None:
    return None if length < 0 else batch.data[start : start + length].tobytes()
