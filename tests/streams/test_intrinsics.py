"""What the processor does in one instruction gives the answers of plain Python."""

import numpy as np
import pytest

from streams.compile import kernel
from streams.intrinsics import prefetch, trailing_zeros


@kernel
def _zeros_of(word: np.uint64) -> np.uint64:
    return trailing_zeros(word)


@kernel
def _ask_for(array: np.ndarray, row: int) -> int:
    prefetch(array, row, 64)
    return row


@pytest.mark.kernel
def test_trailing_zeros_finds_each_bit() -> None:
    """Every one of the 64 bits is found, whatever stands above it."""
    for bit in range(64):
        for above in (0, (1 << 64) - (2 << bit)):
            assert _zeros_of(np.uint64(above + (1 << bit))) == bit


@pytest.mark.kernel
def test_prefetch_changes_nothing_and_never_faults() -> None:
    """A hint for a row far outside an array is no access: the process lives and the array stays."""
    array = np.arange(8, dtype=np.uint64)
    for row in (0, 7, 10**15, -(10**15)):
        assert _ask_for(array, row) == row
    assert array.tolist() == list(range(8))
