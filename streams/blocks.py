"""Records on their way into partitions, many in one piece of memory: what a replay reads.

A source gives blocks; each partition takes its own records from them into the batches of its step.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from streams.buffers import Array, Batch
from streams.compile import kernel
from streams.schema import EVENT, Lane, Refusal

# Behind the last record, so that a word is read whole wherever it begins.
PAD_BYTES = 8

# What `take_rows` ends with.
TAKE_DONE, TAKE_FULL, TAKE_OVERSIZE = range(3)

_SLOW, _NONE = int(Lane.SLOW), int(Refusal.NONE)
_NO_EVENTS = np.zeros(0, EVENT)
_NO_ROWS = np.zeros(0, np.int32)


class Block(NamedTuple):
    """Records in log order, of any partitions.

    Bytes of row `i` are `data[start[i] : start[i] + len[i]]`; a len of -1 is null. A source that
    has read a record for its key may hand on the event, so that nobody reads it twice.
    """

    data: Array  # uint8[bytes]
    partition: Array  # int32[rows]
    offset: Array  # int64[rows]
    key_start: Array  # int64[rows]
    key_len: Array
    value_start: Array
    value_len: Array
    events: Array = _NO_EVENTS  # EVENT[any]; one of lane SLOW is not read yet
    event_row: Array = _NO_ROWS  # int32[rows or 0]: its place in `events`, -1 none


def make_block(
    partition: int | Array,
    offsets: Sequence[int] | Array,
    keys: Sequence[bytes | None],
    values: Sequence[bytes | None],
) -> Block:
    """Return a block of these records; `partition` is that of all, or of each."""
    rows = len(values)
    data = b"".join(part for pair in zip(keys, values, strict=True) for part in pair if part)
    # Key, value, key, value ...: each starts where the one before it ends.
    lengths = np.full((rows, 2), -1, np.int64)
    lengths[:, 0] = [-1 if key is None else len(key) for key in keys]
    lengths[:, 1] = [-1 if value is None else len(value) for value in values]
    sizes = np.maximum(lengths, 0).ravel()
    starts = (np.cumsum(sizes) - sizes).reshape(rows, 2)
    return Block(
        np.frombuffer(bytearray(data + bytes(PAD_BYTES)), np.uint8),
        np.broadcast_to(np.asarray(partition, np.int32), rows).copy(),
        np.array(offsets, np.int64),
        *(np.ascontiguousarray(a[:, n]) for n in (0, 1) for a in (starts, lengths)),
    )


@kernel
def copy_bytes(source: Array, start: int, length: int, target: Array, at: int) -> None:
    """Copy `length` bytes (none where negative) of one array into another.

    Unsigned indices need no test for a negative one, and so whole vectors are moved.
    """
    source_at, target_at = np.uint64(start), np.uint64(at)
    for n in range(length):
        target[target_at + np.uint64(n)] = source[source_at + np.uint64(n)]


@kernel
def number_rows(partition: Array, next_offset: Array, offset: Array) -> None:
    """Number records in each partition's own order.

    Reads partition (int32[rows]); moves next_offset (int64[partitions]); writes offset
    (int64[rows]).
    """
    for row in range(partition.shape[0]):
        number = partition[row]
        offset[row] = next_offset[number]
        next_offset[number] += 1


@kernel
def _take_event(block: Block, row: int, batch: Batch, at: int) -> None:
    """Copy the event of a block's row, where it has one, to row `at` of the batch, where its bytes
    stand already. Behind a row without one it is left out.
    """
    if row >= block.event_row.shape[0] or batch.used[2] != at or block.event_row[row] < 0:
        return
    batch.events[at] = block.events[block.event_row[row]]
    batch.used[2] = at + 1
    event = batch.events[at]
    if event["lane"] != _SLOW and event["refusal"] == _NONE:
        moved = batch.value_start[at] - block.value_start[row]
        event["applicant_start"] += moved
        event["id_start"] += moved


@kernel
def take_rows(block: Block, number: int, row: int, rows_max: int, batch: Batch) -> tuple[int, int]:
    """Append the records of partition `number` from `row` of the block on to a `Batch`, which then
    holds `rows_max` rows at most.

    Returns the row to go on with, and TAKE_DONE (it is the block's end), TAKE_FULL (the record in
    it has no room beside others) or TAKE_OVERSIZE (it has none in an empty `Batch`).
    """
    room = batch.data.shape[0] // 2
    while row < block.partition.shape[0]:
        if block.partition[row] != number:
            row += 1
            continue
        at, used = batch.used[0], batch.used[1]
        key_len, value_len = block.key_len[row], block.value_len[row]
        if at == rows_max or used + max(key_len, 0) + max(value_len, 0) > room:
            return row, TAKE_FULL if at > 0 else TAKE_OVERSIZE
        batch.offset[at] = block.offset[row]
        batch.key_start[at], batch.key_len[at] = used, key_len
        copy_bytes(block.data, block.key_start[row], key_len, batch.data, used)
        used += max(key_len, 0)
        batch.value_start[at], batch.value_len[at] = used, value_len
        copy_bytes(block.data, block.value_start[row], value_len, batch.data, used)
        _take_event(block, row, batch, at)
        batch.used[0], batch.used[1] = at + 1, used + max(value_len, 0)
        row += 1
    return row, TAKE_DONE
