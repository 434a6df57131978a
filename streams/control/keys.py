"""Ed25519 keys of control events: made once, private where control runs, public in every config
folder.
"""

import os
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from streams.control.records import split_signature
from streams.errors import DipperError

PRIVATE_NAME = "control.key"
PUBLIC_NAME = "control.pub"
_PRIVATE_MODE = 0o600
_OTHERS = 0o077

Verify = Callable[[bytes], bool]


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
    key = Ed25519PrivateKey.generate()
    # Created with its mode, not changed to it afterwards: at no time may others read it.
    handle = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_MODE)
    with os.fdopen(handle, "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private, public


def load_private_key(folder: Path) -> Ed25519PrivateKey:
    """Return the private key of the config folder; `DipperError` where missing, wrong or open
    to others.
    """
    path = folder / "keys" / PRIVATE_NAME
    data = _read(path, "dipper control init")
    if path.stat().st_mode & _OTHERS:
        raise DipperError(f"{path} can be read by others; run: chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise DipperError(f"{path} is no private key in PEM form without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise DipperError(f"{path} is no Ed25519 key; make one with dipper control init")
    return key


def load_public_key(folder: Path) -> Ed25519PublicKey:
    """Return the public key of the config folder; `DipperError` where it is missing or wrong."""
    path = folder / "keys" / PUBLIC_NAME
    data = _read(path, "dipper control init")
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DipperError(f"{path} is no public key in PEM form") from error
    if not isinstance(key, Ed25519PublicKey):
        raise DipperError(f"{path} is no Ed25519 key; make one with dipper control init")
    return key


def verifier(key: Ed25519PublicKey) -> Verify:
    """Return a function that tells whether a control event, as bytes, bears this key's
    signature.
    """

    def verify(value: bytes) -> bool:
        parts = split_signature(value)
        if parts is None:
            return False
        body, signature = parts
        try:
            key.verify(signature, body)
        except InvalidSignature:
            return False
        return True

    return verify


def _read(path: Path, command: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        why = error.strerror or "unreadable"
        raise DipperError(f"{path}: {why}; make the keys with {command} DIR") from error
