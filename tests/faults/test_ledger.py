"""What `make faults` counts with: requests, decisions, and records of two dumps."""

import orjson
import pytest

from tests.faults.ledger import Ledger
from tests.faults.verify import differing


def _decision(request: str) -> bytes:
    return orjson.dumps({"applicant": "p", "request": request})


def test_what_is_not_decided_is_lost_and_what_is_decided_twice_counts() -> None:
    """A request without a decision is lost, a second decision on one is a duplicate."""
    ledger = Ledger(1)
    for request in ("a", "b", "c"):
        ledger.sent(("p", request), 0.0)
    for offset, request in enumerate(("a", "b", "b")):
        ledger.on_decision(0, offset, _decision(request), 1.0)
    assert (ledger.requests, ledger.lost, ledger.duplicated) == (3, 1, 1)


def test_the_worst_gap_is_the_longest_wait() -> None:
    """A request that still waits counts with its wait so far."""
    ledger = Ledger(1)
    ledger.sent(("p", "a"), 0.0)
    ledger.sent(("p", "b"), 5.0)
    ledger.on_decision(0, 0, _decision("a"), 3.0)
    assert ledger.worst_gap_s(6.0) == pytest.approx(3.0)
    assert ledger.worst_gap_s(9.0) == pytest.approx(4.0)
    assert ledger.waits_since(6.0)
    assert not ledger.waits_since(5.0)


@pytest.mark.parametrize(
    ("live", "again", "count"),
    [
        ([b"a", b"b"], [b"a", b"b"], 0),
        ([b"a", b"x"], [b"a", b"b"], 1),
        ([b"a"], [b"a", b"b"], 1),
        ([b"a", b"b", b"b"], [b"a", b"b"], 1),
    ],
)
def test_a_record_lost_repeated_or_changed_differs(
    live: list[bytes], again: list[bytes], count: int
) -> None:
    """Each place where two dumps do not hold the same record counts once."""
    assert differing(live, again) == count
