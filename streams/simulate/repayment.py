"""The life of one loan after its disbursement: dues, payments, delay, write-off; drawn at once,
told over time.
"""

import random
from typing import Any, NamedTuple

from streams.limits import DAY_MS

WRITE_OFF_DAYS = 120
RECOVERY_DAYS = 31  # at the earliest: a recovery comes after the loan has counted as bad


class Terms(NamedTuple):
    """What was agreed. Money in cents; `pace` is how many days of the loan pass in one day of
    event time.
    """

    applicant: str
    loan: str
    issuer: str
    decision: str  # empty: another lender's loan
    principal_cents: int
    interest_cents: int
    tenor_days: int
    instalments: int
    pace: float


Planned = list[tuple[int, dict[str, Any]]]


def _step(terms: Terms, at: int, step: str, **fields: int) -> tuple[int, dict[str, Any]]:
    event: dict[str, Any] = {
        "type": "loan",
        "id": "",  # given when it is told
        "applicant": terms.applicant,
        "at": at,
        "loan": terms.loan,
        "issuer": terms.issuer,
        "step": step,
        **fields,
    }
    if terms.decision:
        event["decision"] = terms.decision
    return at, event


def _parts(total: int, count: int) -> list[int]:
    """Split an amount in equal parts; the remainder goes to the last."""
    part = total // count
    return [part] * (count - 1) + [total - part * (count - 1)]


def failed(terms: Terms, at: int) -> dict[str, Any]:
    """Return the event of a disbursement that did not go through."""
    return _step(terms, at, "disburse_failed")[1]


def plan(terms: Terms, at: int, *, bad: bool, risk: float, rng: random.Random) -> Planned:
    """Draw the loan's life from its disbursement at `at`: events with their times, in order of
    time.

    A good loan pays every instalment, at most 25 days late; a bad one stops paying at some
    instalment, and is written off `WRITE_OFF_DAYS` later unless part of it is recovered first.
    Each due is told at disbursement.
    """
    n = terms.instalments
    day = DAY_MS / terms.pace
    spacing = terms.tenor_days * day / n
    principals, interests = _parts(terms.principal_cents, n), _parts(terms.interest_cents, n)
    events = [_step(terms, at, "disbursed", principal_cents=terms.principal_cents)]
    stops_at = rng.randrange(n) if bad else n
    paid_at = at
    for k in range(n):
        due_at = at + int(spacing * (k + 1))
        money = {"principal_cents": principals[k], "interest_cents": interests[k]}
        events.append(_step(terms, at + 1 + k, "due", due_at=due_at, **money))
        if k < stops_at:
            paid_at = max(paid_at + 1, due_at + int(_delay_days(risk, rng) * day))
            events.append(_step(terms, paid_at, "payment", **money))
    if bad:
        first_missed = at + int(spacing * (stops_at + 1))
        if rng.random() < 0.3:
            part = (principals[stops_at] + 1) // 2
            when = max(first_missed + int((RECOVERY_DAYS + 40 * rng.random()) * day), paid_at + 1)
            events.append(_step(terms, when, "payment", principal_cents=part))
        lost_at = max(first_missed + int(WRITE_OFF_DAYS * day), paid_at + 1)
        events.append(_step(terms, lost_at, "written_off"))
    else:
        events.append(_step(terms, paid_at + 1, "closed"))
    events.sort(key=lambda planned: planned[0])
    return events


def _delay_days(risk: float, rng: random.Random) -> float:
    """Draw when an instalment is paid, in days after its due day; most pay in time, worse risks
    later.
    """
    if rng.random() < min(0.7, max(0.02, 0.14 + 0.12 * risk)):
        return min(25.0, rng.expovariate(1 / (4 + 2 * max(risk, 0.0))))
    return -3 * rng.random()
