"""Compile kernels: one decorator, one cache folder per state of the code.

Numba's on-disk cache looks at the file of a function, not at the files of the functions it calls,
so an edit of an inner kernel would leave a stale outer one. Here the cache folder's name is a hash
of every source file of the packages with kernels, of Numba's version, of the CPU it compiles for
and of bounds checking: whatever can change machine code changes the folder.
"""

import hashlib
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba import config

_ROOT = Path(__file__).resolve().parent.parent
_PACKAGES_WITH_KERNELS = ("streams", "features", "models")

F = TypeVar("F", bound=Callable[..., Any])


def code_hash() -> str:
    """Return the hex sha256 of all sources that can end in machine code, in a stable order."""
    digest = hashlib.sha256()
    for package in _PACKAGES_WITH_KERNELS:
        for path in sorted((_ROOT / package).rglob("*.py")):
            digest.update(path.relative_to(_ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Return the folder of the kernels compiled from exactly this code for exactly this CPU."""
    base = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    cpu = config.CPU_NAME or platform.processor() or "host"
    checks = "checked" if config.BOUNDSCHECK else "plain"
    name = f"{code_hash()[:16]}-numba{numba.__version__}-{cpu}-{checks}"
    return Path(base or Path.home() / ".cache") / "dipper" / name


config.CACHE_DIR = str(cache_folder())


def kernel(function: F) -> F:
    """Compile for the hot path: no GIL, NumPy's error rules, strict float order (no fastmath)."""
    compiled: F = numba.njit(nogil=True, error_model="numpy", cache=True, fastmath=False)(function)
    return compiled
