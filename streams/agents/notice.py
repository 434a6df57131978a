"""What an applicant is told of a decision: words from the list of reasons, as one JSON record.

A pure function of the decision, so that a notice that is sent twice is the same bytes twice.
"""

from typing import Any

import orjson

from models.policy.reasons import REASONS, Reason
from streams.schema import Outcome

_REASONS = {reason.code: reason for reason in REASONS}
# Stands for every reason of fraud: codes, too, would teach whoever tests the defences.
_UNDISCLOSED = "not_verified"
_TERMS = ("amount_cents", "tenor_days", "apr_bps", "fee_cents", "expires_at")


def make_notice(decision: bytes) -> tuple[str, bytes] | None:
    """Return (decision id, notice) of a record of `dipper.decisions`; None where it is none.

    The notice: decision, applicant, institution (null where declined), type, outcome ("approved" or
    "declined"), reasons (codes as disclosed), the terms of an offer, and `text` in plain words.
    """
    try:
        record = orjson.loads(decision)
        outcome = Outcome[record["outcome"].upper()]
        told = _told([_REASONS[code] for code in record["reasons"]])
        notice = {
            "decision": record["id"],
            "applicant": record["applicant"],
            "institution": record.get("institution"),
            "type": record["type"],
            "outcome": "approved" if outcome is Outcome.APPROVED else "declined",
            "reasons": list(told),
            "text": _text(record, outcome, told),
        }
        if outcome is Outcome.APPROVED:
            notice |= {name: record[name] for name in _TERMS}
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None
    return str(record["id"]), orjson.dumps(notice)


def _told(reasons: list[Reason]) -> dict[str, str]:
    return {
        _UNDISCLOSED if reason.outcome is Outcome.FRAUD else reason.code: reason.told
        for reason in reasons
    }


def _text(record: dict[str, Any], outcome: Outcome, told: dict[str, str]) -> str:
    if outcome is Outcome.APPROVED:
        units, cents = divmod(record["amount_cents"], 100)
        return (
            f"{record['institution']} offers {units:,}.{cents:02d} for {record['tenor_days']} days "
            f"at {record['apr_bps'] / 100:.2f} % a year in all."
        )
    return " ".join(("Your request was declined.", *dict.fromkeys(told.values())))
