"""The slow lane of decode: what the scanner was not sure of, read by orjson into the same raw rows.

Control path: it allocates, and costs about ten times the scanner. Text that stands in the record as
it is read is pointed at there; text that was written with escapes is appended behind the batch's
records.
"""

from math import inf

import numpy as np
import orjson

from streams.buffers import Batch
from streams.codec.symbols import Fields
from streams.schema import VOCAB_FIELD_INT, VOCAB_FIELD_SPAN, Lane, Refusal

TEXT_BYTES_MAX = 128
"""Longer text is refused for its length alone, so its bytes are never looked at and need no
place.
"""

_INT_MAX = 2**63 - 1
_SPACE = b" \t\n\r"


def decode_slow(fields: Fields, batch: Batch, row: int) -> None:
    """Read record `row` of `batch` with orjson into batch.raw[row]; decoded text grows
    `batch.used[1]`.

    Refusals: MALFORMED (no JSON object; `position` is the byte where orjson stopped), MISTYPED,
    TOO_LONG (no room for decoded text). A whole number beyond int64 becomes the nearest one that
    fits: no field allows it, and whether the event carries the field at all is judged later. Of a
    field that stands twice, the last counts.
    """
    raw = batch.raw[row]
    raw["lane"] = Lane.SLOW
    raw["refusal"] = Refusal.NONE
    raw["position"] = -1
    raw["spans_present"] = raw["ints_present"] = raw["floats_present"] = 0
    start = int(batch.value_start[row])
    value = batch.data[start : start + int(batch.value_len[row])].tobytes()
    try:
        record = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raw["refusal"], raw["position"] = Refusal.MALFORMED, _byte_of(error, value)
        return
    if not isinstance(record, dict):
        raw["refusal"] = Refusal.MALFORMED
        raw["position"] = len(value) - len(value.lstrip(_SPACE))
        return
    for name, content in record.items():
        place = fields.get(name)
        if place is None or content is None:
            continue
        refusal = _put(batch, row, value, place, content)
        # MISTYPED comes before TOO_LONG, wherever it stands.
        if refusal and (not raw["refusal"] or refusal < raw["refusal"]):
            raw["refusal"] = refusal


def _byte_of(error: orjson.JSONDecodeError, value: bytes) -> int:
    """Return the byte that `error`, which counts characters, points at."""
    try:
        text = value.decode()
    except UnicodeDecodeError as wrong:
        return wrong.start
    return len(text[: error.pos].encode())


def _put(batch: Batch, row: int, value: bytes, place: tuple[int, int], content: object) -> Refusal:
    """Write one field into the raw row; return why it cannot be."""
    vocabulary, slot = place
    raw = batch.raw[row]
    bit = np.uint64(1 << slot)
    if vocabulary == VOCAB_FIELD_SPAN:
        if not isinstance(content, str):
            return Refusal.MISTYPED
        return _put_text(batch, row, value, slot, content.encode())
    if isinstance(content, bool) or not isinstance(content, int | float):
        return Refusal.MISTYPED
    if vocabulary == VOCAB_FIELD_INT:
        if isinstance(content, float):
            # orjson reads whole numbers beyond 64 bits as floats.
            if abs(content) <= _INT_MAX:
                return Refusal.MISTYPED
            content = _INT_MAX if content > 0 else -_INT_MAX
        raw["ints"][slot] = max(-_INT_MAX, min(content, _INT_MAX))
        raw["ints_present"] |= bit
        return Refusal.NONE
    number = float(content)
    assert -inf < number < inf, "orjson gives no infinity"
    raw["floats"][slot] = number
    raw["floats_present"] |= bit
    return Refusal.NONE


def _put_text(batch: Batch, row: int, value: bytes, slot: int, text: bytes) -> Refusal:
    """Point the span at `text` in the record, or at its copy behind the batch's records."""
    raw = batch.raw[row]
    start = int(batch.value_start[row])
    found = value.find(b'"' + text + b'"')
    if found >= 0:
        start += found + 1
    elif len(text) <= TEXT_BYTES_MAX:
        start = int(batch.used[1])
        if start + len(text) > batch.data.shape[0]:
            return Refusal.TOO_LONG
        batch.data[start : start + len(text)] = np.frombuffer(text, np.uint8)
        batch.used[1] = start + len(text)
    raw["span_start"][slot] = start
    raw["span_len"][slot] = len(text)
    raw["spans_present"] |= np.uint64(1 << slot)
    return Refusal.NONE
