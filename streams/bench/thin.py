"""The thin job on dipper's own pipe: parse a small JSON record, one running sum a key, emit.

It is what stream frameworks are compared with: no credit in it, only records in and out. The step
is replaced by one kernel; everything around it (intake, batches, commit, groups) is that of
`dipper live`.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from streams import counters
from streams.buffers import Array, Batch, Out, clear_batch, make_batch, make_out
from streams.codec.hashing import sip_hash
from streams.compile import i64, kernel
from streams.limits import Limits
from streams.state.tables import State
from streams.topology import OUT_DECISION

KEY_BYTES_MAX = 24
_KEYS = 1 << 16
_QUOTE, _MINUS, _ZERO = ord('"'), ord("-"), ord("0")
_HEAD = np.frombuffer(b'{"k":"', np.uint8)
_MIDDLE = np.frombuffer(b'","sum":', np.uint8)
_KEY_AT = len(_HEAD)
_VALUE_AFTER_KEY = len(b'","v":')
_SIP_KEY = np.array([1, 2], np.uint64)


class Sums(NamedTuple):
    """Open addressing by hash of the key; a length of 0 is a free slot."""

    length: Array  # int64[keys]
    text: Array  # uint8[keys, KEY_BYTES_MAX]
    total: Array  # int64[keys]


@kernel
def _slot_of(sums: Sums, data: Array, start: int, length: int, key: Array) -> int:
    """Return the slot of a key, taking a free one where it is new."""
    mask = sums.length.shape[0] - 1
    slot = i64(sip_hash(key, data, start, length) & np.uint64(mask))
    for probe in range(sums.length.shape[0]):
        assert probe < mask, "more keys than the table holds"
        if sums.length[slot] == 0:
            sums.length[slot] = length
            for k in range(length):
                sums.text[slot, k] = data[start + k]
            break
        same = sums.length[slot] == length
        for k in range(length):
            same = same and sums.text[slot, k] == data[start + k]
        if same:
            break
        slot = (slot + 1) & mask
    return slot


@kernel
def _put_int(data: Array, at: int, value: int) -> int:
    """Write a number in decimal; return where it ends."""
    if value < 0:
        data[at] = _MINUS
        at, value = at + 1, -value
    digits, rest = 1, value // 10
    while rest > 0:
        digits, rest = digits + 1, rest // 10
    for k in range(digits - 1, -1, -1):
        data[at + k] = _ZERO + value % 10
        value //= 10
    return at + digits


@kernel
def add_rows(
    batch: Batch, out: Out, sums: Sums, head: Array, middle: Array, key: Array, first: int
) -> int:
    """Add rows from `first` on until the batch ends or `out` is full; return the next row."""
    data, text = batch.data, out.data
    row = first
    while row < batch.used[0] and out.used[0] < out.rows.shape[0]:
        end = i64(out.used[1])
        if end + 2 * KEY_BYTES_MAX + 64 > text.shape[0]:
            break
        start, stop = (
            batch.value_start[row] + _KEY_AT,
            batch.value_start[row] + batch.value_len[row],
        )
        length = 0
        while start + length < stop and data[start + length] != _QUOTE:
            length += 1
        at = start + length + _VALUE_AFTER_KEY
        if length == 0 or length > KEY_BYTES_MAX or at >= stop - 1:
            row += 1  # not of this job: a worker's first batch, to have all compiled, holds "{}"
            continue
        sign, value = 1, 0
        if data[at] == _MINUS:
            sign, at = -1, at + 1
        while at < stop - 1:
            value = value * 10 + i64(data[at]) - _ZERO
            at += 1
        slot = _slot_of(sums, data, start, length, key)
        sums.total[slot] += sign * value
        written = out.rows[out.used[0]]
        written["topic"], written["source"] = OUT_DECISION, row
        written["key_start"], written["key_len"] = end, length
        for k in range(length):
            text[end + k] = data[start + k]
        end += length
        written["value_start"] = end
        for k in range(head.shape[0]):
            text[end + k] = head[k]
        end += head.shape[0]
        for k in range(length):
            text[end + k] = data[start + k]
        end += length
        for k in range(middle.shape[0]):
            text[end + k] = middle[k]
        end = _put_int(text, end + middle.shape[0], sums.total[slot])
        text[end] = ord("}")
        end += 1
        written["value_len"] = end - written["value_start"]
        out.used[0] += 1
        out.used[1] = end
        row += 1
    return row


class ThinStep:
    """Stands where `streams.step.Step` stands."""

    def __init__(self, partition: int, limits: Limits) -> None:
        self.partition = partition
        self.batch = make_batch(limits)
        self.out = make_out(limits)
        self.counters: Array = np.zeros(
            counters.size(counters.Dimensions((), (), (), ())), np.int64
        )
        self._muted = False
        self._sums = Sums(
            np.zeros(_KEYS, np.int64),
            np.zeros((_KEYS, KEY_BYTES_MAX), np.uint8),
            np.zeros(_KEYS, np.int64),
        )

    @property
    def state(self) -> State | None:
        """No tables of applicants stand behind these sums."""
        return None

    def mute(self, *, on: bool) -> None:
        """Switch the output off, to fold a log into state, or on again."""
        self._muted = on

    def run(self) -> Iterator[Out]:
        """Add up the batch; yield the output as often as it must be handed over."""
        row, batch, out = 0, self.batch, self.out
        while row < batch.used[0]:
            row = add_rows(batch, out, self._sums, _HEAD, _MIDDLE, _SIP_KEY, row)
            if self._muted:
                out.used[:] = 0
            yield out
            out.used[:] = 0
        clear_batch(batch)
