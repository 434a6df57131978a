"""Names to codes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.codec.symbols import (
    Entry,
    Symbols,
    Vocabulary,
    find_field,
    find_signal,
    find_symbol,
    make_entries,
    make_symbols,
)
from streams.wire import VOCAB_FIELD_FLOAT, VOCAB_KIND, VOCAB_PRODUCT, VOCAB_SIGNAL
from tests.streams.codec.build import ENTRIES, KEY, SYMBOLS


def _find(symbols: Symbols, vocabulary: int, name: bytes) -> int:
    data = np.frombuffer(bytearray(b"<" + name + b">" * 8), np.uint8)
    return int(find_symbol(symbols, vocabulary, data, 1, len(name)))


@pytest.mark.kernel
def test_every_name_is_found_and_no_other() -> None:
    """Each entry gives its code; a name cut, made longer or of another vocabulary gives -1."""
    for vocabulary, name, code in ENTRIES:
        data = np.frombuffer(bytearray(name + b"x" * 8), np.uint8)
        if vocabulary <= VOCAB_FIELD_FLOAT:
            slot = SYMBOLS.slots[find_field(SYMBOLS.slots, SYMBOLS.text, data, 0, len(name))]
            assert (slot["vocabulary"], slot["code"]) == (vocabulary, code)
            assert find_field(SYMBOLS.slots, SYMBOLS.text, data, 0, len(name) + 1) == -1
        elif vocabulary == VOCAB_SIGNAL:
            source, signal = name.split(b"\0")
            at = len(source) + 1
            assert find_signal(SYMBOLS, data, 0, len(source), at, len(signal)) == code
            assert find_signal(SYMBOLS, data, 0, len(source), at, len(signal) - 1) == -1
            assert find_signal(SYMBOLS, data, at, len(signal), 0, len(source)) == -1
        else:
            assert _find(SYMBOLS, vocabulary, name) == code
            assert _find(SYMBOLS, vocabulary, name[:-1]) == -1
            assert _find(SYMBOLS, vocabulary, name + b"x" * 8) == -1
            assert _find(SYMBOLS, VOCAB_SIGNAL, name) == -1


@pytest.mark.kernel
@given(st.sets(st.binary(min_size=1, max_size=64), min_size=1, max_size=60), st.data())
def test_a_table_is_a_dict(names: set[bytes], data: st.DataObject) -> None:
    """For any set of names the table answers as a dict by vocabulary and name would."""
    entries: list[Entry] = [
        (VOCAB_PRODUCT + code % 2, name, code) for code, name in enumerate(sorted(names))
    ]
    symbols = make_symbols(entries, KEY)
    known = {(vocabulary, name): code for vocabulary, name, code in entries}
    asked = data.draw(st.lists(st.binary(max_size=70), max_size=5)) + sorted(names)[:5]
    for name in asked:
        for vocabulary in (VOCAB_PRODUCT, VOCAB_PRODUCT + 1):
            assert _find(symbols, vocabulary, name) == known.get((vocabulary, name), -1)


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([(VOCAB_KIND, b"order", 0), (VOCAB_KIND, b"order", 1)], "'order' is declared twice"),
        ([(0, b"at", 0), (1, b"at", 0)], "'at' is declared twice"),
        ([(VOCAB_KIND, b"", 0)], "1 to 64 fit"),
        ([(VOCAB_KIND, b"x" * 65, 0)], "1 to 64 fit"),
    ],
)
def test_wrong_names_are_refused(entries: list[Entry], sentence: str) -> None:
    """A name that stands twice in its vocabulary, or is no 1 to 64 bytes long, is refused."""
    with pytest.raises(ValueError, match=sentence):
        make_symbols(entries, KEY)


def test_wrong_vocabularies_are_refused() -> None:
    """An attribute without a place in the record, a ninth signal and a short key are refused."""
    with pytest.raises(ValueError, match="index 16"):
        make_entries(Vocabulary(numbers={"income_cents": 16}))
    with pytest.raises(ValueError, match="at most 8"):
        make_entries(Vocabulary(signals=[("source", f"name{n}") for n in range(9)]))
    with pytest.raises(ValueError, match="16 are needed"):
        make_symbols(ENTRIES, b"short")
    with pytest.raises(ValueError, match="'amount_cents' is declared twice"):
        make_symbols(make_entries(Vocabulary(numbers={"amount_cents": 0})), KEY)
