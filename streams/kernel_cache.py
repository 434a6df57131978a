"""Where compiled kernels are kept: a folder for each module, named by all that its code rests on.

Numba's on-disk cache looks at the file of a function, not at the files of the functions it calls,
so an edit of an inner kernel would leave a stale outer one. Here the folder's name holds a hash of
the module's source and of every module of ours that it reaches by imports, Numba's version, the CPU
and bounds checking: whatever can change a kernel's machine code changes its folder, and an edit
leaves the folders of kernels that do not reach it.
"""

import functools
import hashlib
import os
import platform
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba import config
from numba.core.caching import CompileResultCacheImpl, FunctionCache

_ROOT = Path(__file__).resolve().parent.parent
_IMPORT = re.compile(
    r"^ *from ((?:streams|features|models)[\w.]*) import (\([^)]*\)|.*)", re.MULTILINE
)
# Folders of earlier states of the code; what somebody still works with is touched at every start.
_UNUSED_S_MAX = 28 * 86_400


@functools.cache
def _imports(path: Path) -> tuple[bytes, tuple[Path, ...]]:
    """Return the text of a module and the modules of ours that it imports."""
    text = path.read_bytes()
    found: set[Path] = set()
    for module, names in _IMPORT.findall(text.decode()):
        stem = _ROOT / module.replace(".", "/")
        inner = [(stem / name).with_suffix(".py") for name in re.findall(r"\w+", names)]
        found.update(p for p in (stem.with_suffix(".py"), stem / "__init__.py", *inner))
    return text, tuple(sorted(found & _sources()))


@functools.cache
def _sources() -> frozenset[Path]:
    folders = (_ROOT / name for name in ("streams", "features", "models"))
    return frozenset(path for folder in folders for path in folder.rglob("*.py"))


def reached_sources(path: Path) -> list[Path]:
    """Return, in order, `path` and every module of ours that it reaches by imports.

    What a kernel compiles to depends on its own lines, on the kernels that it calls, and on the
    constants and layouts of modules that it imports: all of them are reached by imports.
    """
    reached = {path}
    waiting = [path]
    while waiting:
        for each in _imports(waiting.pop())[1]:
            if each not in reached:
                reached.add(each)
                waiting.append(each)
    return sorted(reached)


@functools.cache
def code_hash(path: Path) -> str:
    """Return the hex sha256 of all sources that can end in machine code of `path`'s kernels."""
    digest = hashlib.sha256()
    for each in reached_sources(path):
        name = each.relative_to(_ROOT) if each.is_relative_to(_ROOT) else Path(each.name)
        digest.update(name.as_posix().encode() + b"\0" + _imports(each)[0])
    return digest.hexdigest()


def cache_root() -> Path:
    """Return the folder of all compiled kernels: NUMBA_CACHE_DIR, else the user's cache."""
    base = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    return Path(base or Path.home() / ".cache") / "dipper" / "kernels"


def cache_folder(path: Path) -> Path:
    """Return the folder of the kernels of module `path`, of exactly this code, for this CPU."""
    cpu = config.CPU_NAME or platform.processor() or "host"
    checks = "checked" if config.BOUNDSCHECK else "plain"
    name = f"{path.stem}-{code_hash(path)[:20]}-numba{numba.__version__}-{cpu}-{checks}"
    return cache_root() / name


def _open_folder(path: Path) -> Path:
    """Return the folder of `path`, marked as used; a new one takes the place of long unused
    ones.
    """
    folder = cache_folder(path)
    if folder.is_dir():
        os.utime(folder)
    else:
        folder.mkdir(parents=True, exist_ok=True)  # another process may be first
        drop_unused(folder.parent, time.time() - _UNUSED_S_MAX)
    return folder


def drop_unused(root: Path, before_s: float) -> None:
    """Remove the folders in `root` that nobody has used since `before_s` (seconds, Unix time)."""
    for folder in root.iterdir():
        try:
            if folder.stat().st_mtime < before_s:
                shutil.rmtree(folder)
        except FileNotFoundError:
            continue  # another process was first


class _Locator:
    """Tells Numba's cache where the files of one kernel are: all it asks of a locator."""

    def __init__(self, function: Callable[..., Any], path: Path) -> None:
        self._line = function.__code__.co_firstlineno
        self._stamp = code_hash(path)
        self._folder = str(_open_folder(path))

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> "_Locator":
        return cls(function, Path(file).resolve())

    def ensure_cache_path(self) -> None:
        Path(self._folder).mkdir(parents=True, exist_ok=True)

    def get_cache_path(self) -> str:
        return self._folder

    def get_source_stamp(self) -> str:
        return self._stamp

    def get_disambiguator(self) -> str:
        return str(self._line)


class _InnerFiles(CompileResultCacheImpl):  # type: ignore[misc]  # Numba ships no types
    _locator_classes = (_Locator,)

    def get_filename_base(self, fullname: str, abiflags: str) -> str:
        return f"inner-{super().get_filename_base(fullname, abiflags)}"


class _WholeFiles(_InnerFiles):
    def get_filename_base(self, fullname: str, abiflags: str) -> str:
        return f"whole-{super().get_filename_base(fullname, abiflags)}"


class _Cache(FunctionCache):  # type: ignore[misc]  # as above
    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load without what only a compiler needs: Numba would import all that it can compile,
        SciPy among it, which was a third of a warm start. Whoever compiles sees to it then.
        """
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


class InnerCache(_Cache):
    """Keeps what other kernels link in."""

    _impl_class = _InnerFiles


class WholeCache(_Cache):
    """Keeps what Python calls."""

    _impl_class = _WholeFiles
