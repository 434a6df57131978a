"""The decorator that compiles kernels."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import config
from numpy.typing import NDArray

from streams.compile import cache_folder, kernel, kernel_sources
from tests.sizes import run_kind

_ROOT = Path(__file__).resolve().parents[2]


@kernel
def _sum_to(values: NDArray[np.int64], count: int) -> int:
    total = 0
    for i in range(count):
        total += values[i]
    return total


@pytest.mark.kernel
def test_kernel_computes_what_plain_python_does() -> None:
    """A kernel gives the value of the same lines without compilation."""
    assert _sum_to(np.arange(10, dtype=np.int64), 10) == sum(range(10))


@pytest.mark.kernel
def test_special_runs_are_what_they_say() -> None:
    """The run with bounds checks raises on a read past the end, and so does the one without JIT."""
    assert bool(config.DISABLE_JIT) == (run_kind() == "plain")
    assert bool(config.BOUNDSCHECK) == (run_kind() == "checked")
    if run_kind() != "jit":
        with pytest.raises(IndexError):
            _sum_to(np.arange(10, dtype=np.int64), 11)


def test_bounds_checked_kernels_have_their_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba's cache key ignores bounds checking, so the folder's name must not."""
    monkeypatch.setattr(config, "BOUNDSCHECK", None)
    plain = cache_folder()
    monkeypatch.setattr(config, "BOUNDSCHECK", True)
    assert cache_folder() != plain


def test_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """NUMBA_CACHE_DIR names where compiled kernels are kept."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert cache_folder().is_relative_to(tmp_path)


@kernel
def _allocates(count: int) -> int:
    return np.zeros(count, np.int64).shape[0]


def test_a_kernel_that_allocates_does_not_compile() -> None:
    """The hot path takes no memory: a kernel that would is refused when it is compiled."""
    with pytest.raises(Exception, match="Only accept returning of array passed"):
        _allocates(3)


_TWO_KERNELS = """
import sys
from streams.compile import kernel

@kernel
def inner(x):
    return x + 1

@kernel
def outer(x):
    return inner(x) * 2

assert outer(20) == 42
print(sum(outer.stats.cache_misses.values()), sum(outer.stats.cache_hits.values()))
"""


def test_processes_that_start_together_compile_once(tmp_path: Path) -> None:
    """Of several processes that need one kernel at once, one compiles and the others load."""
    module = tmp_path / "two_kernels.py"
    module.write_text(_TWO_KERNELS)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(_ROOT)}
    started = [
        subprocess.Popen(
            [sys.executable, str(module)], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    answers = sorted(process.communicate(timeout=120)[0].split() for process in started)
    assert answers == [["0", "1"], ["1", "0"]]


def test_cache_follows_what_kernels_reach_and_nothing_else() -> None:
    """The cache's name covers kernels and all that they import, and no door or command."""
    reached = {path.relative_to(_ROOT).as_posix() for path in kernel_sources()}
    kernels = {
        path.relative_to(_ROOT).as_posix()
        for package in ("streams", "features", "models")
        for path in (_ROOT / package).rglob("*.py")
        if "\n@kernel\n" in path.read_text()
    }
    assert kernels <= reached
    assert {"streams/limits.py", "streams/schema.py", "features/tables.py"} <= reached
    assert not any(path.startswith(("streams/commands/", "streams/control/")) for path in reached)
