"""The fast lane of decode: common JSON straight from the batch's bytes to raw rows, without an
object between.

Law: the scanner never accepts what orjson refuses, and never gives another value. So it refuses
nothing either (but a record without a value): whatever it does not read with certainty is left to
the slow lane: escapes, control and non-ASCII characters, nesting, exponents, more digits than a
float64 holds exactly, a minus zero, a known field that stands twice or has another type than the
schema says, and all bad grammar.
"""

from typing import Any

import numpy as np

from streams.buffers import FOLLOW, Array, Batch
from streams.codec.symbols import Symbols, find_field
from streams.codec.words import find_text_end, same_bytes, signed
from streams.compile import kernel
from streams.schema import Lane, Refusal
from streams.wire import VOCAB_FIELD_FLOAT, VOCAB_FIELD_INT, VOCAB_FIELD_SPAN

_QUOTE, _MINUS, _POINT, _COMMA, _COLON, _OPEN, _CLOSE = (ord(c) for c in '"-.,:{}')
_ZERO, _NINE = ord("0"), ord("9")
_SPACE, _TAB, _LINE, _RETURN = (ord(c) for c in " \t\n\r")
_N, _T, _F, _U, _L, _R, _E, _A, _S = (ord(c) for c in "ntfulreas")
_FAST, _SLOW = int(Lane.FAST), int(Lane.SLOW)
_NONE, _EMPTY = int(Refusal.NONE), int(Refusal.EMPTY)

_UNKNOWN = -1
_UNSURE = -1
_NO_BITS = np.uint64(0)
_ONE_BIT = np.uint64(1)
_DIGITS_MAX = 18  # any number of that many digits fits an int64
# 15 digits are exact in a float64, and so is 10**d up to d = 22: their quotient is rounded once, as
# it must be. W. D. Clinger, "How to read floating point numbers accurately", 1990.
_EXACT_END = 10**15
_POWERS_OF_TEN = np.array([float(10**d) for d in range(_DIGITS_MAX + 1)])


@kernel
def _skip_space(data: Array, at: int, end: int) -> int:
    """Return the first byte of data[at:end] that is not white space of JSON, or `end`."""
    while at < end:
        byte = data[at]
        if byte > _SPACE:
            return at
        if byte not in (_SPACE, _LINE, _RETURN, _TAB):
            return at
        at += 1
    return at


@kernel
def _scan_text(data: Array, at: int, end: int, vocabulary: int, slot: int, raw: Array) -> int:
    """Read the string whose quote stands at `at`; return the byte behind it, or -1 where unsure."""
    start = at + 1
    stop = find_text_end(data, start, end)
    if stop >= end or data[stop] != _QUOTE:
        return _UNSURE
    if vocabulary == VOCAB_FIELD_SPAN:
        bit = _ONE_BIT << np.uint64(slot)
        if raw["spans_present"] & bit != _NO_BITS:
            return _UNSURE
        raw["spans_present"] |= bit
        raw["span_start"][slot] = start
        raw["span_len"][slot] = stop - start
    elif vocabulary != _UNKNOWN:
        return _UNSURE
    return stop + 1


@kernel
def _has(mask: Any, slot: int) -> bool:
    """Return whether bit `slot` of `mask` (uint64) is set."""
    return mask >> np.uint64(slot) & _ONE_BIT != _NO_BITS


@kernel
def _is_present(raw: Array, vocabulary: int, slot: int) -> bool:
    """Return whether the record has given the field already; never for an unknown one."""
    if vocabulary == VOCAB_FIELD_SPAN:
        return _has(raw["spans_present"], slot)
    if vocabulary == VOCAB_FIELD_INT:
        return _has(raw["ints_present"], slot)
    if vocabulary == VOCAB_FIELD_FLOAT:
        return _has(raw["floats_present"], slot)
    return False


@kernel
def _scan_literal(data: Array, at: int, end: int, vocabulary: int, slot: int, raw: Array) -> int:
    """Read true, false or null at `at`; return the byte behind it, or -1 where unsure.

    A known field is no truth value; null takes it back, and that is certain only where it was not
    given before.
    """
    left = end - at
    if left >= 4 and data[at] == _N:
        if data[at + 1] != _U or data[at + 2] != _L or data[at + 3] != _L:
            return _UNSURE
        if _is_present(raw, vocabulary, slot):
            return _UNSURE
        return at + 4
    if vocabulary != _UNKNOWN:
        return _UNSURE
    if left >= 4 and data[at] == _T:
        if data[at + 1] == _R and data[at + 2] == _U and data[at + 3] == _E:
            return at + 4
    elif left >= 5 and data[at] == _F:
        if data[at + 1] == _A and data[at + 2] == _L and data[at + 3] == _S:
            if data[at + 4] == _E:
                return at + 5
    return _UNSURE


@kernel
def _scan_digits(data: Array, at: int, end: int, value: int) -> tuple[int, int]:
    """Read digits of data[at:end] behind those in `value`; return the byte behind them and the
    number.
    """
    while at < end and _ZERO <= data[at] <= _NINE:
        value = value * 10 + (signed(data[at]) - _ZERO)
        at += 1
    return at, value


@kernel
def _scan_number(data: Array, at: int, end: int, vocabulary: int, slot: int, raw: Array) -> int:
    """Read the number at `at`; return the byte behind it, or -1 where unsure.

    At most 18 digits are read. The caller looks at what follows, so an exponent, a second point or
    a 19th digit is bad grammar there.
    """
    negative = data[at] == _MINUS
    first = at + 1 if negative else at
    at, value = _scan_digits(data, first, min(end, first + _DIGITS_MAX), 0)
    whole = at - first
    if whole == 0 or (whole > 1 and data[first] == _ZERO):
        return _UNSURE
    decimals = 0
    if at < end and data[at] == _POINT:
        point = at
        at, value = _scan_digits(data, point + 1, min(end, point + 1 + _DIGITS_MAX - whole), value)
        decimals = at - point - 1
        if decimals == 0:
            return _UNSURE
    if vocabulary == _UNKNOWN:
        return at
    if negative:
        if value == 0:
            return _UNSURE
        value = -value
    bit = _ONE_BIT << np.uint64(slot)
    if vocabulary == VOCAB_FIELD_INT:
        if decimals > 0 or raw["ints_present"] & bit != _NO_BITS:
            return _UNSURE
        raw["ints_present"] |= bit
        raw["ints"][slot] = value
        return at
    if vocabulary != VOCAB_FIELD_FLOAT or not -_EXACT_END < value < _EXACT_END:
        return _UNSURE
    if raw["floats_present"] & bit != _NO_BITS:
        return _UNSURE
    raw["floats_present"] |= bit
    raw["floats"][slot] = np.float64(value) / _POWERS_OF_TEN[decimals]
    return at


@kernel
def _is_field(slots: Array, text: Array, data: Array, name: int, end: int, guess: int) -> bool:
    """Return whether the name that begins at byte `name` is, to its quote, that of slot `guess`."""
    length = signed(slots[guess]["len"])
    stop = name + length
    if stop >= end or data[stop] != _QUOTE or slots[guess]["vocabulary"] > VOCAB_FIELD_FLOAT:
        return False
    return same_bytes(text, signed(slots[guess]["start"]), data, name, length)


@kernel
def _scan_record(
    slots: Array, text: Array, follow: Array, data: Array, start: int, end: int, raw: Array
) -> bool:
    """Read the record data[start:end] into `raw`, a row without any field present; False where
    unsure.

    Publishers write their fields in one order. So the field that stood behind this one lately is
    tried first, and only where it is another one is a name's end searched and its hash looked up.
    """
    field = -1
    at = _skip_space(data, start, end)
    if at >= end or data[at] != _OPEN:
        return False
    at = _skip_space(data, at + 1, end)
    if at < end and data[at] == _CLOSE:
        return _skip_space(data, at + 1, end) == end
    while at < end and data[at] == _QUOTE:
        name = at + 1
        place = (field + 1) & (FOLLOW - 1)
        field = signed(follow[place])
        if 0 <= field < slots.shape[0] and _is_field(slots, text, data, name, end, field):
            at = name + signed(slots[field]["len"])
        else:
            at = find_text_end(data, name, end)
            if at >= end or data[at] != _QUOTE:
                return False
            field = find_field(slots, text, data, name, at - name)
            follow[place] = field
        at = _skip_space(data, at + 1, end)
        if at >= end or data[at] != _COLON:
            return False
        at = _skip_space(data, at + 1, end)
        if at >= end:
            return False
        vocabulary = _UNKNOWN
        slot = _UNKNOWN
        if field >= 0:
            vocabulary = signed(slots[field]["vocabulary"])
            slot = signed(slots[field]["code"])
        byte = data[at]
        if byte == _QUOTE:
            at = _scan_text(data, at, end, vocabulary, slot, raw)
        elif byte == _MINUS or _ZERO <= byte <= _NINE:
            at = _scan_number(data, at, end, vocabulary, slot, raw)
        else:
            at = _scan_literal(data, at, end, vocabulary, slot, raw)
        if at < 0:
            return False
        at = _skip_space(data, at, end)
        if at >= end:
            return False
        if data[at] == _CLOSE:
            return _skip_space(data, at + 1, end) == end
        if data[at] != _COMMA:
            return False
        at = _skip_space(data, at + 1, end)
    return False


@kernel
def scan(symbols: Symbols, batch: Batch, first: int, last: int) -> int:
    """Fill raw rows `first` to `last` - 1 of `batch`; return how many are left to the slow lane.

    A row of lane FAST is complete: its spans point into the record, its refusal is NONE, or EMPTY
    where the value is null or has no bytes. A row of lane SLOW holds nothing yet.
    """
    left = 0
    for row in range(first, last):
        raw = batch.raw[row]
        raw["lane"] = _FAST
        raw["refusal"] = _NONE
        raw["position"] = -1
        raw["spans_present"] = _NO_BITS
        raw["ints_present"] = _NO_BITS
        raw["floats_present"] = _NO_BITS
        length = batch.value_len[row]
        if length <= 0:
            raw["refusal"] = _EMPTY
            continue
        start = batch.value_start[row]
        if not _scan_record(
            symbols.slots, symbols.text, batch.follow, batch.data, start, start + length, raw
        ):
            raw["lane"] = _SLOW
            left += 1
    return left
