"""A statement once more, in plain Python from the lines of the log and of its outputs: the oracle.

Shares no code with `streams.fees`: it reads TOML and JSON itself, keeps months by `zoneinfo`, and
rounds decimals.
"""

import base64
import tomllib
from collections import Counter
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson

DAY_MS = 86_400_000


def naive_total(
    institution: str, month: str, fees: Path, lines: dict[str, list[bytes]]
) -> tuple[int, dict[str, int]]:
    """Return the total in cents and its parts, from `lines` of events and of each output."""
    schedule = tomllib.loads(fees.read_text())
    zone = ZoneInfo(schedule["time_zone"])

    def month_of(at: int) -> str:
        return datetime.fromtimestamp(at / 1_000, zone).strftime("%Y-%m")

    counts: Counter[tuple[str, str]] = Counter()
    for each in map(orjson.loads, lines["decisions"]):
        if any(one["institution"] == institution for one in each["candidates"]):
            counts["judged", month_of(each["at"])] += 1
        counts["funded", month_of(each["at"])] += each.get("institution") == institution
    for each in map(orjson.loads, lines["funding"]):
        if (each["type"], each["institution"], each["cap"]) == ("draw", institution, "outstanding"):
            counts["drawn", month_of(each["at"])] += each["amount_cents"]
    refunds: list[tuple[str, str, float, int]] = []
    drawn_at: dict[tuple[str, str], int] = {}
    for each in _admitted(lines):
        if each["issuer"] != institution:
            continue
        name = (each["applicant"], each["loan"])
        here = month_of(each["at"])
        if each["step"] == "disbursed":
            drawn_at[name] = each["at"]
        elif each["step"] in {"payment", "refund"}:
            counts["interest", here] += each["interest_cents"]
        elif each["step"] == "reversal":
            counts["interest", here] -= each["interest_cents"]
        if each["step"] == "refund":
            days = (each["at"] - drawn_at[name]) / DAY_MS
            refunds.append((month_of(drawn_at[name]), here, days, each["principal_cents"]))
    return _total(schedule["terms"], month, counts, refunds)


def _admitted(lines: dict[str, list[bytes]]) -> list[dict[str, Any]]:
    """Loan events that count: those of the log less those in dead letters, each id once."""
    refused = Counter(orjson.loads(each)["value_base64"] for each in lines["dead-letters"])
    seen, found = set(), []
    for line in lines["events"]:
        event = orjson.loads(line) if line.startswith(b'{"type":"loan"') else None
        if event is None or refused[base64.b64encode(line).decode()]:
            continue
        key = (event["applicant"], event["id"])
        if key not in seen:
            seen.add(key)
            found.append(event)
    return found


def _terms(terms: list[dict[str, Any]], month: str) -> dict[str, Any]:
    return next(each for each in terms if each["from"] <= month <= each.get("until", "9999-12"))


def _half_up(value: Decimal) -> int:
    return int((value + Decimal("0.5")).to_integral_value(ROUND_FLOOR))


def _drawn_fee(terms: dict[str, Any], cents: int) -> int:
    fee = 0
    for tier in terms.get("drawn", []):
        top = min(cents, tier.get("up_to_cents", cents))
        if top > tier["above_cents"]:
            fee += _half_up(Decimal(top - tier["above_cents"]) * tier["bps"] / 10_000)
    return fee


def _total(
    all_terms: list[dict[str, Any]],
    month: str,
    counts: Counter[tuple[str, str]],
    refunds: list[tuple[str, str, float, int]],
) -> tuple[int, dict[str, int]]:
    terms = _terms(all_terms, month)
    parts = {
        "judged": counts["judged", month] * terms.get("judged_cents", 0),
        "funded": counts["funded", month] * terms.get("funded_cents", 0),
        "drawn": _drawn_fee(terms, counts["drawn", month]),
        "interest": _half_up(
            Decimal(counts["interest", month]) * terms.get("interest_bps", 0) / 10_000
        ),
        "back": 0,
    }
    for drawn_month in {each[0] for each in refunds}:
        then = _terms(all_terms, drawn_month)
        upto: list[int] = []
        for this in (False, True):
            cents = sum(
                each[3]
                for each in refunds
                if each[0] == drawn_month
                and (each[1] < month or (this and each[1] == month))
                and each[2] < then.get("clawback_days", 0)
            )
            drawn = counts["drawn", drawn_month]
            upto.append(_half_up(Decimal(cents) * _drawn_fee(then, drawn) / drawn))
        parts["back"] -= upto[1] - upto[0]
    total = sum(parts.values())
    return max(total, terms.get("minimum_cents", 0)) if "minimum_cents" in terms else total, parts
