"""Free rows of a table as a chain through their `next`, which says how many rows are passed over.

So zeros are a chain of all rows in order, and memory that nobody has used yet need not be touched,
nor be there: most of a table's rows are never taken.
"""

from streams.buffers import Array
from streams.compile import i64, kernel


@kernel
def free_after(next_row: Array, row: int) -> int:
    """Return the free row behind free row `row`, -1: it is the last. `next_row`: int32[rows]."""
    after = row + 1 + i64(next_row[row])
    return after if after < next_row.shape[0] else i64(-1)


@kernel
def chain_free(next_row: Array, row: int, head: int) -> None:
    """Put `row` before free row `head` (-1: none); the caller makes it the head."""
    after = head if head >= 0 else next_row.shape[0]
    next_row[row] = after - row - 1
