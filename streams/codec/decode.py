"""Stage 2, decode: the bytes of a batch become event rows, or refusals.

1. scan: the fast lane reads what it is sure of (kernel).
2. slow lane: orjson reads the rest, one row after another (control path).
3. resolve: names to codes, ids to hashes, every rule on a single event's fields (kernel).
4. verify: the signatures of control events and of loan events that move our money (control path).
"""

from collections.abc import Callable

import numpy as np

from streams.buffers import Batch
from streams.codec.resolve import resolve
from streams.codec.scan import scan
from streams.codec.slow import decode_slow
from streams.codec.symbols import Fields, Symbols
from streams.schema import EventType, Lane, Refusal

Verify = Callable[[bytes, int], bool]
"""Whether the bytes of a record, which stands at that offset, carry a good signature."""


def decode(symbols: Symbols, fields: Fields, batch: Batch, verify: Verify) -> None:
    """Fill batch.events for each of `batch.used[0]` records; slow rows grow `batch.used[1]`.

    `fields` are those of the symbols (`make_fields`). A control event, and a loan event of an
    institution of ours, gets `signature_ok` 1 where `verify` says so; refusing it is for admit.
    """
    rows = int(batch.used[0])
    if scan(symbols, batch) > 0:
        for row in np.flatnonzero(batch.raw["lane"][:rows] == Lane.SLOW):
            decode_slow(fields, batch, int(row))
    if resolve(symbols, batch, 0, rows) > 0:
        events = batch.events[:rows]
        ours = (events["type"] == EventType.LOAN) & (events["issuer"] >= 0)
        signed = (ours | (events["type"] >= EventType.TICK)) & (events["refusal"] == Refusal.NONE)
        for row in np.flatnonzero(signed):
            start = int(batch.value_start[row])
            record = batch.data[start : start + int(batch.value_len[row])].tobytes()
            events[row]["signature_ok"] = verify(record, int(batch.offset[row]))
