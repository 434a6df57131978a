"""How long a worker takes from its start until it could join its group: cold, and warm.

Cold means an empty cache of kernels: everything is compiled. Python's own bytecode is kept in both,
as it is where packages are installed. What a worker does before it joins is done in a process of
its own, by the worker's own code.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from streams.bench.systems import environment
from streams.errors import DipperError

_STARTING = "streams.bench.starting"
_WARM_ROUNDS = 3


class Started(NamedTuple):
    """Seconds by the wall clock, interpreter and imports included; warm is the best of three."""

    cold_seconds: float
    warm_seconds: float


def bench_start(config: Path, on_stage: Callable[[str], None] = lambda _: None) -> Started:
    """Start a worker of the deployment `config` up to the group, first with an empty cache.

    Raises `DipperError` where the process fails.
    """
    with tempfile.TemporaryDirectory(prefix="dipper-bench-") as cache:
        on_stage("bytecode")
        _seconds(["-c", f"import {_STARTING}"], cache)
        start = ["-m", _STARTING, str(config)]
        on_stage("cold: every kernel is compiled, about a minute")
        cold = _seconds(start, cache)
        on_stage("warm")
        warm = min(_seconds(start, cache) for _ in range(_WARM_ROUNDS))
    return Started(round(cold, 2), round(warm, 2))


def _seconds(arguments: Sequence[str], cache: str) -> float:
    begin = time.monotonic()
    done = subprocess.run(  # noqa: S603 our own command
        [sys.executable, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=environment() | {"NUMBA_CACHE_DIR": cache, "PYTHONPYCACHEPREFIX": f"{cache}/bytecode"},
    )
    if done.returncode:
        raise DipperError(f"a worker did not start: {done.stderr.strip().splitlines()[-1:]}")
    return time.monotonic() - begin
