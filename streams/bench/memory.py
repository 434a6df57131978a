"""What an applicant takes: rows in use by one with a history, and what is reserved for each."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from streams.bench.step import Lab, Size, state_bytes
from streams.limits import Limits
from streams.state.tables import make_state

_HISTORY = 20


class Memory(NamedTuple):
    """Bytes a head. `state` counts rows that one with 20 recent events uses, half of them with a
    loan and a line; `reserved` is all memory of a partition's state at the default limits, taken at
    start, over the applicants that fit.
    """

    state_bytes_per_applicant: float
    reserved_bytes_per_applicant: float


def bench_memory(folder: Path, on_stage: Callable[[str], None] = lambda _: None) -> Memory:
    """Measure; `folder` takes a deployment of its own."""
    size = Size(events=2_000, applicants=1_000, history=_HISTORY, trees=5, leaves=7)
    lab = Lab(folder, size, on_stage)
    on_stage("count rows")
    limits = Limits()
    state = make_state(limits, 1, 0, 1, 64)
    reserved = sum(array.nbytes for array in state) / limits.applicants
    return Memory(round(state_bytes(lab.deployment(size), size), 1), round(reserved, 1))
