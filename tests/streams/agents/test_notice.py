"""Notices to applicants."""

import orjson
import pytest

from models.policy.reasons import REASONS
from streams.agents.app import Remembered
from streams.agents.notice import make_notice
from streams.schema import Outcome

_APPROVED = {
    "id": "0" * 32, "applicant": "a1", "request": "r1", "type": "application", "at": 1,
    "outcome": "approved", "institution": "dawn", "amount_cents": 123_456, "rate_bps": 900,
    "fee_cents": 0, "apr_bps": 1_234, "tenor_days": 30, "expires_at": 99, "reasons": [],
}  # fmt: skip


def _declined(outcome: Outcome, *reasons: str) -> bytes:
    return orjson.dumps(
        {
            "id": "1" * 32, "applicant": "a1", "request": "r1", "type": "drawdown", "at": 1,
            "outcome": outcome.name.lower(), "reasons": list(reasons),
        }
    )  # fmt: skip


def test_an_offer_is_told_with_its_terms() -> None:
    """An approved decision's notice names who lends, how much, how long and the all-in cost."""
    found = make_notice(orjson.dumps(_APPROVED))
    assert found is not None
    name, value = found
    notice = orjson.loads(value)
    assert name == notice["decision"] == "0" * 32
    assert (notice["outcome"], notice["institution"]) == ("approved", "dawn")
    assert (notice["amount_cents"], notice["apr_bps"], notice["expires_at"]) == (123_456, 1_234, 99)
    assert notice["text"] == "dawn offers 1,234.56 for 30 days at 12.34 % a year in all."


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.code)
def test_every_reason_has_words_and_fraud_none_of_its_own(reason: object) -> None:
    """A declined decision is told in the words of its reasons; fraud never by its code."""
    assert isinstance(reason, type(REASONS[0]))
    found = make_notice(_declined(reason.outcome, reason.code))
    assert found is not None
    notice = orjson.loads(found[1])
    assert (notice["outcome"], notice["institution"]) == ("declined", None)
    assert reason.told in notice["text"]
    if reason.outcome is Outcome.FRAUD:
        assert notice["reasons"] == ["not_verified"]
        assert reason.code.encode() not in found[1]
        assert b"fraud" not in found[1].lower()
    else:
        assert notice["reasons"] == [reason.code]


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b"junk", b'{"outcome":7,"reasons":[]}'])
def test_what_is_no_decision_gives_no_notice(value: bytes) -> None:
    """A record that is no decision is passed over, never guessed at."""
    assert make_notice(value) is None


def test_memory_of_ids_is_bounded() -> None:
    """The oldest id is forgotten first; one that is seen again stays."""
    known = Remembered(2)
    assert known.add("a")
    assert known.add("b")
    assert not known.add("a")
    assert known.add("c")  # b goes
    assert not known.add("a")
    assert known.add("b")
