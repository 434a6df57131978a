"""Stage 2 on chosen records: which lane reads them, and why they are refused."""

import json
from typing import Any

import numpy as np
import pytest

from streams.buffers import append_record, make_batch
from streams.codec.decode import decode
from streams.codec.scan import scan
from streams.limits import Limits
from streams.schema import EventType, Lane, LineAction, LoanStep, Refusal
from tests.streams.codec.build import (
    FIELDS,
    SYMBOLS,
    batch_of,
    decoded,
    differing,
    event_fields,
    raw_fields,
)
from tests.streams.codec.decode_twin import FIELDS_OF, event_of

pytestmark = pytest.mark.kernel

COMMON = {"id": "e1", "applicant": "a1", "at": 1_764_000_000_123}
SAMPLES: dict[str, dict[str, Any]] = {
    "application": COMMON
    | {"product": "cash_line", "channel": "app", "amount_cents": 500_000, "tenor_days": 360}
    | {"income_cents": 1_250_000, "age_years": 31.5, "region": "CN-11", "device": "d1"},
    "drawdown": COMMON
    | {"line": "00112233445566778899aabbccddeeff", "amount_cents": 9_900, "tenor_days": 30}
    | {"merchant": "m1"},
    "accept": COMMON | {"decision": "ffeeddccbbaa99887766554433221100"},
    "cancel": COMMON | {"decision": "not a decision"},
    "activity": COMMON | {"kind": "order", "amount_cents": 0, "counterparty": "c1"},
    "signal": COMMON | {"source": "bureau", "name": "score", "value": 712.5},
    "loan": COMMON
    | {"loan": "L1", "step": "disbursed", "issuer": "dawn", "decision": "0" * 32}
    | {"principal_cents": 500_000},
    "line": COMMON
    | {"line": "00112233445566778899aabbccddeeff", "action": "limit", "issuer": "meadow"}
    | {"limit_cents": 700_000},
    "tick": {"partition": 0, "seq": 1, "at": 1_764_000_000_000, "signature": "c2ln"},
    "grant": {"partition": 0, "seq": 2, "institution": "dawn", "cap": "outstanding"}
    | {"amount_cents": 100},
    "recall": {"partition": 0, "seq": 3, "institution": "meadow", "cap": "commitment"}
    | {"amount_cents": 1},
}
ACTIVITY = SAMPLES["activity"]


def _bytes(kind: str, changes: dict[str, Any] | None = None) -> bytes:
    fields = {"type": kind} | SAMPLES[kind] | (changes or {})
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def _text(inside: str) -> bytes:
    """Return a good activity with `inside` put before its last brace."""
    return (_bytes("activity")[:-1].decode() + inside + "}").encode()


def _one(value: bytes | None) -> tuple[Lane, Refusal]:
    batch = decoded([value])
    return Lane(batch.events[0]["lane"]), Refusal(batch.events[0]["refusal"])


@pytest.mark.parametrize("kind", SAMPLES)
def test_each_type_is_read_in_the_fast_lane(kind: str) -> None:
    """A plain record of every type needs no slow lane and gives what plain Python gives."""
    batch = decoded([_bytes(kind)])
    assert batch.events[0]["lane"] == Lane.FAST
    assert Refusal(batch.events[0]["refusal"]) == Refusal.NONE
    assert batch.events[0]["type"] == EventType[kind.upper()]
    assert not differing(event_fields(batch, 0), event_of(_bytes(kind)))


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_field_that_its_type_needs_is_missed(kind: str) -> None:
    """Each needed field, left out, null or empty, refuses the record; each other may be left
    out.
    """
    for name in {"type": kind} | SAMPLES[kind]:
        needed = name in FIELDS_OF[kind][0] or (kind, name) in {
            ("loan", "decision"),
            ("line", "limit_cents"),
            ("signal", "value"),
        }
        expected = Refusal.MISSING_FIELD if needed or name == "type" else Refusal.NONE
        fields = {"type": kind} | SAMPLES[kind]
        del fields[name]
        assert _one(json.dumps(fields).encode()) == (Lane.FAST, expected)
        assert _one(json.dumps(fields | {name: None}).encode()) == (Lane.FAST, expected)
        if isinstance(({"type": kind} | SAMPLES[kind])[name], str):
            assert _one(json.dumps(fields | {name: ""}).encode()) == (Lane.FAST, expected)


# What stands inside a good activity, the lane that reads it, and the refusal.
INSIDE = [
    ("", Lane.FAST, Refusal.NONE),
    (',"note":"free text","n":-1.5e', Lane.SLOW, Refusal.MALFORMED),
    (',"note":{"deep":[1,{"er":null}]}', Lane.SLOW, Refusal.NONE),
    (',"note":' + "[" * 1_000 + "]" * 1_000, Lane.SLOW, Refusal.NONE),
    (',"note":' + "[" * 5_000 + "]" * 5_000, Lane.SLOW, Refusal.MALFORMED),
    (',"note":true,"other":false,"third":null', Lane.FAST, Refusal.NONE),
    (',"note":tru', Lane.SLOW, Refusal.MALFORMED),
    (',"note":nul', Lane.SLOW, Refusal.MALFORMED),
    (',"note":falsy', Lane.SLOW, Refusal.MALFORMED),
    (',"note":NaN', Lane.SLOW, Refusal.MALFORMED),
    (',"note":-Infinity', Lane.SLOW, Refusal.MALFORMED),
    (',"value":NaN', Lane.SLOW, Refusal.MALFORMED),
    (',"value":1e400', Lane.SLOW, Refusal.MALFORMED),
    (',"value":-0', Lane.SLOW, Refusal.NONE),
    (',"value":0.30000000000000004', Lane.SLOW, Refusal.NONE),
    (',"value":123456789.012345', Lane.FAST, Refusal.NONE),
    (',"value":"1"', Lane.SLOW, Refusal.MISTYPED),
    (',"value":true', Lane.SLOW, Refusal.MISTYPED),
    (',"value":[1]', Lane.SLOW, Refusal.MISTYPED),
    (',"tenor_days":null', Lane.FAST, Refusal.NONE),
    (',"tenor_days":1.0', Lane.SLOW, Refusal.MISTYPED),
    (',"tenor_days":true', Lane.SLOW, Refusal.MISTYPED),
    (',"tenor_days":"1"', Lane.SLOW, Refusal.MISTYPED),
    (',"tenor_days":-5', Lane.FAST, Refusal.NONE),  # an activity carries no tenor
    (',"tenor_days":01', Lane.SLOW, Refusal.MALFORMED),
    (',"tenor_days":+1', Lane.SLOW, Refusal.MALFORMED),
    (',"tenor_days":1.', Lane.SLOW, Refusal.MALFORMED),
    (',"tenor_days":-', Lane.SLOW, Refusal.MALFORMED),
    (',"tenor_days":999999999999999999', Lane.FAST, Refusal.NONE),
    (',"tenor_days":1234567890123456789', Lane.SLOW, Refusal.NONE),
    (',"due_at":99999999999999999999999999', Lane.SLOW, Refusal.NONE),
    (',"amount_cents":5', Lane.SLOW, Refusal.NONE),  # stands twice: the last counts
    (',"amount_cents":null', Lane.SLOW, Refusal.NONE),
    (',"amount_cents":-1', Lane.SLOW, Refusal.OUT_OF_RANGE),
    (',"merchant":5', Lane.SLOW, Refusal.MISTYPED),
    (',"merchant":false', Lane.SLOW, Refusal.MISTYPED),
    (',"merchant":"tab\there"', Lane.SLOW, Refusal.MALFORMED),
    (',"merchant":"\\ud800"', Lane.SLOW, Refusal.MALFORMED),
    (',"merchant":"\\ud83d\\ude00"', Lane.SLOW, Refusal.NONE),
    (',"merchant":"\\x"', Lane.SLOW, Refusal.MALFORMED),
    (',"merchant":"\x7f"', Lane.FAST, Refusal.NONE),
    (',"merchant":"open', Lane.SLOW, Refusal.MALFORMED),
    (',"价格":1', Lane.SLOW, Refusal.NONE),
    (",", Lane.SLOW, Refusal.MALFORMED),
    (',"note"', Lane.SLOW, Refusal.MALFORMED),
    (',"note":', Lane.SLOW, Refusal.MALFORMED),
    (",note:1", Lane.SLOW, Refusal.MALFORMED),
    (',"":1', Lane.FAST, Refusal.NONE),
    (' , \t\n\r"note"\n:\r\t 1 ', Lane.FAST, Refusal.NONE),
    (',"note":1 2', Lane.SLOW, Refusal.MALFORMED),
    (',"note":"a" "b"', Lane.SLOW, Refusal.MALFORMED),
    ("\x0c", Lane.SLOW, Refusal.MALFORMED),
    ("}", Lane.SLOW, Refusal.MALFORMED),
]


@pytest.mark.parametrize(("inside", "lane", "refusal"), INSIDE)
def test_what_stands_in_a_record(inside: str, lane: Lane, refusal: Refusal) -> None:
    """Text table: what the scanner is sure of stays in the fast lane, orjson judges the rest."""
    assert _one(_text(inside)) == (lane, refusal)
    batch = decoded([_text(inside)])
    assert not differing(event_fields(batch, 0), event_of(_text(inside)))


WHOLE: list[tuple[bytes | None, Lane, Refusal, int]] = [
    # value, lane, refusal, byte at fault
    (None, Lane.FAST, Refusal.EMPTY, -1),
    (b"", Lane.FAST, Refusal.EMPTY, -1),
    (b" \t\r\n", Lane.SLOW, Refusal.MALFORMED, 0),
    (b"{}", Lane.FAST, Refusal.MISSING_FIELD, -1),
    (b" { } ", Lane.FAST, Refusal.MISSING_FIELD, -1),
    (b"{", Lane.SLOW, Refusal.MALFORMED, 1),
    (b"{,}", Lane.SLOW, Refusal.MALFORMED, 1),
    (b"[]", Lane.SLOW, Refusal.MALFORMED, 0),
    (b"  [{}]", Lane.SLOW, Refusal.MALFORMED, 2),
    (b'"text"', Lane.SLOW, Refusal.MALFORMED, 0),
    (b"null", Lane.SLOW, Refusal.MALFORMED, 0),
    (b"\xef\xbb\xbf" + _bytes("activity"), Lane.SLOW, Refusal.MALFORMED, 0),
    (_bytes("activity") + b" x", Lane.SLOW, Refusal.MALFORMED, len(_bytes("activity")) + 1),
    (_bytes("activity") + b"\0", Lane.SLOW, Refusal.MALFORMED, len(_bytes("activity"))),
    (_bytes("activity")[:-1], Lane.SLOW, Refusal.MALFORMED, len(_bytes("activity")) - 1),
    (b'{"note":"\xe5\x8c","id":1}', Lane.SLOW, Refusal.MALFORMED, 9),
    (b'{"note":"\xed\xa0\x80"}', Lane.SLOW, Refusal.MALFORMED, 9),
    ('{"北京":x}'.encode(), Lane.SLOW, Refusal.MALFORMED, 10),
    (bytes(range(256)), Lane.SLOW, Refusal.MALFORMED, 128),
    (b'{"type":"nonsense"}', Lane.FAST, Refusal.UNKNOWN_TYPE, 9),
    (b'{"type":"none"}', Lane.FAST, Refusal.UNKNOWN_TYPE, 9),
    (b'{"type":"' + b"x" * 65 + b'"}', Lane.FAST, Refusal.TOO_LONG, 9),
    (b'{"type":5}', Lane.SLOW, Refusal.MISTYPED, -1),
]


@pytest.mark.parametrize(("value", "lane", "refusal", "position"), WHOLE)
def test_whole_records(value: bytes | None, lane: Lane, refusal: Refusal, position: int) -> None:
    """Text table: no record, junk, cut and top-level values are refused at the byte stated."""
    batch = decoded([value])
    event = batch.events[0]
    assert (Lane(event["lane"]), Refusal(event["refusal"])) == (lane, refusal)
    assert event["position"] == position


# Changes of a sample, and the refusal: ranges, lengths, names.
CHANGED: list[tuple[str, dict[str, Any], Refusal]] = [
    ("activity", {"id": "x" * 40}, Refusal.NONE),
    ("activity", {"id": "x" * 41}, Refusal.TOO_LONG),
    ("activity", {"applicant": "x" * 40}, Refusal.NONE),
    ("activity", {"applicant": "x" * 41}, Refusal.TOO_LONG),
    ("activity", {"counterparty": "x" * 64}, Refusal.NONE),
    ("activity", {"counterparty": "x" * 65}, Refusal.TOO_LONG),
    ("activity", {"device": "x" * 65}, Refusal.TOO_LONG),
    ("activity", {"merchant": "x" * 65}, Refusal.NONE),
    ("application", {"region": "x" * 65}, Refusal.TOO_LONG),
    ("activity", {"at": 0}, Refusal.OUT_OF_RANGE),
    ("activity", {"at": 1}, Refusal.NONE),
    ("activity", {"at": 2**52}, Refusal.NONE),
    ("activity", {"at": 2**52 + 1}, Refusal.OUT_OF_RANGE),
    ("activity", {"at": 2**64}, Refusal.OUT_OF_RANGE),
    ("activity", {"at": -(2**70)}, Refusal.OUT_OF_RANGE),
    ("activity", {"amount_cents": 10**14}, Refusal.NONE),
    ("activity", {"amount_cents": 10**14 + 1}, Refusal.OUT_OF_RANGE),
    ("activity", {"amount_cents": -1}, Refusal.OUT_OF_RANGE),
    ("application", {"amount_cents": 0}, Refusal.OUT_OF_RANGE),
    ("application", {"tenor_days": 0}, Refusal.OUT_OF_RANGE),
    ("application", {"tenor_days": 36_501}, Refusal.OUT_OF_RANGE),
    ("drawdown", {"amount_cents": 0}, Refusal.OUT_OF_RANGE),
    ("drawdown", {"tenor_days": 36_500}, Refusal.NONE),
    ("application", {"product": "car_loan"}, Refusal.UNKNOWN_PRODUCT),
    ("application", {"channel": "fax"}, Refusal.UNKNOWN_CHANNEL),
    ("application", {"product": "x", "channel": "fax"}, Refusal.UNKNOWN_PRODUCT),
    ("application", {"product": "x", "amount_cents": -1}, Refusal.OUT_OF_RANGE),
    ("application", {"region": "nowhere"}, Refusal.NONE),
    ("activity", {"kind": "sleep"}, Refusal.UNKNOWN_KIND),
    ("signal", {"name": "mood"}, Refusal.UNKNOWN_KIND),
    ("signal", {"source": "bureau\0score", "name": "x"}, Refusal.UNKNOWN_KIND),
    ("signal", {"status": "odd"}, Refusal.UNKNOWN_KIND),
    ("signal", {"status": "empty", "value": None}, Refusal.NONE),
    ("signal", {"status": "ok", "value": None}, Refusal.MISSING_FIELD),
    ("loan", {"step": "melted"}, Refusal.UNKNOWN_KIND),
    ("loan", {"step": "due"}, Refusal.MISSING_FIELD),
    ("loan", {"step": "due", "due_at": 5}, Refusal.NONE),
    ("loan", {"step": "due", "due_at": 0}, Refusal.OUT_OF_RANGE),
    ("loan", {"step": "payment", "decision": None}, Refusal.NONE),
    ("loan", {"step": "disburse_failed", "decision": None}, Refusal.MISSING_FIELD),
    ("loan", {"issuer": "another bank", "decision": None}, Refusal.NONE),
    ("loan", {"fee_cents": -1}, Refusal.OUT_OF_RANGE),
    ("line", {"action": "thaw"}, Refusal.UNKNOWN_KIND),
    ("line", {"issuer": "another bank"}, Refusal.UNKNOWN_KIND),
    ("line", {"limit_cents": 0}, Refusal.OUT_OF_RANGE),
    ("line", {"limit_cents": 10**14 + 1}, Refusal.OUT_OF_RANGE),
    ("line", {"action": "freeze", "limit_cents": None}, Refusal.NONE),
    ("line", {"action": "close", "limit_cents": -1}, Refusal.OUT_OF_RANGE),
    ("line", {"line": "no line"}, Refusal.NONE),
    ("line", {"amount_cents": -5}, Refusal.NONE),
    ("grant", {"institution": "nobody"}, Refusal.UNKNOWN_KIND),
    ("grant", {"cap": "daily"}, Refusal.UNKNOWN_KIND),
    ("grant", {"partition": 2**31}, Refusal.OUT_OF_RANGE),
    ("grant", {"segment": 61, "day": 20_000, "part_ppm": 1_000_000}, Refusal.NONE),
    ("grant", {"segment": 62}, Refusal.OUT_OF_RANGE),
    ("recall", {"part_ppm": 0}, Refusal.OUT_OF_RANGE),
    ("recall", {"part_ppm": 1_000_001}, Refusal.OUT_OF_RANGE),
    ("tick", {"seq": 0}, Refusal.OUT_OF_RANGE),
    ("tick", {"seq": None, "at": -1}, Refusal.MISSING_FIELD),
]


@pytest.mark.parametrize(("kind", "changes", "refusal"), CHANGED)
def test_rules_on_fields(kind: str, changes: dict[str, Any], refusal: Refusal) -> None:
    """Text table: the first refusal in the order of schema.Refusal stands; so says the twin."""
    value = _bytes(kind, changes)
    batch = decoded([value])
    assert Refusal(batch.events[0]["refusal"]) == refusal
    assert not differing(event_fields(batch, 0), event_of(value))


def test_a_refused_row_points_at_its_text() -> None:
    """A text that is too long or unknown is pointed at by its first byte in the record."""
    value = _bytes("activity", {"kind": "sleep"})
    assert decoded([value]).events[0]["position"] == value.index(b"sleep")


def test_every_cut_of_a_record_is_refused() -> None:
    """A record cut at any byte is malformed, and the next one is read as if it had not been
    there.
    """
    whole = _bytes("application")
    cuts = [whole[:length] for length in range(1, len(whole))]
    batch = decoded([*cuts, whole])
    rows = len(cuts)
    assert set(batch.events["refusal"][:rows].tolist()) == {Refusal.MALFORMED}
    assert not differing(event_fields(batch, rows), event_of(whole))


def test_a_megabyte_record_is_read_or_refused() -> None:
    """A megabyte in a field nobody knows is read; in an id it is too long, escaped or not."""
    long = "x" * 1_000_000
    for text, lane in ((long, Lane.FAST), ("\\n" + long, Lane.SLOW)):
        assert _one(_text(f',"note":"{text}"')) == (lane, Refusal.NONE)
        assert _one(f'{{"type":"{text}"}}'.encode()) == (lane, Refusal.TOO_LONG)


def test_a_batch_full_of_escapes_has_room_for_their_text() -> None:
    """However a batch is filled, the slow lane refuses no row for lack of room."""
    value = _bytes("cancel", {"id": "1"}).replace(b'"1"', b'"\\/' + b"y" * 37 + b'"')
    value = value.replace(b"not a decision", b"\\n" + b"x" * 60)
    batch = make_batch(Limits(batch_bytes=5_000_000 + 8, batch_rows=64_000))
    batch = batch._replace(data=batch.data[: 2 * len(value) * 50 + 2])
    rows = 0
    while append_record(batch, rows, None, value):
        rows += 1
    assert rows == 50
    decode(SYMBOLS, FIELDS, batch, lambda _record, _offset: True)
    assert set(batch.events["refusal"][:rows].tolist()) == {Refusal.NONE}
    assert event_fields(batch, 0)["id"] == b"/" + b"y" * 37


def test_floats_are_those_of_orjson() -> None:
    """Any number of up to 15 digits, point anywhere, is read in the fast lane to the same bits."""
    generator = np.random.default_rng(7)
    values = []
    for digits in range(1, 16):
        for point in range(digits + 1):
            whole = str(generator.integers(10 ** (digits - 1), 10**digits))
            values.append((whole[:point] or "0") + ("." + whole[point:] if point < digits else ""))
    values += ["0", "0.0", "0.1", "0.000000000000001", "999999999999999", "-1.5"]
    values = [v for v in values if v == "0" or not (v[0] == "0" and v[1] != ".")]
    batch = batch_of([f'{{"value":{value}}}'.encode() for value in values])
    assert scan(SYMBOLS, batch, 0, int(batch.used[0])) == 0
    for row, value in enumerate(values):
        assert raw_fields(batch, row)["value"] == float(value)


def test_signatures_are_asked_for_what_moves_time_or_money() -> None:
    """`verify` sees bytes and offset of each control event and of each loan or line event of ours
    that is not refused; its word is kept.
    """
    tick, bad = _bytes("tick"), _bytes("tick", {"seq": 0})
    ours, other = _bytes("loan", {"issuer": "dawn"}), _bytes("loan", {"issuer": "elsewhere"})
    line = _bytes("line")
    batch = batch_of([_bytes("activity"), tick, bad, _bytes("grant"), ours, other, line])
    seen: list[tuple[bytes, int]] = []

    def verify(record: bytes, offset: int) -> bool:
        seen.append((record, offset))
        return record in {tick, ours, line}

    decode(SYMBOLS, FIELDS, batch, verify)
    assert seen == [(tick, 1), (_bytes("grant"), 3), (ours, 4), (line, 6)]
    assert batch.events["signature_ok"][:7].tolist() == [0, 1, 0, 0, 1, 0, 1]


def test_codes_of_steps_are_their_enum() -> None:
    """Each step of a loan, and each action on a line, gets the code that its enum states."""
    for action in LineAction:
        value = _bytes("line", {"action": action.name.lower()})
        assert decoded([value]).events[0]["step"] == action
    for step in LoanStep:
        value = _bytes("loan", {"step": step.name.lower(), "due_at": 9})
        assert decoded([value]).events[0]["step"] == step
