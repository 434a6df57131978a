"""Control events as bytes, and their order in each partition."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.control.records import (
    ControlLog,
    Position,
    Share,
    first_shares,
    grant,
    read_position,
    signed,
    split_signature,
    tick,
)
from streams.schema import CAPS, Cap

_CAPS = {
    "north": {Cap.OUTSTANDING: 11, Cap.COMMITMENT: 2},
    "dawn": {Cap.COMMITMENT: 5},
    "empty": {},
}


def _no_sign(body: bytes) -> bytes:
    return bytes(64)


def test_records_are_the_documented_bytes() -> None:
    """Fields stand in fixed order without blanks, the signature last."""
    assert tick(3, 7, 1_700_000_000_000) == (
        b'{"type":"tick","partition":3,"seq":7,"at":1700000000000}'
    )
    assert grant(0, 1, Share("dawn", Cap.OUTSTANDING, 500)) == (
        b'{"type":"grant","partition":0,"seq":1,"institution":"dawn","cap":"outstanding",'
        b'"amount_cents":500}'
    )
    record = signed(tick(0, 1, 2), _no_sign)
    assert record == b'{"type":"tick","partition":0,"seq":1,"at":2,"signature":"%s"}' % (
        b"A" * 86 + b"=="
    )
    assert split_signature(record) == (tick(0, 1, 2)[:-1], bytes(64))


@pytest.mark.parametrize("end", ["AB==", "Af==", "AA=", "AA", "AA==="])
def test_a_signature_has_one_form(end: str) -> None:
    """What decodes to the same bytes and is not written as `signed` writes it is no signature."""
    record = signed(tick(0, 1, 2), _no_sign)
    assert record.endswith(b'AA=="}')
    assert split_signature(record[: -len(b'AA=="}')] + end.encode() + b'"}') is None


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.dictionaries(st.sampled_from(Cap), st.integers(0, 10**14)),
        max_size=5,
    ),
    st.integers(1, 9),
)
def test_shares_add_up_to_every_cap(caps: dict[str, dict[Cap, int]], partitions: int) -> None:
    """No cap is granted beyond or short of itself, and shares differ by one minor unit at most."""
    shares = first_shares(caps, partitions)
    for institution, amounts in caps.items():
        for cap in Cap:
            parts = [
                sum(s.amount_cents for s in each if (s.institution, s.cap) == (institution, cap))
                for each in shares
            ]
            assert sum(parts) == amounts.get(cap, 0)
            assert max(parts) - min(parts) <= 1
            assert parts == sorted(parts, reverse=True)
    assert all(len(each) <= len(caps) * CAPS for each in shares)


def test_every_partition_gets_its_grants_then_ticks_in_sequence() -> None:
    """Sequence numbers run 1, 2, 3 … in each partition: grants by institution and cap, then
    ticks.
    """
    log = ControlLog(_no_sign, _CAPS, [Position()] * 2)
    entries = [*log.grants(), *log.ticks(10), *log.ticks(20)]
    for partition in range(2):
        records = [orjson.loads(e.value) for e in entries if e.partition == partition]
        assert [r["seq"] for r in records] == list(range(1, len(records) + 1))
        assert all(r["partition"] == partition for r in records)
        assert [r.get("institution", r.get("at")) for r in records] == [
            "dawn", "north", "north", 10, 20,
        ]  # fmt: skip
    assert log.positions == [Position(5, 20)] * 2


def test_time_never_goes_back() -> None:
    """A tick that is not after the last one of a partition is not written there."""
    log = ControlLog(_no_sign, {}, [Position(4, 100), Position(3, 50)])
    assert [e.partition for e in log.ticks(100)] == [1]
    assert list(log.ticks(99)) == []
    assert [e.partition for e in log.ticks(101)] == [0, 1]


@given(st.integers(0, 3))
def test_a_restart_amid_the_grants_writes_the_rest_only(done: int) -> None:
    """Whatever number of grants stands already, a restart ends with the same log."""
    whole = [e.value for e in ControlLog(_no_sign, _CAPS, [Position()]).grants()]
    rest = [e.value for e in ControlLog(_no_sign, _CAPS, [Position(done)]).grants()]
    assert rest == whole[done:]


def test_no_grant_follows_a_tick() -> None:
    """Grants are given once: new caps at a restart grant nothing."""
    assert list(ControlLog(_no_sign, _CAPS, [Position(1, 10)]).grants()) == []


def test_position_is_read_from_control_events_alone() -> None:
    """What is no JSON object with a sequence number has no position."""
    assert read_position(tick(0, 9, 5)) == Position(9, 5)
    assert read_position(grant(0, 2, Share("dawn", Cap.OUTSTANDING, 1))) == Position(2, 0)
    for value in (b"", b"[]", b"{", b'{"seq":"1"}', b"{}"):
        assert read_position(value) is None
