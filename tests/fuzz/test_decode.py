"""Differential fuzz: the scanner against orjson, both lanes against plain Python.

Law: the scanner never accepts what orjson refuses, and never gives another value.
"""

import json
import os
import random
import string
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.codec.resolve import resolve
from streams.codec.scan import scan
from streams.codec.slow import decode_slow
from streams.schema import Lane, Refusal
from tests.sizes import sized
from tests.streams.codec.build import (
    FIELDS,
    SYMBOLS,
    batch_of,
    decoded,
    differing,
    event_fields,
    raw_fields,
)
from tests.streams.codec.decode_twin import event_of, read
from tests.streams.codec.test_decode import SAMPLES

pytestmark = pytest.mark.kernel

INPUTS = sized(int(os.environ.get("DIPPER_FUZZ_INPUTS", "100000")))
ROWS = 1_000
# Every row that the scanner took is compared; events of both lanes for one batch in so many.
EVENTS_EVERY = 20

# What breaks parsers, put into records at any place.
FRAGMENTS = [
    b"\\", b'"', b"\\u0041", b"\\ud800", b"\xe5\x8c\x97", b"\xff", b"\0", b"\x1f", b"\x7f",
    b"{", b"}", b"[", b"]", b",", b":", b" ", b"\t", b"\n", b"\r", b"\x0c", b"-", b"-0", b"0",
    b"00", b".", b"e5", b"1e400", b"E", b"1.5", b"123456789012345678901234567890",
    b"999999999999999999", b"NaN", b"Infinity", b"null", b"true", b"false", b"nul", b'"at":1,',
    b'"id":null,', b'"value":0.1,', b',"value":-0.0', b'"amount_cents":1.0,', b"/**/", b"'",
]  # fmt: skip
NAMES = [*FIELDS, "note", "Type", "", "at ", "x" * 64, "x" * 65]
CONTENTS = [
    "null", "true", "false", "0", "-0", "-0.0", "1", "-1", "12.5", "0.1", "1e3", "-1.25E-2", "007",
    "1.", "123456789012345", "1234567890123456", "0.1234567890123456", "0.000000000000000001",
    "999999999999999999", "9223372036854775807", "18446744073709551616", '""', '"a"', '"app"',
    '"cash_line"', '"order"', '"\\u0061pp"', '"北京"', '"CN-11"', '"' + "y" * 41 + '"', "[]", "{}",
    '{"at":1}', "[1,2]", "NaN", '"00112233445566778899aabbccddeeff"', '"loan"', '"signal"', "1 ",
    '"score"', '"bureau"', '"due"', '"disbursed"', '"dawn"', '"activity"',
]  # fmt: skip


def _samples(generator: random.Random) -> Iterator[bytes]:
    """Yield good records, built records, good ones with faults put in, and noise, for ever."""
    good = [
        json.dumps({"type": kind} | fields, separators=separators, ensure_ascii=ascii_only).encode()
        for kind, fields in SAMPLES.items()
        for separators in ((",", ":"), (", ", ": "))
        for ascii_only in (True, False)
    ]
    while True:
        value = bytearray(generator.choice(good))
        yield bytes(value)
        for _ in range(6):
            faulty = value.copy()
            for _ in range(generator.choice((1, 1, 2, 5))):
                at = generator.randrange(len(faulty) + 1)
                cut = generator.choice((0, 0, 1, 1, 4, 30))
                put = generator.choice((b"", generator.choice(FRAGMENTS), generator.randbytes(1)))
                faulty[at : at + cut] = put
            yield bytes(faulty)
        count = generator.randrange(12)
        pairs = [f'"{generator.choice(NAMES)}":{generator.choice(CONTENTS)}' for _ in range(count)]
        yield ("{" + generator.choice((",", " , ")).join(pairs) + "}").encode()
        other = json.loads(bytes(value))
        for _ in range(generator.randrange(4)):
            name, content = generator.choice(NAMES), generator.choice(CONTENTS)
            other[name] = f"<{content}>"
            value = bytearray(
                json.dumps(other).replace(json.dumps(f"<{content}>"), content).encode()
            )
        yield bytes(value)
        yield generator.randbytes(generator.randrange(30))
        yield "".join(generator.choices(string.printable, k=generator.randrange(30))).encode()


def check_scan(values: list[bytes]) -> int:
    """Scan `values`, compare each row that was taken with orjson's; return how many were taken."""
    batch = batch_of(values)
    left = scan(SYMBOLS, batch, 0, int(batch.used[0]))
    taken = np.flatnonzero(batch.raw["lane"][: len(values)] == Lane.FAST)
    assert left == len(values) - len(taken)
    for row in taken.tolist():
        refusal, fields = read(values[row])
        assert batch.raw[row]["refusal"] == refusal, values[row]
        found = raw_fields(batch, row)
        # By their text, so that 0.0 is not -0.0 and 1 is not 1.0.
        assert repr(sorted(found.items())) == repr(sorted(fields.items())), values[row]
    return len(taken)


def check_lanes(values: list[bytes]) -> None:
    """Decode `values` as stage 2 does, and all by the slow lane; compare both with plain Python."""
    mixed = decoded(values)
    slow = batch_of(values)
    for row, value in enumerate(values):
        slow.raw[row]["lane"] = Lane.SLOW
        if value:
            decode_slow(FIELDS, slow, row)
            assert slow.raw[row]["refusal"] == read(value)[0], value
            if slow.raw[row]["refusal"] == Refusal.NONE:
                assert repr(sorted(raw_fields(slow, row).items())) == repr(
                    sorted(read(value)[1].items())
                ), value
        else:
            slow.raw[row]["refusal"] = Refusal.EMPTY
    resolve(SYMBOLS, slow, 0, len(values))
    for row, value in enumerate(values):
        expected = event_of(value)
        found = event_fields(mixed, row)
        other = event_fields(slow, row) | {"signature_ok": found["signature_ok"]}
        assert not differing(found, expected), value
        assert not differing(other, expected), value


def test_the_scanner_never_differs_from_orjson() -> None:
    """100,000 seeded records: good, faulty, built at random, noise (DIPPER_FUZZ_INPUTS says how
    many).
    """
    samples = _samples(random.Random(20_261_123))
    taken = 0
    for number in range(max(1, INPUTS // ROWS)):
        values = [next(samples) for _ in range(min(ROWS, INPUTS))]
        taken += check_scan(values)
        if number % EVENTS_EVERY == 0:
            check_lanes(values)
    # The law would also hold for a scanner that takes nothing.
    assert taken > INPUTS // 5


_TEXT = st.text(max_size=12)
_NUMBER = st.one_of(
    st.integers(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False)
)
_JSON = st.recursive(
    st.none() | st.booleans() | _NUMBER | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=5,
)
_RECORD = st.dictionaries(st.sampled_from(NAMES) | _TEXT, _JSON, max_size=12)


@given(st.lists(_RECORD, min_size=1, max_size=10), st.booleans())
def test_generated_objects(records: list[dict[str, object]], ascii_only: bool) -> None:
    """Any JSON object gives in both lanes what orjson and the rules in plain Python give."""
    values = [json.dumps(record, ensure_ascii=ascii_only).encode() for record in records]
    check_scan(values)
    check_lanes(values)


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=10))
def test_any_bytes(values: list[bytes]) -> None:
    """Any bytes at all are refused or read as orjson does."""
    check_scan(values)
    check_lanes(values)
