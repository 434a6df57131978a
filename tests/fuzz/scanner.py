"""The scanner at native speed: a kernel makes the inputs, the scanner reads them, and each row that
it took is compared with what orjson gives.
"""

import json
from typing import NamedTuple

import numpy as np

from streams.buffers import Array, Batch, make_batch
from streams.codec.resolve import resolve
from streams.codec.scan import scan
from streams.codec.slow import decode_slow
from streams.limits import Limits
from streams.schema import Lane, Refusal
from streams.wire import FLOATS, INTS, SPANS
from tests.fuzz.mutate import fill_mutants, make_corpus
from tests.fuzz.test_decode import FRAGMENTS
from tests.streams.codec.build import FIELDS, SYMBOLS
from tests.streams.codec.test_decode import SAMPLES

_ROWS = 16_384
_SIZE = Limits(batch_rows=_ROWS, out_rows=65_536)


class Found(NamedTuple):
    """How many inputs were scanned, how many of them the scanner took, how many were events."""

    inputs: int
    taken: int
    events: int


def good_samples() -> list[bytes]:
    """Return a record of each type, spaced and not, escaped and not."""
    return [
        json.dumps({"type": kind} | fields, separators=separators, ensure_ascii=ascii_only).encode()
        for kind, fields in SAMPLES.items()
        for separators in ((",", ":"), (", ", ": "))
        for ascii_only in (True, False)
    ]


def fuzz_scanner(count: int, seed: int) -> Found:
    """Scan `count` inputs of a seed; fails with the input where the scanner and orjson differ."""
    corpus = make_corpus(good_samples(), [part for part in FRAGMENTS if part])
    state = np.array([seed], np.uint64)
    batch, slow = make_batch(_SIZE), make_batch(_SIZE)
    done = taken = events = 0
    while done < count:
        batch.used[:] = 0
        rows = fill_mutants(corpus, state, batch, min(_ROWS, count - done))
        assert rows > 0
        scan(SYMBOLS, batch, 0, int(batch.used[0]))
        fast = np.flatnonzero(batch.raw["lane"][:rows] == Lane.FAST)
        _read_again(batch, slow, fast)
        _compare(batch, slow, fast)
        # Rows of the slow lane hold what a batch before left; only those taken go on.
        batch.raw["refusal"][:rows][batch.raw["lane"][:rows] != Lane.FAST] = Refusal.MALFORMED
        resolve(SYMBOLS, batch, 0, rows)
        events += int((batch.events["refusal"][:rows] == Refusal.NONE).sum())
        done, taken = done + rows, taken + len(fast)
    return Found(done, taken, events)


def _read_again(batch: Batch, slow: Batch, rows: Array) -> None:
    """Have orjson read these rows, from the same bytes."""
    used = int(batch.used[1])
    slow.data[:used] = batch.data[:used]
    slow.used[:] = batch.used
    slow.value_start[:] = batch.value_start
    slow.value_len[:] = batch.value_len
    empty = batch.value_len[rows] <= 0
    for row in rows[~empty].tolist():
        decode_slow(FIELDS, slow, row)
    slow.raw["refusal"][rows[empty]] = batch.raw["refusal"][rows[empty]]
    for name in ("spans_present", "ints_present", "floats_present"):
        slow.raw[name][rows[empty]] = batch.raw[name][rows[empty]]


def _bits(masks: Array, slots: int) -> Array:
    return (masks[:, None] >> np.arange(slots, dtype=np.uint64) & np.uint64(1)).astype(bool)


def _compare(batch: Batch, slow: Batch, rows: Array) -> None:
    """Every taken row: orjson accepts it too, with the same fields and the same values, to the bit
    and to the byte.
    """
    ours, theirs = batch.raw[rows], slow.raw[rows]
    wrong = ours["refusal"] != theirs["refusal"]
    for name in ("spans_present", "ints_present", "floats_present"):
        wrong |= ours[name] != theirs[name]
    ints = _bits(ours["ints_present"], INTS)
    wrong |= ((ours["ints"] != theirs["ints"]) & ints).any(axis=1)
    floats = _bits(ours["floats_present"], FLOATS)
    bits = ours["floats"].view(np.uint64) != theirs["floats"].view(np.uint64)
    wrong |= (bits & floats).any(axis=1)
    spans = _bits(ours["spans_present"], SPANS)
    wrong |= ((ours["span_len"] != theirs["span_len"]) & spans).any(axis=1)
    for row in np.flatnonzero(wrong):
        raise AssertionError(f"the scanner differs from orjson: {_value(batch, int(rows[row]))!r}")
    # The slow lane may have found the same text in another place.
    moved = (ours["span_start"] != theirs["span_start"]) & spans
    for row, slot in zip(*np.nonzero(moved), strict=True):
        length = int(ours["span_len"][row, slot])
        here, there = int(ours["span_start"][row, slot]), int(theirs["span_start"][row, slot])
        same = batch.data[here : here + length] == slow.data[there : there + length]
        assert same.all(), _value(batch, int(rows[row]))


def _value(batch: Batch, row: int) -> bytes:
    start = int(batch.value_start[row])
    return batch.data[start : start + int(batch.value_len[row])].tobytes()
