"""Loan and line events of our institutions, signed by control: many under one signature.

An Ed25519 check takes some 60 µs, a hash one. So control signs a batch: the leaves of a binary tree
are hashes of the events, a node hashes its two children, the root is signed. Each event carries the
signature of the root and the hashes on its own way there; whoever checks needs no other record, and
checks each root once. A batch of one is a plain signature of its hash.

`"signature"` is base64 of: a version byte (1), the root's signature (64 bytes), then from the leaf
upwards one byte (1: the sibling stands left) and the sibling's hash (32 bytes) a level. Leaves and
nodes are hashed differently, so that no node passes for an event, and the signed text begins as no
control event can. Nothing here reads a clock, a file or a network.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence

import orjson

from streams.control.records import SIGNATURE_BYTES, SIGNATURE_FIELD, Sign, split_signature
from streams.errors import DipperError

BATCH_MAX = 256
"""Events under one signature: eight hashes each, some 450 bytes as base64."""

CheckRoot = Callable[[bytes, bytes], bool]
"""Whether a signature (64 bytes) holds for a text."""

_VERSION = b"\x01"
_HASH_BYTES = 32
_STEP_BYTES = 1 + _HASH_BYTES
_ROOT = b"dipper loans\0"


def _leaf(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_HASH_BYTES, person=b"loan event").digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.blake2b(left + right, digest_size=_HASH_BYTES, person=b"loan node").digest()


def sign_loans(records: Sequence[bytes], sign: Sign) -> list[bytes]:
    """Return the records (JSON objects with a field or more) with a signature as last field.

    1 to BATCH_MAX records; an odd one out goes up a level unpaired.
    """
    assert 1 <= len(records) <= BATCH_MAX
    level = [_leaf(record[:-1]) for record in records]
    paths = [b""] * len(records)
    places = list(range(len(records)))  # of each record's ancestor in the level
    while len(level) > 1:
        for n, place in enumerate(places):
            sibling = place ^ 1
            if sibling < len(level):
                paths[n] += bytes([sibling < place]) + level[sibling]
            places[n] = place // 2
        pairs = [level[k : k + 2] for k in range(0, len(level), 2)]
        level = [_node(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    head = _VERSION + sign(_ROOT + level[0])
    return [
        record[:-1] + SIGNATURE_FIELD + base64.b64encode(head + path) + b'"}'
        for record, path in zip(records, paths, strict=True)
    ]


def is_signed_loan(value: bytes, check: CheckRoot) -> bool:
    """Say whether the record is, byte for byte, one of a batch whose root `check` accepts."""
    parts = split_signature(value)
    if parts is None:
        return False
    body, proof = parts
    path = proof[len(_VERSION) + SIGNATURE_BYTES :]
    if proof[:1] != _VERSION or len(proof) < len(_VERSION) + SIGNATURE_BYTES:
        return False
    if len(path) % _STEP_BYTES or len(path) > _STEP_BYTES * BATCH_MAX.bit_length():
        return False
    found = _leaf(body)
    for at in range(0, len(path), _STEP_BYTES):
        sibling = path[at + 1 : at + _STEP_BYTES]
        if path[at] > 1:
            return False
        found = _node(sibling, found) if path[at] else _node(found, sibling)
    return check(proof[1 : 1 + SIGNATURE_BYTES], _ROOT + found)


def stamp(value: bytes | None, institution: str) -> tuple[bytes, bytes]:
    """Return key and record of what an institution says of a loan or line of its own, its issuer
    stamped.

    The record is written anew, so that a field that stands twice, or a signature of its own, is
    gone. `DipperError` with the reason where it is neither, or names another issuer.
    """
    try:
        event = orjson.loads(value or b"")
    except orjson.JSONDecodeError as error:
        raise DipperError("malformed") from error
    if not isinstance(event, dict):
        raise DipperError("malformed")
    if event.get("type") not in ("loan", "line"):
        raise DipperError("unknown_type")
    if event.get("issuer", institution) != institution:
        raise DipperError("not_yours")
    applicant = event.get("applicant")
    if not isinstance(applicant, str) or not applicant:
        raise DipperError("missing_field")
    event.pop("signature", None)
    return applicant.encode(), orjson.dumps({**event, "issuer": institution})
