"""One partition between any source and any sink: records in, the step, records out.

Both doors and recovery drive the step through this and nothing else, so they cannot differ in how a
batch is filled or in what a dead letter looks like.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from streams.blocks import TAKE_OVERSIZE, Block, take_rows
from streams.buffers import Array, Batch, Out
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
        self.refused: Input | None = None
        self._muted = False
        self._rows_max = int(step.batch.offset.shape[0])

    def mute(self, *, on: bool) -> None:
        """Switch the output off, to fold a log into state, or on again."""
        self._muted = on
        self.step.mute(on=on)

    def move(self, offset: int) -> None:
        """Say that all before `offset` is decided: offsets may stand without a record."""
        assert self.position <= offset
        self.position = offset

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

    def fill(self, block: Block, row: int, rows_max: int = 0) -> int:
        """Append this partition's records of a block, from `row` on, to the batch, which then holds
        `rows_max` at most (0: as many as it has room for).

        Return the row to go on with: the end of the block, or what comes once `flush` has decided
        the batch. A record that no batch can take is passed over; it stands in `refused`, with an
        empty batch, until `flush` refuses it.
        """
        batch = self.step.batch
        limit = min(rows_max or self._rows_max, self._rows_max)
        row, code = take_rows(block, self.step.partition, row, limit, batch)
        if code == TAKE_OVERSIZE:
            self.refused = input_of(block, row)
            row += 1
        return row

    def flush(self) -> Iterator[Out]:
        """Decide what `fill` has taken; yield the step's own output to be read.

        What is in `refused` is the caller's to `refuse`; it counts as decided.
        """
        batch, rows = self.step.batch, int(self.step.batch.used[0])
        if self.refused is not None:
            self.move(self.refused.offset + 1)
            self.refused = None
        elif rows:
            yield from self.decide(int(batch.offset[rows - 1]) + 1)

    def decide_block(self, block: Block) -> Iterator[Output]:
        """Decide this partition's records of a block; yield what is to be written, one by one."""
        row, rows = 0, len(block.offset)
        while row < rows:
            row = self.fill(block, row)
            if self.refused is not None:
                yield from self.refuse(self.refused)
            for out in self.flush():
                yield from read_outputs(out, self.step.batch, self.step.partition)


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


def read_outputs(out: Out, batch: Batch, partition: int) -> Iterator[Output]:
    """Yield the records of an `Out`, which a step made from `batch`."""
    count = int(out.used[0])
    rows = out.rows[:count]
    columns = (rows[name].tolist() for name in rows.dtype.names or ())
    data = out.data.data
    for topic, source, key_at, key_len, at, length, refusal, position in zip(*columns, strict=True):
        if topic == OUT_DEAD_LETTER:
            yield dead_letter(input_of(batch, source), partition, refusal, position)
        else:
            key = None if key_len < 0 else bytes(data[key_at : key_at + key_len])
            yield Output(topic, key, bytes(data[at : at + length]))


def read_dead_letters(out: Out, batch: Batch, partition: int) -> Iterator[Output]:
    """Yield the dead letters among the records of an `Out`."""
    rows = out.rows[: int(out.used[0])]
    for row in rows[rows["topic"] == OUT_DEAD_LETTER]:
        record = input_of(batch, int(row["source"]))
        yield dead_letter(record, partition, int(row["refusal"]), int(row["position"]))


def input_of(records: Batch | Block, row: int) -> Input:
    """Return one record."""
    return Input(
        int(records.offset[row]),
        _span(records, int(records.key_start[row]), int(records.key_len[row])),
        _span(records, int(records.value_start[row]), int(records.value_len[row])),
    )


def _span(records: Batch | Block, start: int, length: int) -> bytes | None:
    return None if length < 0 else records.data[start : start + length].tobytes()
