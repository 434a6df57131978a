"""Other versions of a deployment's policies and models: folders of their own, by hash.

`<config>/versions/<hash>/` holds platform.toml, catalog.toml, models/ and institutions/ as they
stood when the version was made. A version is loaded once, checked against its name and against what
it must share with the deployment, and kept; `prepare` loads it beside the caller.
"""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from models.policy.platform import LISTS_FOLDER
from streams.config import CATALOG_FILE, MODELS_FOLDER, load_deployment
from streams.deployment import Deployment
from streams.errors import DipperError, VersionError

VERSIONS_FOLDER = "versions"
VERSIONED_FILES = ("platform.toml", CATALOG_FILE)
VERSIONED_FOLDERS = (LISTS_FOLDER, MODELS_FOLDER, "institutions")
_PARTS = (*VERSIONED_FILES, *VERSIONED_FOLDERS)

# Writes the files of a version into an empty folder; False where it does not know it.
Fetch = Callable[[str, Path], bool]


def version_folder(config: Path, version: str) -> Path:
    """Return where the files of a version stand."""
    return config / VERSIONS_FOLDER / version


def files_of(folder: Path) -> list[Path]:
    """Return the files that make a version, relative to its folder, in order."""
    found = (path for part in _PARTS for path in [folder / part, *(folder / part).rglob("*")])
    return sorted(path.relative_to(folder) for path in found if path.is_file())


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, and make the folders that it is to stand in."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def save_version(config: Path, source: Path) -> str:
    """Put what stands in `source` beside the deployment in `config` as a version; return its name.

    `DipperError` where it is no deployment, or not one that this deployment can change into.
    """
    base, other = load_deployment(config), load_deployment(source)
    refuse_stranger(base, other, str(source))
    target = version_folder(config, other.version)
    if not target.exists():
        unfinished = _begun(target)
        for path in files_of(source):
            copy_file(source / path, unfinished / path)
        _finish(unfinished, target)
    return other.version


def _begun(folder: Path) -> Path:
    """Return an empty folder to fill, of this process alone: others may fetch the same version."""
    unfinished = folder.with_suffix(f".{os.getpid()}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    return unfinished


def _finish(unfinished: Path, folder: Path) -> None:
    """Give a filled folder its name; where another process was first, its folder stays."""
    try:
        unfinished.rename(folder)
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not folder.exists():
            raise


def refuse_stranger(base: Deployment, other: Deployment, name: str) -> None:
    """Raise `VersionError` where `other` is no version of the deployment `base`."""
    if found := base.differences(other):
        raise VersionError(
            f"{name}: has other {', '.join(found)} than {base.folder}; a version may change "
            "policies, models, prices and rules alone, for the rest use dipper state adopt"
        )


class StoredVersions:
    """The versions beside a deployment; what is not there is asked of `fetch`."""

    def __init__(self, base: Deployment, fetch: Fetch = lambda _version, _folder: False) -> None:
        self._base = base
        self._fetch = fetch
        self._loading: dict[str, Future[Deployment]] = {}
        self._pool = ThreadPoolExecutor(1, "versions")

    def prepare(self, version: str) -> None:
        """Load a version beside the caller; what goes wrong waits for `get`."""
        self._begin(version)

    def get(self, version: str) -> Deployment:
        """Return a version; wait for it where it is not loaded yet."""
        # At prepare another process may have been about to fetch it into the same folder.
        known = self._loading.get(version)
        if known is not None and known.done() and known.exception() is not None:
            self._loading.pop(version, None)
        try:
            return self._begin(version).result()
        except (DipperError, OSError) as error:
            # It may be there when it is asked for again; another partition may have met it too.
            self._loading.pop(version, None)
            raise VersionError(f"version {version} cannot be had: {error}") from error

    def by_low_half(self, low: int) -> Deployment:
        """Return the version beside the deployment whose name ends so."""
        folder = self._base.folder / VERSIONS_FOLDER
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if path.name.endswith(f"{low:016x}"):
                return self.get(path.name)
        raise VersionError(f"{folder}: holds no version ...{low:016x}, which decided")

    def _begin(self, version: str) -> Future[Deployment]:
        known = self._loading.get(version)
        if known is None:
            known = self._loading[version] = self._pool.submit(self._load, version)
        return known

    def _load(self, version: str) -> Deployment:
        if version == self._base.version:
            return self._base
        folder = version_folder(self._base.folder, version)
        if not folder.exists():
            unfinished = _begun(folder)
            if not self._fetch(version, unfinished):
                unfinished.rmdir()
                raise VersionError(f"{folder} does not stand; dipper control prepare makes it")
            _finish(unfinished, folder)
        found = load_deployment(folder, self._base.overrides)
        found = replace(
            found,
            public_key_sha256=self._base.public_key_sha256,
            skips=self._base.skips,
        )
        if found.version != version:
            raise VersionError(f"{folder} holds version {found.version}; restore its files")
        refuse_stranger(self._base, found, str(folder))
        return found


def with_versions(base: Deployment, fetch: Fetch = lambda _version, _folder: False) -> Deployment:
    """Return the deployment with its versions at hand."""
    return replace(base, versions=StoredVersions(base, fetch))
