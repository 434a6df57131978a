"""Stage 2 in plain Python: orjson, dicts and an if for each rule; nothing shared with the
kernels.

`Reader` knows a deployment's names and key; `read` and `event_of` are those of the small deployment
in `build.py`.
"""

import math
import re
from typing import Any

import orjson

from streams.codec.symbols import Vocabulary
from streams.schema import Cap, EventType, LineAction, LoanStep, Refusal
from tests.streams.codec.build import KEY, VOCABULARY
from tests.streams.codec.hash_twin import siphash

_TEXTS = [
    "type", "id", "applicant", "product", "channel", "line", "merchant", "decision", "kind",
    "counterparty", "source", "name", "status", "loan", "issuer", "step", "institution", "cap",
    "signature", "device", "phone", "id_doc", "bank_account", "version", "action",
]  # fmt: skip
_INTS = [
    "at", "amount_cents", "tenor_days", "principal_cents", "interest_cents", "fee_cents",
    "penalty_cents", "due_at", "partition", "seq", "segment", "day", "part_ppm", "limit_cents",
]  # fmt: skip
_NUMBERED = [name for name in _INTS if name != "limit_cents"]  # it stands as amount_cents
_NAMED = [
    "product", "channel", "kind", "signal", "status", "step", "issuer", "institution", "cap",
]  # fmt: skip
_TOKENS = ["device", "phone", "id_doc", "bank_account"]
_LOAN_MONEY = ["principal_cents", "interest_cents", "fee_cents", "penalty_cents"]
_PERSON = ["id", "applicant", "at"]
_PART = ["segment", "day", "part_ppm"]

# Type: fields that it needs, fields that it may have; an application also all attributes.
FIELDS_OF = {
    "application": (
        [*_PERSON, "product", "channel", "amount_cents", "tenor_days"],
        _TOKENS,
    ),
    "drawdown": ([*_PERSON, "line", "amount_cents", "tenor_days"], [*_TOKENS, "merchant"]),
    "accept": ([*_PERSON, "decision"], _TOKENS),
    "cancel": ([*_PERSON, "decision"], _TOKENS),
    "activity": ([*_PERSON, "kind"], [*_TOKENS, "amount_cents", "counterparty"]),
    "signal": ([*_PERSON, "source", "name"], [*_TOKENS, "value", "status"]),
    "loan": (
        [*_PERSON, "loan", "step"],
        [*_TOKENS, *_LOAN_MONEY, "due_at", "decision", "issuer"],
    ),
    "line": ([*_PERSON, "line", "action", "issuer"], [*_TOKENS, "limit_cents"]),
    "tick": (["partition", "seq", "at"], []),
    "grant": (["partition", "seq", "institution", "cap", "amount_cents"], _PART),
    "recall": (["partition", "seq", "institution", "cap", "amount_cents"], _PART),
    "prepare": (["partition", "seq", "version"], []),
    "activate": (["partition", "seq", "version"], []),
    "pause": (["partition", "seq", "institution"], []),
    "resume": (["partition", "seq", "institution"], []),
}
_RANGES = {
    "at": (1, 2**52),
    "due_at": (1, 2**52),
    "tenor_days": (1, 36_500),
    "partition": (0, 2**31 - 1),
    "seq": (1, 2**52),
    "segment": (0, 61),
    "day": (0, 2**52 // 86_400_000),
    "part_ppm": (1, 1_000_000),
    "limit_cents": (1, 10**14),
}


def _place(names: Any, text: bytes | None) -> int:
    """Return the place of `text` among `names`, -1: none."""
    encoded = [name.encode() for name in names]
    return encoded.index(text) if text in encoded else -1


def _refusal_of(kind: str, given: dict[str, Any], codes: dict[str, int]) -> Refusal:
    """Return the first refusal that applies to an event of a known type."""
    needed = list(FIELDS_OF[kind][0])
    if kind == "signal" and codes["status"] == 0:
        needed.append("value")
    if kind == "loan" and codes["step"] == LoanStep.DUE:
        needed.append("due_at")
    if kind == "loan" and codes["issuer"] >= 0:
        if codes["step"] in {LoanStep.DISBURSED, LoanStep.DISBURSE_FAILED}:
            needed.append("decision")
    if kind == "line" and codes["step"] == LineAction.LIMIT:
        needed.append("limit_cents")
    if any(name not in given for name in needed):
        return Refusal.MISSING_FIELD
    for name, content in given.items():
        if isinstance(content, bytes):
            if len(content) > (40 if name in {"id", "applicant"} else 64):
                return Refusal.TOO_LONG
    for name, content in given.items():
        if name in _INTS:
            low, high = _RANGES.get(name, (0, 10**14))
            if name == "amount_cents" and kind in {"application", "drawdown"}:
                low = 1
            if not low <= content <= high:
                return Refusal.OUT_OF_RANGE
    if codes.get("product") == -1:
        return Refusal.UNKNOWN_PRODUCT
    if codes.get("channel") == -1:
        return Refusal.UNKNOWN_CHANNEL
    if any(code == -1 for name, code in codes.items() if name != "issuer" or kind == "line"):
        return Refusal.UNKNOWN_KIND
    return Refusal.NONE


class Reader:
    """Reads records as a deployment with these names and this key does."""

    def __init__(self, names: Vocabulary, key: bytes) -> None:
        self.names = names
        self.key = key

    def read(self, value: bytes | None) -> tuple[Refusal, dict[str, Any]]:
        """Return why `value` is no record, or NONE and its known fields; text as bytes."""
        if not value:
            return Refusal.EMPTY, {}
        try:
            record = orjson.loads(value)
        except orjson.JSONDecodeError:
            return Refusal.MALFORMED, {}
        if not isinstance(record, dict):
            return Refusal.MALFORMED, {}
        fields: dict[str, Any] = {}
        for name, content in record.items():
            if content is None:
                continue
            if name in _TEXTS or name in self.names.categories:
                if not isinstance(content, str):
                    return Refusal.MISTYPED, {}
                fields[name] = content.encode()
            elif name in _INTS:
                too_large = isinstance(content, float) and abs(content) >= 2**63
                if type(content) is not int and not too_large:
                    return Refusal.MISTYPED, {}
                fields[name] = int(max(1 - 2**63, min(content, 2**63 - 1)))
            elif name == "value" or name in self.names.numbers:
                if type(content) not in {int, float}:
                    return Refusal.MISTYPED, {}
                fields[name] = float(content)
        return Refusal.NONE, fields

    def _codes(self, kind: str, given: dict[str, Any]) -> dict[str, int]:
        """Return the codes of the names that the type carries."""
        get = given.get
        if kind == "application":
            return {
                "product": _place(self.names.products, get("product")),
                "channel": _place(self.names.channels, get("channel")),
            }
        if kind == "activity":
            return {"kind": _place(self.names.kinds, get("kind"))}
        if kind == "signal":
            pairs = [f"{source}/{name}" for source, name in self.names.signals]
            pair = get("source", b"") + b"/" + get("name", b"")
            return {
                "signal": _place(pairs, pair) if b"/" not in get("source", b"") else -1,
                "status": _place(("ok", "empty", "error"), get("status", b"ok")),
            }
        if kind == "loan":
            steps = [step.name.lower() for step in LoanStep]
            return {
                "step": _place(steps, get("step")),
                "issuer": _place(self.names.institutions, get("issuer")),
            }
        if kind == "line":
            return {
                "step": _place([action.name.lower() for action in LineAction], get("action")),
                "issuer": _place(self.names.institutions, get("issuer")),
            }
        if kind in {"pause", "resume"}:
            return {"institution": _place(self.names.institutions, get("institution"))}
        if kind in {"grant", "recall"}:
            return {
                "institution": _place(self.names.institutions, get("institution")),
                "cap": _place([cap.name.lower() for cap in Cap], get("cap")),
            }
        return {}

    def _wide(self, message: bytes) -> tuple[int, int]:
        both = siphash(self.key, message, 16)
        return int.from_bytes(both[:8], "little"), int.from_bytes(both[8:], "little")

    def _hashes(self, kind: str, given: dict[str, Any]) -> dict[str, int]:
        """Return the hashes of an applicant's event."""
        who, which = given["applicant"], given["id"]
        found = {"applicant_hash": int.from_bytes(siphash(self.key, who, 8), "little")}
        found["key_lo"], found["key_hi"] = self._wide(bytes([len(who)]) + who + which)
        other = given.get("merchant", given.get("counterparty"))
        if other is not None:
            found["counterparty"] = int.from_bytes(siphash(self.key, other, 8), "little") >> 8 or 1
        if kind == "loan":
            issuer = given.get("issuer", b"")
            found["loan_lo"], found["loan_hi"] = self._wide(
                bytes([len(who)]) + who + bytes([len(issuer)]) + issuer + given["loan"]
            )
        return found

    def _reference(self, given: dict[str, Any]) -> dict[str, int]:
        """Return the decision, line or version that an event names."""
        named = next((given[n] for n in ("line", "decision", "version") if n in given), b"")
        if not re.fullmatch(rb"[0-9a-f]{32}", named):
            return {}
        return {"reference_hi": int(named[:16], 16), "reference_lo": int(named[16:], 16)}

    def _attributes(self, given: dict[str, Any]) -> list[float]:
        values = [math.nan] * 16
        for name, index in self.names.numbers.items():
            values[index] = given.get(name, math.nan)
        for name, (index, texts) in self.names.categories.items():
            code = _place(texts, given.get(name))
            values[index] = float(code) if code >= 0 else math.nan
        return values

    def event_of(self, value: bytes | None) -> dict[str, Any]:
        """Return what decode must give for `value`, by field of EVENT but lane and position."""
        refusal, fields = self.read(value)
        event: dict[str, Any] = dict.fromkeys(_NAMED, -1)
        event |= dict.fromkeys(
            [*_NUMBERED, "applicant_hash", "key_lo", "key_hi", "counterparty"], 0
        )
        event |= dict.fromkeys(["reference_lo", "reference_hi", "loan_lo", "loan_hi"], 0)
        event["counterparty"] = 0
        event |= {"type": 0, "refusal": refusal, "value": math.nan, "attributes": [math.nan] * 16}
        event |= {"applicant": b"", "id": b"", "signature_ok": 0}
        if refusal:
            return event
        kind = fields.get("type", b"").decode()
        if kind not in FIELDS_OF:
            event["refusal"] = Refusal.UNKNOWN_TYPE
            if not kind:
                event["refusal"] = Refusal.MISSING_FIELD
            elif len(fields["type"]) > 64:
                event["refusal"] = Refusal.TOO_LONG
            return event
        event["type"] = EventType[kind.upper()]
        carried = FIELDS_OF[kind][0] + FIELDS_OF[kind][1]
        if kind == "application":
            carried = [*carried, *self.names.categories, *self.names.numbers]
        given = {name: content for name, content in fields.items() if name in carried}
        given = {name: content for name, content in given.items() if content != b""}
        codes = self._codes(kind, given)
        event["refusal"] = _refusal_of(kind, given, codes)
        if event["refusal"]:
            return {"type": event["type"], "refusal": event["refusal"]}
        event |= codes
        event |= {name: given[name] for name in _NUMBERED if name in given}
        if kind == "line":
            event["amount_cents"] = given.get("limit_cents", 0)
        event["value"] = given.get("value", math.nan)
        if kind == "application":
            event["attributes"] = self._attributes(given)
        event |= self._reference(given)
        if event["type"] >= EventType.TICK:
            event["signature_ok"] = 1
        else:
            event |= {"applicant": given["applicant"], "id": given["id"]}
            event |= self._hashes(kind, given)
            # The twin's readers call every signature good.
            event["signature_ok"] = int(kind in {"loan", "line"} and event["issuer"] >= 0)
        return event


_SMALL = Reader(VOCABULARY, KEY)
read, event_of = _SMALL.read, _SMALL.event_of
