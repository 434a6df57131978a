"""A small deployment's names, batches of given values, and what a raw row or event holds as a
dict.
"""

from collections.abc import Iterable
from typing import Any

from streams.buffers import Batch, append_record, make_batch
from streams.codec.decode import decode
from streams.codec.symbols import Symbols, Vocabulary, make_entries, make_fields, make_symbols
from streams.limits import Limits
from streams.schema import EVENT
from streams.wire import VOCAB_FIELD_INT, VOCAB_FIELD_SPAN

KEY = bytes(range(16))
VOCABULARY = Vocabulary(
    products=("cash_line", "invoice_loan"),
    channels=("app", "north_card"),
    kinds=("order", "refund", "login"),
    signals=(("bureau", "score"), ("device", "risk")),
    institutions=("dawn", "meadow"),
    numbers={"income_cents": 0, "age_years": 1},
    categories={"region": (2, ("CN-11", "北京", 'a"b')), "education": (15, ("master",))},
)
ENTRIES = make_entries(VOCABULARY)
FIELDS = make_fields(ENTRIES)
SYMBOLS: Symbols = make_symbols(ENTRIES, KEY)

_SIZE = Limits(batch_rows=1_024)


def batch_of(values: Iterable[bytes | None]) -> Batch:
    """Return a batch with one record a value; fail where they do not fit."""
    batch = make_batch(_SIZE)
    for offset, value in enumerate(values):
        assert append_record(batch, offset, b"key", value)
    return batch


def decoded(values: Iterable[bytes | None]) -> Batch:
    """Return the batch of `values` after stage 2; every signature is good."""
    batch = batch_of(values)
    decode(SYMBOLS, FIELDS, batch, lambda _record, _offset: True)
    return batch


def raw_fields(batch: Batch, row: int) -> dict[str, bytes | int | float]:
    """Return the fields that stand in raw row `row`, by name."""
    raw = batch.raw[row]
    found: dict[str, bytes | int | float] = {}
    for name, (vocabulary, slot) in FIELDS.items():
        if vocabulary == VOCAB_FIELD_SPAN:
            if int(raw["spans_present"]) >> slot & 1:
                start = int(raw["span_start"][slot])
                found[name] = batch.data[start : start + int(raw["span_len"][slot])].tobytes()
        elif vocabulary == VOCAB_FIELD_INT:
            if int(raw["ints_present"]) >> slot & 1:
                found[name] = int(raw["ints"][slot])
        elif int(raw["floats_present"]) >> slot & 1:
            found[name] = float(raw["floats"][slot])
    return found


def event_fields(batch: Batch, row: int) -> dict[str, Any]:
    """Return event row `row` by field; applicant and id as bytes in place of their spans."""
    event = batch.events[row]
    assert EVENT.names is not None
    found = {name: event[name].tolist() for name in EVENT.names}
    for name in ("applicant", "id"):
        start = found.pop(f"{name}_start")
        found[name] = batch.data[start : start + found.pop(f"{name}_len")].tobytes()
    return found


def differing(found: dict[str, Any], expected: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what is found and expected wherever the two differ; NaN is NaN, 0.0 is not -0.0."""
    return {
        name: (found[name], value)
        for name, value in expected.items()
        if (
            repr(found[name]) != repr(value)
            if isinstance(value, float | list)
            else found[name] != value
        )
    }
