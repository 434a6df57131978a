"""Which field of a refused record is at fault, and where it stands: for its dead letter alone.

Control path: the kernels only say why a record is refused. A function of the record's bytes and of
the rules, so that live and replay name the same.
"""

import json
import re
from typing import Any, NamedTuple

import orjson

from streams.codec.rules import (
    INT_MAX,
    INT_MIN,
    INTS_CARRIED,
    INTS_NEEDED,
    SPANS_NEEDED,
)
from streams.schema import EventType, Refusal
from streams.wire import INT_AMOUNT, INT_FIELDS, SPAN_FIELDS

_REQUESTS = (EventType.APPLICATION, EventType.DRAWDOWN)
_READ_MAX = 65_536  # a longer record is not read a second time


class Fault(NamedTuple):
    """The field at fault ("" not known) and the byte of the record at which its value begins, -1
    where it is not there or not known.
    """

    field: str = ""
    position: int = -1


def find_fault(value: bytes | None, refusal: int) -> Fault:
    """Return what a record that was refused for a field lacks, or has wrong."""
    if value is None or len(value) > _READ_MAX:
        return Fault()
    if refusal not in {Refusal.MISSING_FIELD, Refusal.OUT_OF_RANGE, Refusal.MISTYPED}:
        return Fault()
    try:
        record = orjson.loads(value)
    except orjson.JSONDecodeError:
        return Fault()
    if not isinstance(record, dict):
        return Fault()
    if refusal == Refusal.MISTYPED:
        return _at(value, _mistyped(record))
    kind = _kind(record)
    if refusal == Refusal.MISSING_FIELD:
        return Fault(_missing(record, kind))
    return _at(value, _out_of_range(record, kind))


def _kind(record: dict[str, Any]) -> EventType:
    name = record.get("type")
    known = {kind.name.lower(): kind for kind in EventType if kind}
    return known.get(name, EventType.NONE) if isinstance(name, str) else EventType.NONE


def _has(mask: Any, slot: int) -> bool:
    return bool(int(mask) >> slot & 1)


def _mistyped(record: dict[str, Any]) -> str:
    for name, content in record.items():
        if content is None:
            continue
        if name in SPAN_FIELDS and not isinstance(content, str):
            return name
        number = isinstance(content, int | float) and not isinstance(content, bool)
        if (name in INT_FIELDS or name == "value") and not number:
            return name
        if name in INT_FIELDS and isinstance(content, float) and abs(content) < 2**63:
            return name
    return ""


def _missing(record: dict[str, Any], kind: EventType) -> str:
    given = {name for name, content in record.items() if content is not None and content != ""}
    wanted = [name for slot, name in enumerate(SPAN_FIELDS) if _has(SPANS_NEEDED[kind], slot)]
    wanted += [name for slot, name in enumerate(INT_FIELDS) if _has(INTS_NEEDED[kind], slot)]
    # What depends on another field is asked last, as the rules ask it (`streams/codec/resolve.py`).
    further = {EventType.SIGNAL: ["value"]}.get(kind, [])
    if kind == EventType.LOAN:
        further = ["due_at"] if record.get("step") == "due" else ["decision"]
    return next((name for name in (*wanted, *further) if name not in given), "")


def _out_of_range(record: dict[str, Any], kind: EventType) -> str:
    for slot, name in enumerate(INT_FIELDS):
        content = record.get(name)
        if not _has(INTS_CARRIED[kind], slot) or not isinstance(content, int | float):
            continue
        least = 1 if slot == INT_AMOUNT and kind in _REQUESTS else INT_MIN[slot]
        if not least <= content <= INT_MAX[slot]:
            return name
    return ""


def _at(value: bytes, field: str) -> Fault:
    """Return the field with the place of its value; of a field that stands twice, the last."""
    if not field:
        return Fault()
    text = re.escape(json.dumps(field).encode())
    places = [found.end() for found in re.finditer(text + rb"[ \t\r\n]*:[ \t\r\n]*", value)]
    return Fault(field, places[-1] if places else -1)
