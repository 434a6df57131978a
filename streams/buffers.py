"""The memory between a door and the step: a batch of records in, a buffer of records out.

Both are taken once and reused. A door fills a `Batch` and reads an `Out`; the step does the
opposite.
"""

from typing import Any, NamedTuple

import numpy as np

from streams import limits, schema, wire

Array = np.ndarray[Any, Any]
FOLLOW = 1_024  # a power of two; more than a schema has fields


class Batch(NamedTuple):
    """Records as they came.

    Bytes of row `i` are `data[start[i] : start[i] + len[i]]`; a len of -1 is null.
    `used[0]` rows, `used[1]` bytes. The slow lane appends decoded text behind the records, so bytes
    may grow while a batch is decoded; `raw` and `events` are filled by decode, row for row. Of the
    first `used[2]` rows the door has filled `events` already, as decode would, and `raw` stays as
    it was.
    """

    data: Array  # uint8[batch_bytes]
    used: Array  # int64[3]
    offset: Array  # int64[rows]
    key_start: Array  # int64[rows]
    key_len: Array
    value_start: Array
    value_len: Array
    raw: Array  # wire.RAW[rows]
    events: Array  # schema.EVENT[rows]
    follow: Array  # int32[FOLLOW]: which field stood behind which, a guess that the scanner tries


class Out(NamedTuple):
    """Records to write, in order. `used[0]` rows, `used[1]` bytes."""

    data: Array  # uint8[out_bytes]
    used: Array  # int64[2]
    rows: Array  # schema.OUTPUT[out_rows]


# Text of one batch that the slow lane may append: each of its rows at most its own value's length
# again.
def make_batch(size: limits.Limits) -> Batch:
    """Take the memory of one batch."""
    rows = size.batch_rows
    return Batch(
        np.zeros(size.batch_bytes, np.uint8),
        np.zeros(3, np.int64),
        np.zeros(rows, np.int64),
        np.zeros(rows, np.int64),
        np.zeros(rows, np.int64),
        np.zeros(rows, np.int64),
        np.zeros(rows, np.int64),
        np.zeros(rows, wire.RAW),
        np.zeros(rows, schema.EVENT),
        np.full(FOLLOW, -1, np.int32),
    )


def make_out(size: limits.Limits) -> Out:
    """Take the memory of one output buffer."""
    return Out(
        np.zeros(size.out_bytes, np.uint8),
        np.zeros(2, np.int64),
        np.zeros(size.out_rows, schema.OUTPUT),
    )


def clear_batch(batch: Batch) -> None:
    """Empty a batch for the next records."""
    batch.used[:] = 0


def bytes_room(batch: Batch) -> int:
    """Return how many bytes of records a batch takes.

    Half of its memory stays free: the slow lane writes the decoded text of its rows there, and
    text is never longer decoded than it was with escapes.
    """
    return int(batch.data.shape[0]) // 2


def append_record(batch: Batch, offset: int, key: bytes | None, value: bytes | None) -> bool:
    """Copy one record into the batch; False, with nothing changed, where it has no room for it."""
    row, end = int(batch.used[0]), int(batch.used[1])
    key_len = -1 if key is None else len(key)
    value_len = -1 if value is None else len(value)
    taken = end + max(key_len, 0) + max(value_len, 0)
    if row == batch.offset.shape[0] or taken > bytes_room(batch):
        return False
    batch.offset[row] = offset
    batch.key_start[row], batch.key_len[row] = end, key_len
    if key:
        batch.data[end : end + key_len] = np.frombuffer(key, np.uint8)
        end += key_len
    batch.value_start[row], batch.value_len[row] = end, value_len
    if value:
        batch.data[end : end + value_len] = np.frombuffer(value, np.uint8)
        end += value_len
    batch.used[0], batch.used[1] = row + 1, end
    return True
