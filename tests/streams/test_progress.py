"""The line that tells how far the compilation of a cold start is."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from streams.progress import Line, Progress

_ROOT = Path(__file__).resolve().parents[2]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_many_and_how_long() -> None:
    """On a terminal one line follows the kernels, with the seconds left, and goes at the end."""
    times = iter([0.0, 1.0, 2.0, 3.0, 4.0])
    stream = _Terminal()
    line = Line(stream, lambda: next(times))
    line(Progress(10, 100, ended=False))
    line(Progress(11, 100, ended=False))
    shown = stream.getvalue().split("\r\x1b[K")
    assert shown[-1] == "compiling the hot path: 11 of 100 kernels, about 111 s left"
    line(Progress(12, 100, ended=True))
    assert stream.getvalue().endswith("\r\x1b[K")


def test_a_log_gets_one_plain_line() -> None:
    """Where there is no terminal, one line says what takes its time, once."""
    stream = io.StringIO()
    line = Line(stream)
    for done in range(3):
        line(Progress(done, 90, ended=False))
    assert stream.getvalue().count("\n") == 1
    assert "90 kernels" in stream.getvalue()
    assert "\r" not in stream.getvalue()


def test_nobody_is_told_who_has_gone() -> None:
    """Compilation goes on where the stream that was to be told has been closed."""
    stream = io.StringIO()
    line = Line(stream)
    stream.close()
    line(Progress(1, 90, ended=False))


_KERNEL = """
from streams.compile import kernel
from streams.progress import listen

@kernel
def inner(x):
    return x + 1

@kernel
def outer(x):
    return inner(x) * 2

listen(lambda progress: print(*progress))
outer(20)
"""


@pytest.mark.parametrize("start", ["cold", "warm"])
def test_only_what_is_compiled_is_told(tmp_path: Path, start: str) -> None:
    """A cold start tells of each kernel; a warm one, which finds them in the cache, of none."""
    module = tmp_path / "outer_and_inner.py"
    module.write_text(_KERNEL)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(_ROOT)}
    environment.pop("NUMBA_DISABLE_JIT", None)
    for _ in range(1 if start == "cold" else 2):
        done = subprocess.run(
            [sys.executable, str(module)],
            env=environment, capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
    told = [line.split()[::2] for line in done.stdout.splitlines()]
    assert told == ([["1", "False"], ["1", "True"]] if start == "cold" else [])
