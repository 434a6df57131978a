"""The slow lane of decode: what the scanner was not sure of, read by orjson into the same raw rows.

Control path: it allocates, and costs some thirty times the scanner. Text that stands in the record
as it is read is pointed at there; text that was written with escapes is appended behind the batch's
records.
"""

from math import inf

import numpy as np
import orjson

from streams.buffers import Batch
from streams.codec.symbols import Fields
from streams.schema import Lane, Refusal
from streams.wire import VOCAB_FIELD_FLOAT, VOCAB_FIELD_INT, VOCAB_FIELD_SPAN

TEXT_BYTES_MAX = 128
"""Longer text is refused for its length alone, so its bytes are never looked at and need no
place.
"""

# Plain ints: members of an enum are slow to compare and to store.
_SLOW = int(Lane.SLOW)
_NONE, _MALFORMED = int(Refusal.NONE), int(Refusal.MALFORMED)
_MISTYPED, _TOO_LONG = int(Refusal.MISTYPED), int(Refusal.TOO_LONG)
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
    raw["lane"] = _SLOW
    raw["refusal"] = _NONE
    raw["position"] = -1
    start = int(batch.value_start[row])
    value = batch.data[start : start + int(batch.value_len[row])].tobytes()
    try:
        record = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raw["refusal"], raw["position"] = _MALFORMED, _byte_of(error, value)
        return
    if not isinstance(record, dict):
        raw["refusal"] = _MALFORMED
        raw["position"] = len(value) - len(value.lstrip(_SPACE))
        return
    present = [0, 0, 0]  # masks of spans, ints, floats
    refusal = _NONE
    for name, content in record.items():
        place = fields.get(name)
        if place is None or content is None:
            continue
        vocabulary, slot = place
        present[vocabulary] |= 1 << slot
        if vocabulary == VOCAB_FIELD_SPAN:
            wrong = _put_text(batch, row, value, slot, content)
        else:
            wrong = _put_number(batch, row, vocabulary, slot, content)
        if wrong != _NONE:
            refusal = wrong if refusal == _NONE else min(refusal, wrong)
    raw["spans_present"] = present[VOCAB_FIELD_SPAN]
    raw["ints_present"] = present[VOCAB_FIELD_INT]
    raw["floats_present"] = present[VOCAB_FIELD_FLOAT]
    raw["refusal"] = refusal


def _byte_of(error: orjson.JSONDecodeError, value: bytes) -> int:
    """Return the byte that `error`, which counts characters, points at."""
    try:
        text = value.decode()
    except UnicodeDecodeError as wrong:
        return wrong.start
    return len(text[: error.pos].encode())


def _put_number(batch: Batch, row: int, vocabulary: int, slot: int, content: object) -> int:
    """Write one number into the raw row; return why it cannot be."""
    if isinstance(content, bool) or not isinstance(content, int | float):
        return _MISTYPED
    if vocabulary == VOCAB_FIELD_FLOAT:
        number = float(content)
        assert -inf < number < inf, "orjson gives no infinity"
        batch.raw["floats"][row, slot] = number
        return _NONE
    # orjson reads whole numbers beyond 64 bits as floats.
    if isinstance(content, float) and abs(content) <= _INT_MAX:
        return _MISTYPED
    batch.raw["ints"][row, slot] = int(max(-_INT_MAX, min(content, _INT_MAX)))
    return _NONE


def _put_text(batch: Batch, row: int, value: bytes, slot: int, content: object) -> int:
    """Point the span at the text in the record, or at its copy behind the batch's records."""
    if not isinstance(content, str):
        return _MISTYPED
    text = content.encode()
    start = int(batch.value_start[row])
    found = value.find(b'"' + text + b'"')
    if found >= 0:
        start += found + 1
    elif len(text) <= TEXT_BYTES_MAX:
        start = int(batch.used[1])
        if start + len(text) > batch.data.shape[0]:
            return _TOO_LONG
        batch.data[start : start + len(text)] = np.frombuffer(text, np.uint8)
        batch.used[1] = start + len(text)
    batch.raw["span_start"][row, slot] = start
    batch.raw["span_len"][row, slot] = len(text)
    return _NONE
