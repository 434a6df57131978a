"""The decorator that compiles kernels."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import config
from numpy.typing import NDArray

from streams.compile import kernel
from streams.kernel_library import WholeLibrary
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


@kernel
def _allocates(count: int) -> int:
    return np.zeros(count, np.int64).shape[0]


def test_a_kernel_that_allocates_does_not_compile() -> None:
    """The hot path takes no memory: a kernel that would is refused when it is compiled."""
    with pytest.raises(Exception, match="Only accept returning of array passed"):
        _allocates(3)


@kernel
def _double(value: int) -> int:
    return value * 2


@kernel
def _quadruple(value: int) -> int:
    return _double(_double(value))


def test_inner_kernels_are_linked_in_and_never_machine_code() -> None:
    """Kernels that others call are optimised once, with their caller; Python's call is apart."""
    assert _quadruple(3) == 12
    whole = _quadruple.overloads  # type: ignore[attr-defined]  # a dispatcher to Python
    assert [type(each.library) for each in whole.values()] == [WholeLibrary]
    assert not _double.overloads  # type: ignore[attr-defined]  # as above
    assert _double(3) == 6
    assert len(_double.overloads) == 1  # type: ignore[attr-defined]  # as above


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
