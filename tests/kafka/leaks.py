"""Search bytes for what must not stand in them, in every form in which it could."""

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path


def forms(secret: bytes) -> list[bytes]:
    """Return how a secret may look: as it is, in hexadecimal, in base64 at each of three places."""
    found = [secret, secret.hex().encode(), secret.hex().upper().encode()]
    for before in range(3):
        # The first and last digits hang on the neighbours; those between are the secret's own.
        whole = base64.b64encode(b"\0" * before + secret).rstrip(b"=")
        cut = whole[(before * 8 + 5) // 6 : len(whole) - 1]
        found += [cut, cut.replace(b"+", b"-").replace(b"/", b"_")]
    return found


def leaks(secrets: Mapping[str, bytes], places: Mapping[str, bytes]) -> set[tuple[str, str]]:
    """Return which secret stands in which place, both by name."""
    sought = {name: forms(secret) for name, secret in secrets.items()}
    return {
        (name, place)
        for place, data in places.items()
        for name, looks in sought.items()
        if any(look in data for look in looks)
    }


def files_under(*folders: Path) -> dict[str, bytes]:
    """Return the bytes of all files under some folders, by path."""
    paths: Iterable[Path] = (path for folder in folders for path in sorted(folder.rglob("*")))
    return {str(path): path.read_bytes() for path in paths if path.is_file()}
