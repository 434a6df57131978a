"""Where snapshots and archives stand: a folder, or an object store through fsspec.

A name either has all its bytes or does not exist: a folder gets them under another name first and
renames; an object store shows an object when its upload is complete.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from streams.errors import DipperError

Part = bytes | memoryview

_UNFINISHED = ".part"


class Store(Protocol):
    """Named bytes. Names are paths with `/`. Each method raises `OSError` where the store fails."""

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted; none where the folder does not exist."""

    def write(self, name: str, parts: Iterable[Part]) -> None:
        """Write a name, whole or not at all; what it held is replaced."""

    def size(self, name: str) -> int:
        """Return how many bytes stand under a name."""

    def read_into(self, name: str, at: int, data: memoryview) -> None:
        """Fill `data` from place `at`; several threads may read at once."""

    def remove(self, name: str) -> None:
        """Remove a name; nothing happens where it does not exist."""


def read_all(store: Store, name: str) -> bytes:
    """Return all bytes under a name."""
    data = bytearray(store.size(name))
    store.read_into(name, 0, memoryview(data))
    return bytes(data)


def open_store(url: str, **options: Any) -> Store:
    """Return the store at a folder's path, `file:///…`, or any URL that fsspec knows (`s3://…`).

    `options` go to fsspec, which also reads its own configuration and the environment. Raises
    `DipperError` where the URL names nothing that can be opened.
    """
    parts = urlsplit(url)
    if parts.scheme in {"", "file"}:
        return Folder(Path(parts.path if parts.scheme else url))
    import fsspec  # noqa: PLC0415 only who has an object store waits for it

    try:
        system, root = fsspec.core.url_to_fs(url, **options)
    except (ImportError, ValueError) as error:
        raise DipperError(f"{url} cannot be opened: {error}") from error
    return ObjectStore(system, root)


class Folder:
    """A store in a folder of this machine, or of a shared file system."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted; what was begun and not finished is none."""
        path = self._root / folder
        if not path.is_dir():
            return []
        found = (each.name for each in path.iterdir() if each.suffix != _UNFINISHED)
        return sorted(f"{folder}/{name}" for name in found)

    def write(self, name: str, parts: Iterable[Part]) -> None:
        """Write to another name, sync, rename, sync the folder."""
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}{_UNFINISHED}")
        try:
            # Applicants' history stands in it: nobody else may read it, not even while it grows.
            handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb", buffering=0) as file:
                for part in parts:
                    _write_whole(handle, part)
                os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def size(self, name: str) -> int:
        """Return how many bytes stand under a name."""
        return (self._root / name).stat().st_size

    def read_into(self, name: str, at: int, data: memoryview) -> None:
        """Fill `data` from place `at`."""
        handle = os.open(self._root / name, os.O_RDONLY)
        try:
            while data.nbytes:
                count = os.preadv(handle, [data], at)
                if count == 0:
                    raise EOFError(f"{self._root / name} ends at byte {at}")
                data, at = data[count:], at + count
        finally:
            os.close(handle)

    def remove(self, name: str) -> None:
        """Remove a name."""
        (self._root / name).unlink(missing_ok=True)


class ObjectStore:
    """A store behind an fsspec file system, such as s3fs."""

    def __init__(self, system: Any, root: str) -> None:
        self._system = system
        self._root = root.rstrip("/")

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted. Asked anew each time: others write there too."""
        self._system.invalidate_cache()
        try:
            found = self._system.ls(f"{self._root}/{folder}", detail=False)
        except FileNotFoundError:
            return []
        return sorted(path.removeprefix(f"{self._root}/") for path in found)

    def write(self, name: str, parts: Iterable[Part]) -> None:
        """Upload; the object appears when the last part has arrived, or not at all."""
        file = self._system.open(f"{self._root}/{name}", "wb")
        try:
            for part in parts:
                file.write(part)
        except BaseException:
            file.discard()
            file.closed = True  # else s3fs tries to upload the rest when it is forgotten
            raise
        file.close()

    def size(self, name: str) -> int:
        """Return how many bytes stand under a name."""
        self._system.invalidate_cache()
        return int(self._system.size(f"{self._root}/{name}"))

    def read_into(self, name: str, at: int, data: memoryview) -> None:
        """Fill `data` from place `at`."""
        found = self._system.cat_file(f"{self._root}/{name}", start=at, end=at + data.nbytes)
        if len(found) != data.nbytes:
            raise EOFError(f"{self._root}/{name} ends at byte {at + len(found)}")
        data[:] = found

    def remove(self, name: str) -> None:
        """Remove a name."""
        if self._system.exists(f"{self._root}/{name}"):
            self._system.rm_file(f"{self._root}/{name}")


def _write_whole(handle: int, part: Part) -> None:
    left = memoryview(part)
    while left.nbytes:
        left = left[os.write(handle, left) :]
