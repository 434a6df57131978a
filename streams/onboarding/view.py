"""What an institution may see of a decision: its own verdict, and the terms where it funds.

Nothing of a rival is in it: not who else was asked, who was chosen instead, whether anybody was, at
what price. What tells of the platform's whole traffic stays out, too: places in the log and the
manifest, which changes with every policy. A decision in which it was not asked is not there.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from models.policy.reasons import REASONS
from streams.errors import DipperError
from streams.reasons.texts import NOT_VERIFIED
from streams.schema import Outcome
from streams.sources import KAFKA, open_source
from streams.topology import DECISIONS

_REQUEST = ("id", "applicant", "request", "type", "at", "product", "channel", "line")
_VERDICT = ("policy", "outcome", "pd_ppm", "apr_bps")
_TERMS = (
    "amount_cents", "rate_bps", "fee_cents", "tenor_days", "instalment_cents", "method",
    "expires_at",
)  # fmt: skip
_FRAUD = frozenset(reason.code for reason in REASONS if reason.outcome is Outcome.FRAUD)


def view(decision: Mapping[str, Any], institution: str) -> dict[str, Any] | None:
    """Return a decision record as `institution` may see it; None where it was not asked.

    `outcome` and `reasons` are those of its own verdict, fraud as `not_verified`: the platform's
    rules read what no institution may. `funded`: whether it lends; then the terms follow.
    """
    own = next(
        (each for each in decision["candidates"] if each["institution"] == institution), None
    )
    if own is None:
        return None
    funded = decision.get("institution") == institution
    seen = {name: decision[name] for name in _REQUEST if name in decision}
    seen |= {name: own[name] for name in _VERDICT}
    if own["outcome"] == Outcome.FRAUD.name.lower():
        seen["outcome"] = NOT_VERIFIED
    codes = (NOT_VERIFIED if code in _FRAUD else code for code in own["reasons"])
    seen |= {"institution": institution, "reasons": list(dict.fromkeys(codes)), "funded": funded}
    if funded:
        seen |= {name: decision[name] for name in _TERMS}
    return seen


def views(decisions: Iterable[Mapping[str, Any]], institution: str) -> Iterator[dict[str, Any]]:
    """Yield what the institution may see, decision by decision."""
    for decision in decisions:
        seen = view(decision, institution)
        if seen is not None:
            yield seen


def read_decisions(source: str) -> Iterator[dict[str, Any]]:
    """Yield the records of a decisions.jsonl, or of `kafka://HOST:PORT`; DipperError where it
    cannot be read.
    """
    if source.startswith(KAFKA):
        bootstrap = source.removeprefix(KAFKA).partition("/")[0]
        opened = open_source(f"{KAFKA}{bootstrap}/{DECISIONS.name}", None, {}, b"")
        lines: Iterable[bytes] = (placed.record.value or b"" for placed in opened.records())
    else:
        try:
            lines = Path(source).read_bytes().splitlines()
        except OSError as error:
            raise DipperError(f"{source}: cannot be read ({error.strerror})") from error
    for number, line in enumerate(lines, 1):
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise DipperError(f"{source}:{number} is no decision ({error})") from error
