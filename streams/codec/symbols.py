"""Names of finite sets to codes: field names, types, products, kinds, values of categories.

One open-addressing table holds all vocabularies. It is filled once on the control path; kernels
look names up by a cheap hash and then compare every byte, so an unknown name is never taken for a
known one.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from streams.buffers import Array
from streams.codec.hashing import key_words
from streams.codec.words import WORD_BYTES, hash_name, load_part, same_bytes, signed
from streams.compile import kernel
from streams.limits import ATTRIBUTES_MAX, SIGNALS_MAX, TOKEN_BYTES_MAX
from streams.schema import Cap, EventType, LineAction, LoanStep
from streams.wire import (
    FLOAT_ATTRIBUTE_0,
    FLOAT_FIELDS,
    INT_FIELDS,
    SPAN_CATEGORY_0,
    SPAN_FIELDS,
    STATUSES,
    SYMBOL,
    VOCAB_ACTION,
    VOCAB_CAP,
    VOCAB_CATEGORY_0,
    VOCAB_CHANNEL,
    VOCAB_FIELD_FLOAT,
    VOCAB_FIELD_INT,
    VOCAB_FIELD_SPAN,
    VOCAB_INSTITUTION,
    VOCAB_KIND,
    VOCAB_PRODUCT,
    VOCAB_SIGNAL,
    VOCAB_STATUS,
    VOCAB_STEP,
    VOCAB_TYPE,
)

Entry = tuple[int, bytes, int]
"""Vocabulary (VOCAB_*), name, code (0 or more)."""

Fields = Mapping[str, tuple[int, int]]
"""Field name to its vocabulary (VOCAB_FIELD_*) and slot, for the slow lane."""

SIGNAL_SEPARATOR = b"\0"
"""Between source and name in a signal's entry; no name holds it."""

_KEY_BYTES = 16
_NEXT = np.uint64(1)
# A quarter full at most: an unknown name mostly meets an empty slot at once.
_SLOTS_PER_ENTRY = 4


class Symbols(NamedTuple):
    """The table, the names behind it, and the deployment's secret key for ids."""

    slots: Array  # SYMBOL[power of two]; code -1 is empty
    text: Array  # uint8[]: the names, one after another
    key: Array  # uint64[2]: SipHash key


class Vocabulary(NamedTuple):
    """The names that a deployment declares; the code of each is its place.

    Attributes map a name to its index in the catalog (0 to ATTRIBUTES_MAX - 1), categories to their
    values too.
    """

    products: Sequence[str] = ()
    channels: Sequence[str] = ()
    kinds: Sequence[str] = ()
    signals: Sequence[tuple[str, str]] = ()  # source, name
    institutions: Sequence[str] = ()
    numbers: Mapping[str, int] = {}
    categories: Mapping[str, tuple[int, Sequence[str]]] = {}


def make_entries(vocabulary: Vocabulary) -> list[Entry]:
    """Return every entry of a deployment: the schema's own names and those that it declares.

    Raises ValueError with one sentence where an attribute has no place in a record.
    """
    entries: list[Entry] = []

    def add(set_: int, names: Iterable[str]) -> None:
        entries.extend((set_, name.encode(), code) for code, name in enumerate(names))

    add(VOCAB_FIELD_SPAN, SPAN_FIELDS)
    add(VOCAB_FIELD_INT, INT_FIELDS)
    add(VOCAB_FIELD_FLOAT, FLOAT_FIELDS)
    entries += [(VOCAB_TYPE, kind.name.lower().encode(), int(kind)) for kind in EventType if kind]
    entries += [(VOCAB_STEP, step.name.lower().encode(), int(step)) for step in LoanStep]
    entries += [(VOCAB_ACTION, act.name.lower().encode(), int(act)) for act in LineAction]
    entries += [(VOCAB_CAP, cap.name.lower().encode(), int(cap)) for cap in Cap]
    add(VOCAB_STATUS, STATUSES)
    add(VOCAB_PRODUCT, vocabulary.products)
    add(VOCAB_CHANNEL, vocabulary.channels)
    add(VOCAB_KIND, vocabulary.kinds)
    add(VOCAB_INSTITUTION, vocabulary.institutions)
    if len(vocabulary.signals) > SIGNALS_MAX:
        raise ValueError(f"{len(vocabulary.signals)} signals are declared: at most {SIGNALS_MAX}")
    for code, (source, name) in enumerate(vocabulary.signals):
        text = source.encode() + SIGNAL_SEPARATOR + name.encode()
        entries.append((VOCAB_SIGNAL, text, code))
    for name, index in vocabulary.numbers.items():
        _check_attribute(name, index)
        entries.append((VOCAB_FIELD_FLOAT, name.encode(), FLOAT_ATTRIBUTE_0 + index))
    for name, (index, values) in vocabulary.categories.items():
        _check_attribute(name, index)
        entries.append((VOCAB_FIELD_SPAN, name.encode(), SPAN_CATEGORY_0 + index))
        add(VOCAB_CATEGORY_0 + index, values)
    return entries


def _check_attribute(name: str, index: int) -> None:
    if not 0 <= index < ATTRIBUTES_MAX:
        raise ValueError(f"attribute {name!r} has index {index}: 0 to {ATTRIBUTES_MAX - 1} fit")


def make_fields(entries: Iterable[Entry]) -> Fields:
    """Return the fields among `entries`, by name."""
    return {
        name.decode(): (vocabulary, code)
        for vocabulary, name, code in entries
        if vocabulary <= VOCAB_FIELD_FLOAT
    }


def make_symbols(entries: Iterable[Entry], key: bytes) -> Symbols:
    """Return the table of `entries`; `key` is the 16-byte secret of the deployment's ids.

    Raises ValueError with one sentence where a name is empty, longer than 64 bytes or stands twice
    in its vocabulary; all fields are one vocabulary in this.
    """
    if len(key) != _KEY_BYTES:
        raise ValueError(f"the key of ids has {len(key)} bytes: 16 are needed")
    rows = list(entries)
    size = 1 << max(4, (_SLOTS_PER_ENTRY * len(rows) - 1).bit_length())
    slots = np.zeros(size, SYMBOL)
    slots["code"] = -1
    text = np.frombuffer(bytearray(b"".join(name for _, name, _ in rows) + bytes(8)), np.uint8)
    known: set[tuple[int, bytes]] = set()
    start = 0
    for vocabulary, name, code in rows:
        parts = name.split(SIGNAL_SEPARATOR) if vocabulary == VOCAB_SIGNAL else [name]
        if not all(0 < len(part) <= TOKEN_BYTES_MAX for part in parts):
            raise ValueError(f"the name {name!r} has {len(name)} bytes: 1 to {TOKEN_BYTES_MAX} fit")
        family = VOCAB_FIELD_SPAN if vocabulary <= VOCAB_FIELD_FLOAT else vocabulary
        if (family, name) in known:
            raise ValueError(f"the name {name.decode()!r} is declared twice")
        known.add((family, name))
        assert code >= 0
        value = np.uint64(family)
        place = start
        for part in parts:
            value = np.uint64(hash_name(value, text, place, len(part)))
            place += len(part) + len(SIGNAL_SEPARATOR)
        at = int(value) & (size - 1)
        while slots[at]["code"] >= 0:
            at = (at + 1) & (size - 1)
        slots[at] = (value, vocabulary, code, start, len(name))
        start += len(name)
    return Symbols(slots, text, key_words(key))


@kernel
def find_field(slots: Array, text: Array, data: Array, start: int, length: int) -> int:
    """Return the slot in `slots` of the field data[start : start + length], -1 for an unknown one.

    `slots` and `text` are those of the symbols. Called for each field of each record, so the
    comparison stands here and not in a call of its own.
    """
    if length > TOKEN_BYTES_MAX:
        return -1
    mask = np.uint64(slots.shape[0] - 1)
    value = hash_name(np.uint64(VOCAB_FIELD_SPAN), data, start, length)
    at = value & mask
    while slots[at]["code"] >= 0:
        slot = slots[at]
        if slot["hash"] == value and slot["len"] == length:
            if slot["vocabulary"] <= VOCAB_FIELD_FLOAT:
                known = signed(slot["start"])
                k = 0
                while k < length:
                    part = load_part(data, start + k, length - k)
                    if part != load_part(text, known + k, length - k):
                        break
                    k += WORD_BYTES
                if k >= length:
                    return signed(at)
        at = (at + _NEXT) & mask
    return -1


@kernel
def find_symbol(symbols: Symbols, vocabulary: int, data: Array, start: int, length: int) -> int:
    """Return the code of data[start : start + length] in `vocabulary` (VOCAB_TYPE or later), -1:
    unknown.
    """
    if length > TOKEN_BYTES_MAX:
        return -1
    slots = symbols.slots
    mask = np.uint64(slots.shape[0] - 1)
    value = hash_name(np.uint64(vocabulary), data, start, length)
    at = signed(value & mask)
    while slots[at]["code"] >= 0:
        slot = slots[at]
        if slot["hash"] == value and slot["len"] == length and slot["vocabulary"] == vocabulary:
            if same_bytes(symbols.text, slot["start"], data, start, length):
                return slot["code"]
        at = (at + 1) & (slots.shape[0] - 1)
    return -1


@kernel
def find_signal(
    symbols: Symbols, data: Array, source: int, source_len: int, name: int, name_len: int
) -> int:
    """Return the code of the signal whose source and name begin at these bytes of `data`, -1:
    unknown.
    """
    if max(source_len, name_len) > TOKEN_BYTES_MAX:
        return -1
    slots = symbols.slots
    value = hash_name(np.uint64(VOCAB_SIGNAL), data, source, source_len)
    value = hash_name(value, data, name, name_len)
    at = signed(value & np.uint64(slots.shape[0] - 1))
    while slots[at]["code"] >= 0:
        slot = slots[at]
        if slot["hash"] == value and slot["vocabulary"] == VOCAB_SIGNAL:
            start = slot["start"]
            if slot["len"] == source_len + 1 + name_len and symbols.text[start + source_len] == 0:
                if same_bytes(symbols.text, start, data, source, source_len):
                    start += source_len + 1
                    if same_bytes(symbols.text, start, data, name, name_len):
                        return slot["code"]
        at = (at + 1) & (slots.shape[0] - 1)
    return -1
