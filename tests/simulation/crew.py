"""Seeds and canaries in processes of their own, by names that a new process can import."""

import logging
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.naive.deployments import small_deployment
from tests.simulation.canaries import CANARIES
from tests.simulation.seed import Failure, run_seed

CANARY_SEEDS = 100  # a canary that lives so long is not caught
_TASKS = 25  # chunks that a process works through before another takes its place


def pool(workers: int) -> ProcessPoolExecutor:
    """Return processes that run seeds; what the code under test logs, they keep to themselves."""
    # A process that has been through many seeds holds about a megabyte for each of them in the
    # gaps between what they used, and ten thousand seeds would fill the machine: so it ends.
    return ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=logging.disable,
        max_tasks_per_child=_TASKS,
    )


def catch(number: int) -> int | None:
    """Return the first seed that notices a canary; None where none does."""
    with tempfile.TemporaryDirectory() as folder, CANARIES[number].flying():
        deployment = small_deployment(Path(folder))
        for seed in range(CANARY_SEEDS):
            if run_seed(deployment, seed):
                return seed
    return None


def run_chunk(seeds: list[int]) -> list[Failure]:
    """Return the failures of `seeds`, in their order."""
    with tempfile.TemporaryDirectory() as folder:
        deployment = small_deployment(Path(folder))
        found = [run_seed(deployment, seed) for seed in seeds]
    return [failure for failure in found if failure is not None]
