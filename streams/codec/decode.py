"""Stage 2, decode: the bytes of a batch become event rows, or refusals.

1. scan: the fast lane reads what it is sure of (kernel).
2. resolve: names to codes, ids to hashes, every rule on a single event's fields (kernel).
3. slow lane: orjson reads what is left, one row after another, and it is resolved too (control
   path).
4. verify: the signatures of control events and of loan and line events of ours (control path).
"""

from collections.abc import Callable

import numpy as np

from streams.buffers import Batch
from streams.codec.resolve import must_be_signed, resolve
from streams.codec.scan import scan
from streams.codec.slow import decode_slow
from streams.codec.symbols import Fields, Symbols
from streams.compile import kernel
from streams.schema import EventType, Lane, Refusal

_ROWS_AT_ONCE = 16
_SLOW = int(Lane.SLOW)

Verify = Callable[[bytes, int], bool]
"""Whether the bytes of a record, which stands at that offset, carry a good signature."""


def decode(symbols: Symbols, fields: Fields, batch: Batch, verify: Verify) -> None:
    """Fill batch.events for each of `batch.used[0]` records; slow rows grow `batch.used[1]`. Of the
    first `batch.used[2]`, whose events the door has filled, only those of lane SLOW are read.

    `fields` are those of the symbols (`make_fields`). A control event, and a loan or line
    event of an institution of ours, gets `signature_ok` 1 where `verify` says so; refusing it is
    for admit.
    """
    rows = int(batch.used[0])
    left, control = _decode_fast(symbols, batch, int(batch.used[2]), rows)
    if left > 0:
        for row in np.flatnonzero(batch.events["lane"][:rows] == Lane.SLOW):
            decode_slow(fields, batch, int(row))
            control += resolve(symbols, batch, int(row), int(row) + 1)
    if control > 0:
        events = batch.events[:rows]
        ours = np.isin(events["type"], (EventType.LOAN, EventType.LINE)) & (events["issuer"] >= 0)
        signed = (ours | (events["type"] >= EventType.TICK)) & (events["refusal"] == Refusal.NONE)
        for row in np.flatnonzero(signed):
            start = int(batch.value_start[row])
            record = batch.data[start : start + int(batch.value_len[row])].tobytes()
            events[row]["signature_ok"] = verify(record, int(batch.offset[row]))


@kernel
def _decode_fast(symbols: Symbols, batch: Batch, known: int, rows: int) -> tuple[int, int]:
    """Scan and resolve; return how many rows are left to the slow lane, and control events.

    A few rows at a time: a raw row is larger than its record, and is still in the first cache when
    it is resolved. What is left to the slow lane is resolved once more when it has been read.
    """
    left = 0
    control = 0
    for row in range(known):
        if batch.events[row]["lane"] == _SLOW:
            left += scan(symbols, batch, row, row + 1)
            control += resolve(symbols, batch, row, row + 1)
        else:
            control += must_be_signed(batch.events[row])
    for first in range(known, rows, _ROWS_AT_ONCE):
        last = min(rows, first + _ROWS_AT_ONCE)
        left += scan(symbols, batch, first, last)
        control += resolve(symbols, batch, first, last)
    return left, control


@kernel
def read_raw(symbols: Symbols, batch: Batch, first: int, last: int) -> None:
    """Fill batch.raw of rows `first` to `last` - 1, whose events the door had filled; those of lane
    SLOW have theirs.
    """
    for row in range(first, last):
        if batch.events[row]["lane"] != _SLOW:
            scan(symbols, batch, row, row + 1)
