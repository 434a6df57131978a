"""Control events as bytes, and in which order they go into each partition.

One form, written here only: the fields in fixed order without blanks, the signature last, so that
the signed bytes are the record up to `,"signature"`. The process on Kafka and a replay from a file
use the same `ControlLog`, which is why both give the same log. Nothing here reads a clock, a file
or a network.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import orjson

from streams.schema import Cap

Sign = Callable[[bytes], bytes]
# Per institution and cap an amount in minor units.
Caps = Mapping[str, Mapping[Cap, int]]

SIGNATURE_FIELD = b',"signature":"'
SIGNATURE_BYTES = 64  # of Ed25519


class Entry(NamedTuple):
    """One control event on its way into a partition; its key is null."""

    partition: int
    value: bytes


class Share(NamedTuple):
    """The part of one cap that a partition is granted.

    Where `part_ppm` is not 0 it is, instead of money, so much of a cap by day or segment: the place
    of that among those of its institution, and its day, 0 where it is none by day.
    """

    institution: str
    cap: Cap
    amount_cents: int
    segment: int = 0
    day: int = 0
    part_ppm: int = 0


def tick(partition: int, seq: int, at: int) -> bytes:
    """Return a tick without its signature; `at` is partition time from here on, in epoch
    milliseconds.
    """
    return b'{"type":"tick","partition":%d,"seq":%d,"at":%d}' % (partition, seq, at)


def grant(partition: int, seq: int, share: Share) -> bytes:
    """Return a grant of a lease, or of a part, without its signature."""
    part = b""
    if share.part_ppm:
        part = b',"segment":%d,"day":%d,"part_ppm":%d' % share[3:]
    return (
        b'{"type":"grant","partition":%d,"seq":%d,"institution":%s,"cap":"%s","amount_cents":%d%s}'
        % (
            partition,
            seq,
            orjson.dumps(share.institution),
            share.cap.name.lower().encode(),
            share.amount_cents,
            part,
        )
    )


class Command(NamedTuple):
    """What control is told to write into every partition, from its next record on.

    `verb` is `prepare` or `activate` with a version (32 hex digits), `pause` or `resume` with an
    institution.
    """

    verb: str
    what: str


CAP_COMMAND = "cap"  # for the treasury, by `dipper control cap` alone: `dawn outstanding 500000`
VERBS = {"prepare": "version", "activate": "version", "pause": "institution",
         "resume": "institution"}  # fmt: skip
_VERSION = re.compile(r"[0-9a-f]{32}")


def read_command(record: object) -> Command | None:
    """Return what a record such as `{"type":"pause","institution":"dawn"}` tells; None for any
    other: one with more fields is an event like any other, and refused like one.
    """
    match record:
        case {"type": str(verb), **rest} if rest.keys() == {VERBS.get(verb)}:
            what = rest[VERBS[verb]]
            if isinstance(what, str) and (VERBS[verb] != "version" or _VERSION.fullmatch(what)):
                return Command(verb, what)
    return None


def command(partition: int, seq: int, told: Command) -> bytes:
    """Return the control event of a command without its signature."""
    return b'{"type":"%s","partition":%d,"seq":%d,"%s":%s}' % (
        told.verb.encode(), partition, seq, VERBS[told.verb].encode(), orjson.dumps(told.what),
    )  # fmt: skip


def signed(record: bytes, sign: Sign) -> bytes:
    """Return the record with a signature of all its bytes before the closing brace as last
    field.
    """
    body = record[:-1]
    return body + SIGNATURE_FIELD + base64.b64encode(sign(body)) + b'"}'


def split_signature(value: bytes) -> tuple[bytes, bytes] | None:
    """Return (signed bytes, signature of any length), or None where none stands at its end.

    base64 can write the same bytes in several ways; only the one of `signed` is taken, so that
    nobody without the key can write a second record that counts as signed.
    """
    at = value.rfind(SIGNATURE_FIELD)
    if at < 0 or not value.endswith(b'"}'):
        return None
    text = value[at + len(SIGNATURE_FIELD) : -2]
    try:
        signature = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return (value[:at], signature) if base64.b64encode(signature) == text else None


def first_shares(caps: Caps, partitions: int) -> list[list[Share]]:
    """Cut every cap into one share a partition: equal parts, the remainder to the first partitions.

    Institutions in sorted order, caps in the order of `Cap`. A share of nothing is left out.
    """
    shares: list[list[Share]] = [[] for _ in range(partitions)]
    for institution in sorted(caps):
        for cap in Cap:
            part, rest = divmod(caps[institution].get(cap, 0), partitions)
            for partition in range(partitions):
                amount_cents = part + (1 if partition < rest else 0)
                if amount_cents:
                    shares[partition].append(Share(institution, cap, amount_cents))
    return shares


class Order(NamedTuple):
    """Grant or recall (`verb`) so much in one partition."""

    partition: int
    verb: str
    share: Share


class Position(NamedTuple):
    """How far control has come in one partition: its last `seq`, and the `at` of its last tick."""

    seq: int = 0
    at: int = 0


class ControlLog:
    """Numbers and signs what goes into each partition: its grants once, then ticks that only go
    forward.

    Takes how to sign, the caps, and one `Position` a partition (0, 0 at the very start). Grants
    stand before the first tick, so until then `seq` says which of them are still missing.
    """

    def __init__(self, sign: Sign, caps: Caps, positions: Sequence[Position]) -> None:
        self._sign = sign
        self._shares = first_shares(caps, len(positions))
        self.positions = list(positions)

    def grants(self) -> Iterator[Entry]:
        """Yield the grants that are not in the log yet."""
        for partition, shares in enumerate(self._shares):
            if self.positions[partition].at:
                continue
            for share in shares[self.positions[partition].seq :]:
                seq = self.positions[partition].seq
                self.positions[partition] = Position(seq + 1)
                yield Entry(partition, signed(grant(partition, seq + 1, share), self._sign))

    def orders(self, orders: Iterable[Order]) -> Iterator[Entry]:
        """Yield a grant or a recall for each order."""
        for partition, verb, share in orders:
            seq, at = self.positions[partition]
            self.positions[partition] = Position(seq + 1, at)
            record = grant(partition, seq + 1, share)
            if verb == "recall":
                record = record.replace(b'"grant"', b'"recall"', 1)
            yield Entry(partition, signed(record, self._sign))

    def again(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Yield those that the log does not hold yet: their numbers follow what it holds."""
        for entry in entries:
            place = read_position(entry.value)
            assert place is not None
            if place.seq == self.positions[entry.partition].seq + 1:
                at = self.positions[entry.partition].at
                self.positions[entry.partition] = Position(place.seq, at)
                yield entry

    def commands(self, told: Command) -> Iterator[Entry]:
        """Yield a command for each partition. Each may stand twice: a second one does nothing."""
        for partition, (seq, at) in enumerate(self.positions):
            self.positions[partition] = Position(seq + 1, at)
            yield Entry(partition, signed(command(partition, seq + 1, told), self._sign))

    def ticks(self, at: int) -> Iterator[Entry]:
        """Yield a tick for each partition whose time is before `at`; time never goes back."""
        for partition, (seq, last) in enumerate(self.positions):
            if at > last:
                self.positions[partition] = Position(seq + 1, at)
                yield Entry(partition, signed(tick(partition, seq + 1, at), self._sign))


def read_position(value: bytes) -> Position | None:
    """Return the `seq` of a control event, and its `at` where it is a tick; None for anything
    else.
    """
    try:
        record = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("seq"), int):
        return None
    at = record.get("at")
    return Position(record["seq"], at if isinstance(at, int) else 0)
