"""Which field of a refused record is at fault, and where."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.codec.fault import Fault, find_fault
from streams.schema import Refusal
from tests.streams.codec.test_decode import CHANGED, SAMPLES, _bytes

_NAMED = {Refusal.MISSING_FIELD, Refusal.OUT_OF_RANGE, Refusal.MISTYPED}
_ROWS = [row for row in CHANGED if row[2] in _NAMED and len(row[1]) == 1]


@pytest.mark.parametrize(("kind", "changes", "refusal"), _ROWS)
def test_the_field_that_was_changed_is_named(
    kind: str, changes: dict[str, object], refusal: Refusal
) -> None:
    """Each row of the text table of fields: what was changed is what is named, and where it stands
    its value begins.
    """
    value = _bytes(kind, changes)
    fault = find_fault(value, refusal)
    (name,) = changes
    assert fault.field in {name, {"status": "value", "step": "due_at"}.get(name, name)}
    if refusal == Refusal.MISSING_FIELD:
        assert fault.position == -1
    else:
        assert value[fault.position :].startswith(
            json.dumps(changes[name], separators=(",", ":")).encode()[:15]
        )


def test_every_field_that_is_needed_is_named_when_missing() -> None:
    """Of each type each needed field, left out alone, is the one named."""
    for kind, fields in SAMPLES.items():
        for name in fields:
            if name in {"id", "at", "applicant"} and kind not in {"tick", "grant", "recall"}:
                value = _bytes(kind, {name: None})
                assert find_fault(value, Refusal.MISSING_FIELD) == Fault(name)


def test_a_field_that_stands_twice_is_the_last() -> None:
    """The last one counts, so the last one is at fault."""
    value = b'{"type":"activity","amount_cents":1,"amount_cents" : -5}'
    assert find_fault(value, Refusal.OUT_OF_RANGE) == Fault("amount_cents", value.index(b"-5"))


@given(st.binary(max_size=80) | st.sampled_from([b"{}", b"[]", b'{"type":[1]}']))
def test_any_bytes_have_a_fault_or_none(value: bytes) -> None:
    """Whatever the bytes and the reason, there is an answer."""
    for refusal in Refusal:
        assert find_fault(value, refusal).position < max(len(value), 1)
