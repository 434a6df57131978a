"""The processes of a demo: control and workers, each on its own, ended for sure."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Self

from prometheus_client.parser import text_string_to_metric_families

from monitoring.metrics import READY
from streams.broker.server import GUARD
from streams.errors import DipperError

_STOP_S_MAX = 15.0
_METRICS = re.compile(r"metrics on (http://\S+)")


class Process:
    """One `dipper` command in the background, with its output in a file."""

    def __init__(self, name: str, folder: Path, *arguments: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._file: IO[bytes] = self.log.open("wb")
        # The guard ends it when our end of the pipe closes: whatever ends us, kill -9 included.
        guard = [sys.executable, "-I", "-S", str(GUARD), str(_STOP_S_MAX), ""]
        self._process = subprocess.Popen(  # noqa: S603 our own command
            [*guard, sys.executable, "-m", "streams", *arguments],
            stdout=self._file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the starter, who then stops us in order
        )

    def check(self) -> None:
        """Raise `DipperError` with its last words where it has ended."""
        if self._process.poll() is not None:
            last = self.log.read_text(errors="replace").strip().splitlines()[-1:]
            message = f"{self.name} ended with {self._process.returncode}: {' '.join(last)}"
            raise DipperError(f"{message}; see {self.log}")

    def terminate(self) -> None:
        """Ask it to finish."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def end(self) -> None:
        """Wait until it has finished; kill it where it does not."""
        try:
            self._process.wait(_STOP_S_MAX + 5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._file.close()


class Processes:
    """Control and workers: `with Processes(...) as processes:`; workers stop before control."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.workers: list[Process] = []
        self._all: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._all:
            process.terminate()
        for process in self._all:
            process.end()

    def start_control(self, broker: str, config: Path, partitions: int) -> None:
        """Start the one writer of ticks and grants."""
        more = ("--partitions", str(partitions), "--metrics-port", "0")
        self._start("control", "control", broker, config, *more)

    def start_worker(self, broker: str, config: Path) -> None:
        """Start one more worker, with a metrics port of its own."""
        name = f"worker-{len(self.workers)}"
        self.workers.append(self._start(name, "live", broker, config, "--metrics-port", "0"))

    def start_agents(self, broker: str, config: Path, pace: float) -> None:
        """Start the slow lane: notices, drift and outcomes; `pace` is the world's."""
        more = ("--metrics-port", "0", "--pace", str(pace))
        self._start("agents", "agents", broker, config, *more)

    def check(self) -> None:
        """Raise `DipperError` where one of them has ended."""
        for process in self._all:
            process.check()

    def all_shown(self) -> bool:
        """Say whether every process has told where it shows its metrics."""
        return all(_METRICS.search(each.log.read_text(errors="replace")) for each in self._all)

    def ready_partitions(self) -> int:
        """Return how many partitions the workers serve by now."""
        return sum(_ready(url) for url in self.metrics_urls())

    def metrics_urls(self, job: str = "worker") -> list[str]:
        """Return where workers, control or agents show their metrics, as far as they do."""
        mine = [each for each in self._all if each.name.startswith(job)]
        found = [_METRICS.search(each.log.read_text(errors="replace")) for each in mine]
        return [match.group(1) for match in found if match]

    def _start(self, name: str, command: str, broker: str, config: Path, *more: str) -> Process:
        place = ("--broker", broker, "--config", str(config))
        process = Process(name, self._folder, command, *place, *more)
        self._all.append(process)
        return process


def _ready(url: str) -> int:
    from urllib.error import URLError  # noqa: PLC0415 only while waiting
    from urllib.request import urlopen  # noqa: PLC0415

    try:
        with urlopen(url, timeout=2) as answer:  # noqa: S310 our own address
            text = answer.read().decode()
    except (URLError, OSError):
        return 0
    families = text_string_to_metric_families(text)
    return sum(
        int(sample.value)
        for family in families
        if family.name == READY.name
        for sample in family.samples
    )


def wait_until_served(processes: Processes, partitions: int, seconds_max: float) -> None:
    """Return when every partition is served for a moment and every process shows its metrics;
    `DipperError` after `seconds_max`.
    """
    end = time.monotonic() + seconds_max
    steady = 0
    while steady < 3:
        processes.check()
        ready = processes.all_shown() and processes.ready_partitions() == partitions
        steady = steady + 1 if ready else 0
        if time.monotonic() > end:
            logs = ", ".join(str(worker.log) for worker in processes.workers)
            raise DipperError(f"the workers are not ready after {seconds_max:.0f} s; see {logs}")
        time.sleep(0.2)
