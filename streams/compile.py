"""Compile kernels: one decorator, a cache that follows the code, a compilation for each purpose.

A kernel is two of Numba's dispatchers over the same lines. Python calls the whole one: machine code
in which all that it reaches is linked. Kernels call the inner one, which stays bitcode
(`streams/kernel_library.py`). Both are kept on disk (`streams/kernel_cache.py`).

Numba's cache does not expect several processes to write it at once. Here a kernel is compiled under
a file lock of its own: the second worker that starts waits and then loads what the first compiled.
"""

import fcntl
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba import config, types
from numba.core.compiler_lock import global_compiler_lock

from streams.kernel_cache import InnerCache, WholeCache
from streams.kernel_library import InnerLibrary, WholeLibrary, building
from streams.progress import Progress, tell

F = TypeVar("F", bound=Callable[..., Any])

_inner: list[Any] = []  # of kernels that others have called so far
_kernels: list[str] = []  # names of all


def kernel(function: F) -> F:
    """Compile for the hot path: no GIL, NumPy's error rules, strict float order (no fastmath).

    Without Numba's runtime (`_nrt`) a kernel that allocates does not compile, and arrays taken out
    of a NamedTuple are not counted: those atomic counts were two thirds of the time of `derive`.
    """
    options = {"nogil": True, "error_model": "numpy", "fastmath": False, "_nrt": False}
    whole: F = numba.njit(**options)(function)
    if not config.DISABLE_JIT:

        @functools.cache
        def make_inner() -> Any:
            inner = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **options)(function)
            _keep(inner, InnerCache, InnerLibrary, "inner")
            _inner.append(inner)
            return inner

        _keep(whole, WholeCache, WholeLibrary, "whole")
        _let_kernels_call(whole, make_inner)
        _kernels.append(function.__qualname__)
    return whole


def _wide(argument: types.Type) -> types.Type:
    """Return int64 for any narrower or literal signed integer, everything else as it is."""
    plain = types.unliteral(argument)
    narrow = isinstance(plain, types.Integer) and plain.signed
    return types.int64 if narrow else plain


def _let_kernels_call(whole: Any, make_inner: Callable[[], Any]) -> None:
    """Let other kernels link the inner one where they call `whole`, once for all signed integers.

    Numba would compile it anew for every literal and every width: half of a cold start was that.
    """

    def widened(args: Sequence[types.Type], kws: Mapping[str, types.Type]) -> Any:
        named = {name: _wide(argument) for name, argument in kws.items()}
        return make_inner().get_call_template(tuple(_wide(argument) for argument in args), named)

    whole.get_call_template = widened
    whole.get_overload = lambda signature: make_inner().get_overload(signature)


def _keep(dispatcher: Any, cache: Callable[[Any], Any], library: type[Any], kind: str) -> None:
    """Give a dispatcher its cache, and let one process at a time compile it, the others load it.

    Numba's own lock is taken first, so that two threads cannot hold a file lock each and wait for
    one another. Between processes the file locks follow the calls, outer before inner, and calls
    of kernels form no circle. Most kernels are never called by Python: a cache is made when it is
    asked.
    """
    name = f"{kind}-{dispatcher.py_func.__qualname__}.lock"
    compile_alone = dispatcher.compile

    @functools.cache
    def open_cache() -> Path:
        # Numba's own switch knows one place for all.
        dispatcher._cache = cache(dispatcher.py_func)  # noqa: SLF001
        return Path(dispatcher._cache.cache_path)  # noqa: SLF001

    def compile_once(signature: Any) -> Any:
        with global_compiler_lock, building(dispatcher.targetctx.codegen(), library):
            known = dispatcher.overloads.get(tuple(signature))
            if known is not None:
                return known.entry_point
            folder = open_cache()
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / name).open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                misses = sum(dispatcher.stats.cache_misses.values())
                found = compile_alone(signature)
                compiled = sum(dispatcher.stats.cache_misses.values()) > misses
        if compiled:
            tell(Progress(sum(bool(k.overloads) for k in _inner), len(_kernels), kind == "whole"))
        return found

    dispatcher.compile = compile_once


@kernel
def i64(value: Any) -> int:
    """Return an integer as int64: fields narrower than that would compile callees once more."""
    return np.int64(value)  # type: ignore[return-value]  # Numba's int is int64
