"""Open addressing with linear probing and backward-shift deletion: keyed hash -> row.

Slots are twice the rows, so that a probe is short and an empty slot always ends it. Hashes are
keyed (SipHash), so that nobody outside can make many keys meet (Crosby and Wallach, 2003).
"""

import numpy as np

from streams.buffers import Array
from streams.compile import i64, kernel


@kernel
def find_pair(slots: Array, rows: Array, lo: int, hi: int) -> int:
    """Return the row whose `lo` and `hi` are these, or -1. Reads slots SLOT[n] and rows."""
    mask = slots.shape[0] - 1
    i = i64(lo & np.uint64(mask))
    while slots[i]["row"] >= 0:
        if slots[i]["hash"] == lo:
            row = slots[i]["row"]
            if rows[row]["lo"] == lo and rows[row]["hi"] == hi:
                return i64(row)
        i = (i + 1) & mask
    return -1


@kernel
def insert_slot(slots: Array, hash_lo: int, row: int) -> None:
    """Write a slot for `row`. The caller knows that the key is absent and that a row was free."""
    mask = slots.shape[0] - 1
    i = i64(hash_lo & np.uint64(mask))
    while slots[i]["row"] >= 0:
        i = (i + 1) & mask
    slots[i]["hash"] = hash_lo
    slots[i]["row"] = row


@kernel
def delete_slot(slots: Array, hash_lo: int, row: int) -> None:
    """Remove the slot of `row` and shift back what stood behind it (Knuth, TAOCP 3, 6.4, algorithm
    R).
    """
    mask = slots.shape[0] - 1
    i = i64(hash_lo & np.uint64(mask))
    while slots[i]["row"] != row:
        assert slots[i]["row"] >= 0
        i = (i + 1) & mask
    j = i
    while True:
        j = (j + 1) & mask
        if slots[j]["row"] < 0:
            break
        home = i64(slots[j]["hash"] & np.uint64(mask))
        # The slot at j may move to i only where its home does not lie cyclically in (i, j].
        if (j - home) & mask >= (j - i) & mask:
            slots[i]["hash"] = slots[j]["hash"]
            slots[i]["row"] = slots[j]["row"]
            i = j
    slots[i]["row"] = -1
