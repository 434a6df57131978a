"""What a step writes, from its output rows to the bytes of files, without an object per record."""

from streams.blocks import copy_bytes
from streams.buffers import Array, Out
from streams.compile import i64, kernel

# How records stand one after another: their values alone; a line each; or in the form of
# `streams.dump`, without headers.
VALUES, LINES, PACKED = range(3)
PACKED_BYTES = 12  # of a packed record, beside its key and value

_NEWLINE = 10


@kernel
def _put_part(data: Array, start: int, length: int, target: Array, at: int) -> int:
    """Write the length (-1: null) as unsigned 32-bit little-endian, and the bytes; return the
    end.
    """
    for k in range(4):
        target[at + k] = (length >> (8 * k)) & 255
    copy_bytes(data, start, length, target, at + 4)
    return at + 4 + max(length, 0)


@kernel
def gather(out: Out, topic: int, form: int, target: Array) -> tuple[int, int]:
    """Write the records of `topic` in `form` one after another; return bytes and records.

    target: uint8[...], with room for all bytes of the Out and PACKED_BYTES for each of its rows.
    """
    at, count = 0, 0
    for row in range(out.used[0]):
        record = out.rows[row]
        if record["topic"] != topic:
            continue
        start, length = i64(record["value_start"]), i64(record["value_len"])
        if form == PACKED:
            at = _put_part(out.data, i64(record["key_start"]), i64(record["key_len"]), target, at)
            at = _put_part(out.data, start, length, target, at)
            at = _put_part(out.data, start, 0, target, at)
        else:
            copy_bytes(out.data, start, length, target, at)
            at += length
            if form == LINES:
                target[at] = _NEWLINE
                at += 1
        count += 1
    return at, count
