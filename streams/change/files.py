"""Which files of a deployment a change touches, and whose they are."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from models.policy.platform import FEES_FILE
from streams.versions import VERSIONED_FILES, VERSIONED_FOLDERS, files_of

PLATFORM = "platform"  # who owns what is no institution's
INSTITUTIONS = "institutions"

Hashes = Mapping[str, str]
"""The hex sha256 of files by their path in the deployment; "" where none stands."""


def versioned(folder: Path) -> dict[str, str]:
    """Return every file of a deployment that has versions: what decides, and fees. Not keys, not
    people, not the record of changes.
    """
    return {str(path): sha256(folder / path) for path in files_of(folder)}


def sha256(path: Path) -> str:
    """Return the hex sha256 of a file, "" where none stands."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def changed(before: Hashes, after: Hashes) -> list[str]:
    """Return the paths whose contents differ, in order."""
    return sorted(p for p in {*before, *after} if before.get(p, "") != after.get(p, ""))


def owner(path: str) -> str:
    """Return the institution that a file belongs to, else `PLATFORM`."""
    parts = Path(path).parts
    return parts[1] if parts[0] == INSTITUTIONS and len(parts) > 2 else PLATFORM


def owners(paths: Iterable[str]) -> set[str]:
    """Return whose files these are."""
    return {owner(path) for path in paths}


def is_fees(path: str) -> bool:
    """Return whether the file is a contract between the platform and an institution."""
    return Path(path).name == FEES_FILE and owner(path) != PLATFORM


def outside(paths: Iterable[str]) -> Iterator[str]:
    """Yield paths that lead out of the deployment, or to what has no versions."""
    for path in paths:
        parts = Path(path).parts
        inside = parts and ".." not in parts and not Path(path).is_absolute()
        if not inside or (path not in VERSIONED_FILES and parts[0] not in VERSIONED_FOLDERS):
            yield path
