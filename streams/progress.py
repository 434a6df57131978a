"""Tell how far the compilation of a cold start is: one line, where somebody may be waiting.

Nothing here imports Numba, so that a command that compiles nothing does not wait for it.
"""

import time
from collections.abc import Callable
from typing import NamedTuple, TextIO


class Progress(NamedTuple):
    """How many kernels are there, of how many that are imported; or that Python may call one."""

    done: int
    of: int
    ended: bool


Listener = Callable[[Progress], None]

_listeners: list[Listener] = []
# What links and optimises all kernels comes after the last of them.
_LINKING = 1.25


def listen(listener: Listener) -> None:
    """Call `listener` after each kernel that was compiled, not found in the cache."""
    _listeners.append(listener)


def unlisten(listener: Listener) -> None:
    """Take back `listen`."""
    _listeners.remove(listener)


def tell(progress: Progress) -> None:
    """Hand progress to all that listen."""
    for listener in _listeners:
        listener(progress)


class Line:
    """Writes progress to a stream: one line that follows it on a terminal, else one for all."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._since: float | None = None
        self._compiled = 0
        self._told = False

    def __call__(self, progress: Progress) -> None:
        """Write what there is to say, where somebody is still there to read it."""
        if self._stream.closed:
            return
        if self._since is None:
            self._since = self._clock()
        self._compiled += 1
        left_s = (self._clock() - self._since) / self._compiled * (progress.of - progress.done)
        if not self._stream.isatty():
            if not self._told:
                text = f"compiling the hot path, {progress.of} kernels, about a minute;"
                self._write(f"{text} the next start finds them in the cache\n")
        elif progress.ended:
            self._write("\r\x1b[K")
        else:
            text = f"compiling the hot path: {progress.done} of {progress.of} kernels"
            self._write(f"\r\x1b[K{text}, about {_LINKING * left_s:.0f} s left")
        self._told = True

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
