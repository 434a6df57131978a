"""Seeds and canaries in processes of their own, by names that a new process can import."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.naive.deployments import small_deployment
from tests.simulation.canaries import CANARIES
from tests.simulation.seed import Failure, run_seed

CANARY_SEEDS = 100  # a canary that lives so long is not caught
_SHIFT = 1_000  # seeds that one set of processes works through before another takes its place
_CHUNK = 20


def run_seeds(seeds: range, workers: int, shift: int = _SHIFT) -> Iterator[Failure]:
    """Run `seeds` in `workers` processes; yield the failures, in their order.

    A process that has been through many seeds holds about a megabyte for each of them in the gaps
    between what they used, and ten thousand would fill the machine: so each shift has processes of
    its own. Not by `max_tasks_per_child`: in Python 3.11 an executor whose processes all end at
    once while tasks wait may never start another (python/cpython#115634).
    """
    for first in range(0, len(seeds), shift):
        mine = seeds[first : first + shift]
        chunks = [mine[at : at + _CHUNK] for at in range(0, len(mine), _CHUNK)]
        with pool(workers) as crew:
            for failures in crew.map(run_chunk, chunks):
                yield from failures


def pool(workers: int) -> ProcessPoolExecutor:
    """Return processes that run seeds; what the code under test logs, they keep to themselves."""
    context = get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=logging.disable)


def catch(number: int) -> int | None:
    """Return the first seed that notices a canary; None where none does."""
    with tempfile.TemporaryDirectory() as folder, CANARIES[number].flying():
        deployment = small_deployment(Path(folder))
        for seed in range(CANARY_SEEDS):
            if run_seed(deployment, seed):
                return seed
    return None


def run_chunk(seeds: Sequence[int]) -> list[Failure]:
    """Return the failures of `seeds`, in their order."""
    with tempfile.TemporaryDirectory() as folder:
        deployment = small_deployment(Path(folder))
        found = [run_seed(deployment, seed) for seed in seeds]
    return [failure for failure in found if failure is not None]
