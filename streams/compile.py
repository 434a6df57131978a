"""Compile kernels: one decorator, one cache folder per state of the code.

Numba's on-disk cache looks at the file of a function, not at the files of the functions it calls,
so an edit of an inner kernel would leave a stale outer one. Here the cache folder's name is a hash
of every source file that kernels can reach, of Numba's version, of the CPU it compiles for and of
bounds checking: whatever can change machine code changes the folder.

Nor does that cache expect several processes to write it at once. Here a kernel is compiled under a
file lock of its own: the second worker that starts waits and then loads what the first compiled.
"""

import fcntl
import hashlib
import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba import config, types
from numba.core.compiler_lock import global_compiler_lock

_ROOT = Path(__file__).resolve().parent.parent
_PACKAGES_WITH_KERNELS = ("streams", "features", "models")
_HAS_KERNEL = re.compile(r"^@kernel$", re.MULTILINE)
_OURS = "(?:streams|features|models)"
_IMPORT = re.compile(rf"^ *from ({_OURS}[\w.]*) import (.*)", re.MULTILINE)

F = TypeVar("F", bound=Callable[..., Any])


def kernel_sources() -> list[Path]:
    """Return, in order, every module with kernels and every module of ours that those import.

    What a kernel compiles to depends on its own lines, on the kernels that it calls, and on the
    constants and layouts of modules that it imports: all of them are reached by imports.
    """
    texts = {
        path: path.read_text()
        for package in _PACKAGES_WITH_KERNELS
        for path in (_ROOT / package).rglob("*.py")
    }
    reached = {path for path, text in texts.items() if _HAS_KERNEL.search(text)}
    waiting = list(reached)
    while waiting:
        for module, names in _IMPORT.findall(texts[waiting.pop()]):
            stem = _ROOT / module.replace(".", "/")
            inner = [(stem / name).with_suffix(".py") for name in re.findall(r"\w+", names)]
            for path in (stem.with_suffix(".py"), stem / "__init__.py", *inner):
                if path in texts and path not in reached:
                    reached.add(path)
                    waiting.append(path)
    return sorted(reached)


def code_hash() -> str:
    """Return the hex sha256 of all sources that can end in machine code, in a stable order."""
    digest = hashlib.sha256()
    for path in kernel_sources():
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
    """Compile for the hot path: no GIL, NumPy's error rules, strict float order (no fastmath).

    Without Numba's runtime (`_nrt`) a kernel that allocates does not compile, and arrays taken out
    of a NamedTuple are not counted: those atomic counts were two thirds of the time of `derive`.
    """
    compiled: F = numba.njit(
        nogil=True, error_model="numpy", cache=True, fastmath=False, _nrt=False
    )(function)
    if not config.DISABLE_JIT:
        _widen_arguments(compiled)
        _lock_compilation(compiled)
    return compiled


def _wide(argument: types.Type) -> types.Type:
    """Return int64 for any narrower or literal signed integer, everything else as it is."""
    plain = types.unliteral(argument)
    narrow = isinstance(plain, types.Integer) and plain.signed
    return types.int64 if narrow else plain


def _widen_arguments(dispatcher: Any) -> None:
    """Compile a kernel once for all signed integers that other kernels call it with.

    Numba would compile it anew for every literal and every width: half of a cold start was that.
    """
    template_of = dispatcher.get_call_template

    def widened(args: Sequence[types.Type], kws: Mapping[str, types.Type]) -> Any:
        named = {name: _wide(argument) for name, argument in kws.items()}
        return template_of(tuple(_wide(argument) for argument in args), named)

    dispatcher.get_call_template = widened


def _lock_compilation(dispatcher: Any) -> None:
    """Let one process at a time compile this kernel, and the others find it in the cache.

    Numba's own lock is taken first, so that two threads cannot hold a file lock each and wait for
    one another. Between processes the file locks follow the calls, outer before inner, and calls
    of kernels form no circle.
    """
    function = dispatcher.py_func
    name = f"{function.__module__}.{function.__qualname__}.lock"
    compile_alone = dispatcher.compile

    def compile_once(signature: Any) -> Any:
        with global_compiler_lock:
            folder = Path(config.CACHE_DIR)
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / name).open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                return compile_alone(signature)

    dispatcher.compile = compile_once


@kernel
def i64(value: Any) -> int:
    """Return an integer as int64: fields narrower than that would compile callees once more."""
    return np.int64(value)  # type: ignore[return-value]  # Numba's int is int64
