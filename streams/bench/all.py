"""All benchmarks, each in a process of its own with a deadline: none lives with what another left,
and one that fails or hangs takes nothing from the others.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from streams.bench.results import (
    FOLDER_VARIABLE,
    ROOT,
    folder,
    forget,
    load_failures,
    save_failures,
)
from streams.errors import DipperError

_GRACE_S = 30.0  # brokers and workers are stopped
_WHY_CHARACTERS_MAX = 300


class Part(NamedTuple):
    """One benchmark: arguments of `dipper bench`, what more a small run says, and its deadline."""

    usual: tuple[str, ...]
    small: tuple[str, ...] = ()
    seconds_max: float = 900.0


# At the usual sizes all end in about twenty minutes on two cores.
_STEP = ("--requests", "5000", "--applicants", "500", "--history", "5", "--trees", "20",
         "--leaves", "15", "--rounds", "1")  # fmt: skip
PARTS = {
    "step": Part(("step", "--grow", "platform"), _STEP),
    "start": Part(("start",)),
    "memory": Part(("memory",)),
    "replay": Part(("replay",), ("--events", "5000")),
    "peers": Part(("peers",), ("--small",)),
    "latency": Part(("latency",), ("--rates", "1000,2000", "--seconds", "2")),
    "scale": Part(("scale",), ("--events", "30000", "--partitions", "1,2")),
}


def run_all(
    only: Sequence[str],
    say: Callable[[str], None],
    *,
    small: bool = False,
    parts: Mapping[str, Part] = PARTS,
) -> dict[str, str]:
    """Run the parts that are named, or all; return those that failed, with why in a sentence.

    What they leave behind stands in `results.folder()`; a small run has a folder of its own.
    """
    if unknown := set(only) - parts.keys():
        raise DipperError(f"no such benchmark: {', '.join(unknown)}; known: {', '.join(parts)}")
    failed = {}
    where = folder(small=small)
    for name in only or parts:
        # What an earlier run left must not pass for this one's.
        forget(name, where)
        part = parts[name]
        begin = time.monotonic()
        more = part.small if small else ()
        command = [sys.executable, "-m", "streams", "bench", *part.usual, *more]
        say(f"{name}: dipper bench {' '.join(command[4:])}")
        why = _run(command, where, part.seconds_max)
        say(f"{name}: {time.monotonic() - begin:.0f} s{', ' + why if why else ''}")
        if why:
            failed[name] = why
    save_failures(load_failures(where) | failed, where)
    return failed


def _run(command: Sequence[str], where: Path, seconds_max: float) -> str:
    """Run a command to its end or its deadline; return why it failed, or nothing."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(  # noqa: S603 our own command
            command,
            cwd=ROOT,
            stderr=said,
            env=os.environ | {FOLDER_VARIABLE: str(where)},
            start_new_session=True,
        )
        try:
            code = process.wait(seconds_max)
            late = ""
        except subprocess.TimeoutExpired:
            late = f"it had not ended after {seconds_max:.0f} s"
            code = _stop(process)
        except BaseException:
            _stop(process)
            raise
        said.seek(0)
        text = said.read().decode(errors="replace")
    sys.stderr.write(text)
    if not (code or late):
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else "it said nothing"
    why = late or f"exit code {code}: {last}"
    return why.replace(str(ROOT), ".").replace(str(Path.home()), "~")[:_WHY_CHARACTERS_MAX]


def _stop(process: subprocess.Popen[bytes]) -> int:
    """Interrupt a process, so that it ends what it started; then kill what is left of its group."""
    process.send_signal(signal.SIGINT)
    try:
        code = process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        code = -int(signal.SIGKILL)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return code
    process.wait()
    return code
