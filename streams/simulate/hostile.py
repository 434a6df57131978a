"""Records that must not get through: broken, forged, stale or repeated, each kind by name."""

import random
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from streams.limits import AHEAD_MS_MAX, LATE_MS_MAX, SECOND_MS

_OFFERS_KEPT = 1_024
_RECENT = 8  # within the last 16 ids of an applicant, whoever the neighbours are

# Kinds that are one edit of an honest application.
_EDITS: dict[str, tuple[str, Any]] = {
    "missing_field": ("amount_cents", None),
    "mistyped": ("amount_cents", "ten"),
    "negative": ("amount_cents", -1),
    "overflow": ("amount_cents", 10**18),
    "unknown_type": ("type", "wish"),
    "unknown_product": ("product", "free_money"),
    "unknown_channel": ("channel", "back_door"),
    "id_too_long": ("id", "i" * 41),
    "no_applicant": ("applicant", None),
}
_BYTES = ("broken_json", "truncated", "junk", "megabyte", "not_a_number", "infinity", "array")
_KEYS = ("empty", "null", "no_key", "wrong_key", "unsigned_tick", "unsigned_grant")
_TIMES = ("far_ahead", "too_old")
_OFFERS = ("accept_unknown", "accept_expired")
DUPLICATE = "duplicate"

FILE_KINDS = (*_EDITS, *_BYTES, *_TIMES, *_OFFERS, DUPLICATE)
KINDS = (*FILE_KINDS, *_KEYS)

Sent = tuple[bytes | None, bytes | None, str]


class Hostile:
    """Follows honest records and now and then adds a hostile one; `share` is that of all records,
    in 0..0.5.

    A file has no keys and takes a record a line: `for_file` leaves out what it cannot hold.
    """

    def __init__(self, seed: int, share: float, *, for_file: bool) -> None:
        assert 0 <= share <= 0.5, "at most every second record is hostile"
        self._rng = random.Random(f"{seed}:hostile")
        self._chance = share / (1 - share)
        self._kinds = FILE_KINDS if for_file else KINDS
        self._for_file = for_file
        self._made = 0
        self._recent: deque[tuple[bytes | None, bytes | None]] = deque(maxlen=_RECENT)
        self._offers: deque[tuple[str, str, int]] = deque(maxlen=_OFFERS_KEPT)

    def offer_left(self, applicant: str, decision: str, expires_at: int) -> None:
        """Remember an offer that its applicant lets expire, to accept it too late."""
        self._offers.append((applicant, decision, expires_at))

    def after(
        self, key: bytes | None, value: bytes | None, event: Mapping[str, Any]
    ) -> Iterator[Sent]:
        """Yield the hostile records that follow an honest one: most often none."""
        if event["type"] != "loan":  # once its loan is closed a repeated loan event is a stranger
            self._recent.append((key, value))
        if self._rng.random() >= self._chance:
            return
        # Kinds take turns, so that a short run shows them all.
        kind = self._kinds[self._made % len(self._kinds)]
        self._made += 1
        yield (*self._make(kind, event["applicant"], event["at"]), kind)

    def _make(self, kind: str, applicant: str, at: int) -> tuple[bytes | None, bytes | None]:
        key = applicant.encode()
        if kind == DUPLICATE and self._recent:
            return self._recent[self._rng.randrange(len(self._recent))]
        if kind in _OFFERS:
            return self._accept(kind, applicant, at)
        if kind in _BYTES:
            return key, self._bytes(kind, applicant, at)
        if kind in _KEYS:
            return self._keys(kind, applicant, at)
        event = self._application(applicant, at)
        if kind in _EDITS:
            field, value = _EDITS[kind]
            if value is None:
                del event[field]
            else:
                event[field] = value
        elif kind == "far_ahead":
            event["at"] = at + 12 * AHEAD_MS_MAX
        elif kind == "too_old":
            event["at"] = max(1, at - LATE_MS_MAX - 3_600 * SECOND_MS)
        return key, orjson.dumps(event)

    def _application(self, applicant: str, at: int) -> dict[str, Any]:
        return {
            "type": "application",
            "id": f"h{self._made}",
            "applicant": applicant,
            "at": at,
            "product": "cash_line",
            "channel": "app",
            "amount_cents": 100_000,
            "tenor_days": 30,
        }

    def _bytes(self, kind: str, applicant: str, at: int) -> bytes:
        event = self._application(applicant, at)
        whole = orjson.dumps(event)
        if kind == "broken_json":
            return whole.replace(b":", b"=", 1)
        if kind == "truncated":
            return whole[: self._rng.randrange(1, len(whole))]
        if kind == "junk":
            junk = bytes(self._rng.randrange(128, 256) for _ in range(60))
            return b"\x00\xff" + junk
        if kind == "megabyte":
            event["id"] = "m" * 1_000_000
            return orjson.dumps(event)
        if kind == "array":
            return b"[" + whole + b"]"
        number = b"NaN" if kind == "not_a_number" else b"Infinity"
        return whole.replace(b"100000", number, 1)

    def _keys(self, kind: str, applicant: str, at: int) -> tuple[bytes | None, bytes | None]:
        key = applicant.encode()
        if kind == "empty":
            return key, b""
        if kind == "null":
            return key, None
        if kind == "no_key":
            return None, orjson.dumps(self._application(applicant, at))
        if kind == "wrong_key":
            return key + b"-not", orjson.dumps(self._application(applicant, at))
        control: dict[str, Any] = {"type": "tick", "partition": 0, "seq": 10**9, "at": at}
        if kind == "unsigned_grant":
            control = {
                "type": "grant", "partition": 0, "seq": 10**9, "institution": "dawn",
                "cap": "outstanding", "amount_cents": 10**9,
            }  # fmt: skip
        return None, orjson.dumps(control)

    def _accept(self, kind: str, applicant: str, at: int) -> tuple[bytes | None, bytes | None]:
        decision = f"{self._rng.getrandbits(128):032x}"
        # Ticks hang back behind events: only an offer that ended a while ago is surely expired.
        if kind == "accept_expired" and self._offers and self._offers[0][2] + 60_000 < at:
            applicant, decision, _ = self._offers.popleft()
        event = {
            "type": "accept",
            "id": f"h{self._made}",
            "applicant": applicant,
            "at": at,
            "decision": decision,
        }
        return applicant.encode(), orjson.dumps(event)
