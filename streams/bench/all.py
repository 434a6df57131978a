"""All benchmarks, each in a process of its own, so that none lives with what another left."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from streams.bench.results import FOLDER, ROOT
from streams.errors import DipperError

# Part: its arguments. At these sizes all end in about ten minutes on two cores.
PARTS = {
    "step": ("step", "--grow", "platform"),
    "start": ("start",),
    "memory": ("memory",),
    "replay": ("replay",),
    "peers": ("peers",),
    "latency": ("latency",),
    "scale": ("scale",),
}


def run_all(only: Sequence[str], say: Callable[[str], None]) -> list[str]:
    """Run the parts that are named, or all; return those that failed, with why said."""
    if unknown := set(only) - PARTS.keys():
        raise DipperError(f"no such benchmark: {', '.join(unknown)}; known: {', '.join(PARTS)}")
    failed = []
    for part in only or PARTS:
        # What an earlier run left must not pass for this one's.
        (FOLDER / f"{part}.json").unlink(missing_ok=True)
        begin = time.monotonic()
        command = [sys.executable, "-m", "streams", "bench", *PARTS[part]]
        done = subprocess.run(command, check=False, cwd=ROOT)  # noqa: S603 our own command
        say(f"{part}: {time.monotonic() - begin:.0f} s, exit code {done.returncode}")
        if done.returncode:
            failed.append(part)
    return failed
