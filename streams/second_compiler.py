"""Compile one half of a cold start in a second process: where two cores are free, the wait halves.

Numba compiles under a lock of the whole process, and nine tenths of its time are Python. So the
second process compiles the second pass of a wave and the scores, and the first one all the rest;
what one of them has, the other loads from the cache, and where both want the same kernel the file
locks of `streams/compile.py` let one wait. Locks follow the calls, which form no circle.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numba import config, typeof

from models.score import score_block
from streams import wave
from streams.config import load_deployment
from streams.kernel_cache import cache_folder
from streams.step import Step


@contextmanager
def second_compiler(folder: Path) -> Iterator[None]:
    """Let another process compile for the deployment in `folder` as long as this lasts, where the
    kernels are not in the cache and there is a core for it.

    It is ended with the block, whatever it has done: what it locks is then free, and a file of the
    cache is there whole or not at all.
    """
    if config.DISABLE_JIT or (os.cpu_count() or 1) == 1 or not is_cold():
        yield
        return
    command = [sys.executable, "-m", __name__, str(folder)]
    quiet = subprocess.DEVNULL
    other = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)  # noqa: S603 our own
    try:
        yield
    finally:
        other.kill()
        other.wait()


def is_cold() -> bool:
    """Return whether the outermost kernel of a wave has never been compiled as the code is now."""
    folder = cache_folder(Path(wave.__file__).resolve())
    return not any(folder.glob("whole-*run_waves*.nbi"))


def compile_half(folder: Path) -> None:
    """Compile the second pass of a wave, then the scores, with all that they call."""
    step = Step(load_deployment(folder), 0, 1, lambda _partition, _value, _offset: True)
    core, work = step.core, step.core.work
    _compile(wave._close_wave, core, step.batch, step.out, 0, 0)  # noqa: SLF001 half of a wave
    _compile(score_block, core.models, work.vectors, 0, work.raw, work.pd_ppm, core.score_scratch)


def _compile(kernel: Any, *arguments: object) -> None:
    """Compile the kernel as others call it with such arguments."""
    kernel.get_call_template(tuple(typeof(argument) for argument in arguments), {})


if __name__ == "__main__":
    compile_half(Path(sys.argv[1]))
