"""Count what a program takes from the allocator, all of it: Python's objects and C's blocks.

A few lines of C stand in front of malloc and count; Python is told to keep no memory of its own
(`PYTHONMALLOC=malloc`), so that each object is a call. What runs is a process of its own, since
both must be known before it starts.
"""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from streams.errors import DipperError

_SOURCE = Path(__file__).with_name("allocations.c")


def taken() -> int:
    """Return how often memory was taken so far, in a process that `run_counted` started."""
    count = ctypes.CDLL(None).dipper_allocations
    count.restype = ctypes.c_ulong
    return int(count())


def run_counted(folder: Path, *arguments: str) -> Any:
    """Run `python ARGUMENTS` under the counter; return the JSON that it prints.

    `folder` takes the compiled counter. Raises `DipperError` where there is no C compiler, or the
    program fails.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise DipperError("counting allocations needs a C compiler (cc); install gcc or clang")
    library = folder / "allocations.so"
    if not library.exists():
        build = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE)]
        _run(build, {})
    counted = {"LD_PRELOAD": str(library.resolve()), "PYTHONMALLOC": "malloc"}
    return json.loads(_run([sys.executable, *arguments], counted).splitlines()[-1])


def _run(command: list[str], more: dict[str, str]) -> str:
    done = subprocess.run(  # noqa: S603 our own command
        command, check=False, capture_output=True, text=True, env=os.environ | more
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise DipperError(f"{' '.join(command[:3])} ended with {done.returncode}: {last}")
    return done.stdout
