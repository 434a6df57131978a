"""One refusal for those who read it: the applicant's words as a notice, the regulator's figures."""

from typing import Any

import orjson

from streams.reasons.refusals import Refusal
from streams.reasons.texts import LANGUAGES

KIND = "reasons"


def for_applicant(refusal: Refusal, applicant: str) -> dict[str, Any]:
    """Return what the applicant is told: who refused, and why, in every language. No score, no
    value, no rule.
    """
    return {
        "kind": KIND,
        "decision": refusal.decision,
        "applicant": applicant,
        "institution": refusal.institution,
        "outcome": "declined",
        "reasons": [cause.code for cause in refusal.causes],
        "text": {lang: [cause.text[lang] for cause in refusal.causes] for lang in LANGUAGES},
    }


def for_regulator(refusal: Refusal) -> dict[str, Any]:
    """Return what a regulator is told besides: hashes of what decided, the probability of default,
    and for each theme of a score what its features added to it, with their values.
    """
    return {
        "decision": refusal.decision,
        "institution": refusal.institution,
        "at": refusal.at,
        "outcome": refusal.outcome,
        "policy": refusal.policy,
        "policy_sha256": refusal.policy_sha256,
        "model": refusal.model,
        "model_sha256": refusal.model_sha256,
        "pd_ppm": refusal.pd_ppm,
        "reasons": [
            {
                "code": cause.code,
                "own": cause.own,
                "text": dict(cause.text),
                "features": {
                    name: {"contribution": part, "value": value}
                    for name, (part, value) in cause.parts.items()
                },
            }
            for cause in refusal.causes
        ],
    }


def as_notice(refusal: Refusal, applicant: str) -> tuple[str, bytes]:
    """Return (id, record) for `dipper.notices`; sent twice it is the same bytes twice."""
    return f"{refusal.decision}/{refusal.institution}", orjson.dumps(
        for_applicant(refusal, applicant)
    )
