"""Ed25519 keys of control events: private where control runs, public in every config folder.

`keys/control.key` signs, `keys/control.pub` says what counts; `keys/retired.json` holds older
public keys, each with the offset in every partition up to which it counts.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from streams.control.loans import CheckRoot, is_signed_loan
from streams.control.records import SIGNATURE_BYTES, split_signature
from streams.errors import DipperError

PRIVATE_NAME = "control.key"
PUBLIC_NAME = "control.pub"
RETIRED_NAME = "retired.json"
_PRIVATE_MODE = 0o600
_OTHERS = 0o077

_ROOTS_KEPT = 4_096  # roots of signed batches whose check is remembered

Verify = Callable[[int, bytes, int], bool]
"""Whether a record counts as signed: its partition, its bytes, its offset."""


class Trusted(NamedTuple):
    """A public key and how long it counts: in each partition up to an offset; None: in use."""

    key: Ed25519PublicKey
    until: tuple[int, ...] | None = None

    @property
    def fingerprint(self) -> str:
        """The first 16 hex digits of the key's sha256."""
        return hashlib.sha256(_pem(self.key)).hexdigest()[:16]


def init_keys(folder: Path) -> tuple[Path, Path]:
    """Make a key pair in `folder`/keys; return the paths of the private and the public key.

    Raises `DipperError` where a key of either name stands there already: another key would make
    every control event in the log invalid.
    """
    keys = folder / "keys"
    private, public = keys / PRIVATE_NAME, keys / PUBLIC_NAME
    for path in (private, public):
        if path.exists():
            raise DipperError(f"{path} exists already; move it away first if a new key is wanted")
    keys.mkdir(parents=True, exist_ok=True)
    key = make_private_key(private)
    public.write_bytes(_pem(key.public_key()))
    return private, public


def make_private_key(path: Path) -> Ed25519PrivateKey:
    """Write a new private key where no file stands, readable by its owner alone; return it.

    Raises `OSError` where it cannot be written, `FileExistsError` where a file stands there.
    """
    key = Ed25519PrivateKey.generate()
    # Created with its mode, not changed to it afterwards: at no time may others read it.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_MODE)
    with os.fdopen(handle, "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    return key


def parse_private_key(data: bytes, path: Path, remedy: str) -> Ed25519PrivateKey:
    """Return the private key in the bytes of a file; `DipperError` where they are none. `remedy` is
    the command that makes one.
    """
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise DipperError(
            f"{path} is no private key in PEM form without a password; make one with {remedy}"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise DipperError(f"{path} is no Ed25519 key; make one with {remedy}")
    return key


def load_private_key(folder: Path) -> Ed25519PrivateKey:
    """Return the private key of the config folder; `DipperError` where missing, wrong or open
    to others.
    """
    path = folder / "keys" / PRIVATE_NAME
    data = _read(path, "dipper control init")
    if path.stat().st_mode & _OTHERS:
        raise DipperError(f"{path} can be read by others; run: chmod 600 {path}")
    return parse_private_key(data, path, "dipper control init")


def load_trusted(folder: Path) -> tuple[Trusted, ...]:
    """Return the public keys of the config folder, the one in use first; `DipperError` where one is
    missing or wrong.
    """
    path = folder / "keys" / PUBLIC_NAME
    current = Trusted(_public_key(_read(path, "dipper control init"), path))
    return (current, *_load_retired(folder / "keys" / RETIRED_NAME))


def trusted_bytes(folder: Path) -> bytes:
    """Return what says which signatures count, for the manifest; nothing where no key stands."""
    paths = (folder / "keys" / PUBLIC_NAME, folder / "keys" / RETIRED_NAME)
    return b"".join(path.read_bytes() for path in paths if path.exists())


def rotate_keys(folder: Path, ends: Sequence[int]) -> Trusted:
    """Put a new key pair in the place of the one in use; return the old one as it counts from now.

    `ends`: the offset after the last record of each partition. What the old key signs beyond is
    refused; what stands before goes on to count, so that history folds as it did. Control and
    workers must not run meanwhile, and all take the new public files before they start again.
    """
    load_private_key(folder)
    old = load_trusted(folder)[0]._replace(until=tuple(ends))
    keys = folder / "keys"
    retired = keys / RETIRED_NAME
    # The old key is trusted twice for a moment rather than not at all.
    _write_retired(retired, [old, *_load_retired(retired)])
    for name in (PRIVATE_NAME, PUBLIC_NAME):
        (keys / name).unlink()
    init_keys(folder)
    return old


def revoke_key(folder: Path, fingerprint: str, until: Sequence[int]) -> Trusted:
    """Let a key that was rotated out count up to other offsets only; return it.

    For a key that was stolen before it was rotated: what it signed from `until` on is refused by
    every fold and replay from now on, which is another history than what was decided then.
    """
    retired = folder / "keys" / RETIRED_NAME
    keys = list(_load_retired(retired))
    for place, key in enumerate(keys):
        if fingerprint and key.fingerprint.startswith(fingerprint):
            assert key.until is not None
            if len(until) != len(key.until):
                raise DipperError(f"{len(key.until)} offsets are needed, one a partition")
            bounds = (min(pair) for pair in zip(until, key.until, strict=True))
            keys[place] = key._replace(until=tuple(bounds))
            _write_retired(retired, keys)
            return keys[place]
    raise DipperError(f"{retired} has no key {fingerprint}; a key in use is rotated out first")


def verifier(keys: Iterable[Trusted]) -> Verify:
    """Return a function that tells whether a record of a partition, as bytes that stand at an
    offset, bears a signature of one of these keys: a control event, or a loan or line event of
    a batch.
    """
    checks = [(key.until, _checker(key.key)) for key in keys]

    def verify(partition: int, value: bytes, offset: int) -> bool:
        for until, (check, check_root) in checks:
            if until is not None and (partition >= len(until) or offset >= until[partition]):
                continue
            parts = split_signature(value)
            if parts is None:
                return False
            body, signature = parts
            if len(signature) == SIGNATURE_BYTES:
                good = check(signature, body)
            else:
                good = is_signed_loan(value, check_root)
            if good:
                return True
        return False

    return verify


def _checker(key: Ed25519PublicKey) -> tuple[CheckRoot, CheckRoot]:
    def check(signature: bytes, text: bytes) -> bool:
        try:
            key.verify(signature, text)
        except InvalidSignature:
            return False
        return True

    return check, lru_cache(maxsize=_ROOTS_KEPT)(check)


def _public_key(data: bytes, path: Path) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DipperError(f"{path} is no public key in PEM form") from error
    if not isinstance(key, Ed25519PublicKey):
        raise DipperError(f"{path} is no Ed25519 key; make one with dipper control init")
    return key


def _load_retired(path: Path) -> tuple[Trusted, ...]:
    if not path.exists():
        return ()
    try:
        rows = orjson.loads(path.read_bytes())
        return tuple(
            Trusted(_public_key(row["key"].encode(), path), tuple(int(n) for n in row["until"]))
            for row in rows
        )
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise DipperError(f"{path} is no list of retired keys; take it from a backup") from error


def _write_retired(path: Path, keys: Sequence[Trusted]) -> None:
    rows = [
        {"fingerprint": key.fingerprint, "until": key.until, "key": _pem(key.key).decode()}
        for key in keys
    ]
    scratch = path.with_suffix(".new")
    scratch.write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2) + b"\n")
    scratch.replace(path)


def _pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _read(path: Path, command: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        why = error.strerror or "unreadable"
        raise DipperError(f"{path}: {why}; make the keys with {command} DIR") from error
