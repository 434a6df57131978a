"""Kernels between the records of Kafka's batches (magic 2) and the arrays of a `Batch`.

Format: https://kafka.apache.org/documentation/#recordbatch. A record is a varint of its length, one
byte of attributes, varints of time and offset relative to the batch, key and value each behind a
varint of its length (-1: null), then headers, which are passed over.
"""

import numpy as np

from streams.blocks import copy_bytes
from streams.buffers import Array, Batch
from streams.compile import kernel

VARINT_BYTES_MAX = 5  # of 32 bits
VARLONG_BYTES_MAX = 10  # of 64 bits

# What a plan says of one batch: where its records stand in the source, offsets, count.
PLAN = np.dtype(
    [
        ("start", "i8"),
        ("end", "i8"),
        ("base_offset", "i8"),
        ("last_delta", "i8"),
        ("count", "i8"),
    ]
)
# Where filling stands: batch of the plan, next record, records left in the batch (-1: not begun),
# offset of the last record relative to its batch.
CURSOR = np.dtype([("batch", "i8"), ("at", "i8"), ("left", "i8"), ("delta", "i8")])

# What `fill_rows` ends with.
FILL_DONE, FILL_FULL, FILL_UNTIL, FILL_OVERSIZE, FILL_CORRUPT = range(5)


@kernel
def read_varint(data: Array, at: int, end: int, bytes_max: int) -> tuple[int, int]:
    """Return the zigzag varint at `at` and the place behind it; place -1 where none ends in time.

    data: uint8[...]; reads no byte at or behind `end`, nor more than `bytes_max`.
    """
    value = np.uint64(0)
    shift = np.uint64(0)
    stop = min(end, at + bytes_max)
    while at < stop:
        byte = np.uint64(data[at])
        at += 1
        value |= (byte & np.uint64(127)) << shift
        if byte < np.uint64(128):
            low = np.int64(value & np.uint64(1))
            return np.int64(value >> np.uint64(1)) ^ -low, at  # type: ignore[return-value]
        shift += np.uint64(7)
    return np.int64(0), np.int64(-1)  # type: ignore[return-value]


@kernel
def read_span(data: Array, at: int, end: int) -> tuple[int, int]:
    """Return the length of the bytes at `at` (-1: null) and where they start; start -1 where they
    do not end before `end`.
    """
    length, start = read_varint(data, at, end, VARINT_BYTES_MAX)
    if start < 0 or length < -1 or length > end - start:
        return np.int64(0), np.int64(-1)  # type: ignore[return-value]
    return length, start


@kernel
def fill_rows(
    source: Array, plan: Array, cursors: Array, since: int, until: int, batch: Batch
) -> int:
    """Append the records of planned batches to a `Batch`, those with since <= offset < until.

    source: uint8[...], read only; plan: PLAN[batches]; cursors: CURSOR[1], moved. Reads nothing
    outside of each batch's own bytes.

    Returns FILL_DONE (all batches read), FILL_FULL (the next record has no room beside others),
    FILL_UNTIL (the next record stands at `until` or later), FILL_OVERSIZE (the next record has no
    room in an empty `Batch`), FILL_CORRUPT (the record at the cursor is none).
    """
    rows_max, room = batch.offset.shape[0], batch.data.shape[0] // 2
    cursor = cursors[0]
    while cursor["batch"] < plan.shape[0]:
        info = plan[cursor["batch"]]
        end = info["end"]
        if cursor["left"] < 0:
            cursor["at"], cursor["left"], cursor["delta"] = info["start"], info["count"], -1
        while cursor["left"] > 0:
            length, body = read_varint(source, cursor["at"], end, VARINT_BYTES_MAX)
            if body < 0 or length < 1 or length > end - body:
                return FILL_CORRUPT
            stop = body + length
            _, at = read_varint(source, body + 1, stop, VARLONG_BYTES_MAX)
            if at < 0:
                return FILL_CORRUPT
            delta, at = read_varint(source, at, stop, VARINT_BYTES_MAX)
            if at < 0 or delta <= cursor["delta"] or delta > info["last_delta"]:
                return FILL_CORRUPT
            key_len, key = read_span(source, at, stop)
            if key < 0:
                return FILL_CORRUPT
            value_len, value = read_span(source, key + max(key_len, 0), stop)
            if value < 0:
                return FILL_CORRUPT
            offset = info["base_offset"] + delta
            if offset >= until:
                return FILL_UNTIL
            if offset >= since:
                row, used = batch.used[0], batch.used[1]
                size = max(key_len, 0) + max(value_len, 0)
                if row == rows_max or used + size > room:
                    return FILL_FULL if row > 0 else FILL_OVERSIZE
                batch.offset[row] = offset
                batch.key_start[row], batch.key_len[row] = used, key_len
                copy_bytes(source, key, key_len, batch.data, used)
                used += max(key_len, 0)
                batch.value_start[row], batch.value_len[row] = used, value_len
                copy_bytes(source, value, value_len, batch.data, used)
                batch.used[0], batch.used[1] = row + 1, used + max(value_len, 0)
            cursor["at"], cursor["delta"] = stop, delta
            cursor["left"] -= 1
        if cursor["at"] != end:
            return FILL_CORRUPT
        cursor["batch"] += 1
        cursor["left"] = -1
    return FILL_DONE
