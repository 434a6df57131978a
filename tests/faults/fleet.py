"""The processes under fault: workers and control, killed, stopped and replaced."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from streams.broker.kafka import KafkaBroker
from tests.tidy.source import ROOT

_END_S_MAX = 30.0


class Member:
    """One `dipper` command in the background, with its output in a file; `extra` is added to the
    environment.
    """

    def __init__(
        self, name: str, folder: Path, arguments: list[str], extra: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "streams", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=os.environ | (extra or {}),
            )

    @property
    def ended(self) -> int | None:
        """Its exit code, None while it lives."""
        return self._process.poll()

    @property
    def resident_mib(self) -> float:
        """Its resident memory."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it, where it still lives."""
        if self._process.poll() is None:
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.send(signal.SIGKILL)
        self._process.wait()

    def leave(self) -> None:
        """Ask it to leave and wait until it has."""
        self.send(signal.SIGTERM)
        try:
            self._process.wait(_END_S_MAX)
        except subprocess.TimeoutExpired:
            self.kill()

    def last_words(self) -> str:
        """The end of what it printed."""
        return " | ".join(self.log.read_text(errors="replace").strip().splitlines()[-3:])


class Fleet:
    """Workers and control: `with Fleet(...) as fleet:`; all of them end with it."""

    def __init__(self, folder: Path, bootstrap: str, config: Path, partitions: int) -> None:
        self._folder = folder
        self._place = ["--broker", bootstrap, "--config", str(config)]
        self._partitions = partitions
        self._started = 0
        self._members: list[Member] = []
        self.workers: list[Member] = []
        self.control: Member

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members:
            member.send(signal.SIGCONT)  # a stopped one could not hear the next
            member.send(signal.SIGTERM)
        for member in self._members:
            member.leave()

    def start_control(self) -> None:
        """Start the one writer of ticks and grants."""
        arguments = ["control", *self._place, "--partitions", str(self._partitions)]
        self.control = self._start("control", arguments)

    def start_worker(self) -> Member:
        """Start one more worker."""
        worker = self._start("worker", ["live", *self._place])
        self.workers.append(worker)
        return worker

    def drop(self, worker: Member) -> None:
        """Count a worker no more among those that should live."""
        self.workers.remove(worker)

    def mend(self) -> list[str]:
        """Replace whoever ended by himself, as an orchestrator would; return their last words."""
        ended = [member for member in (*self.workers, self.control) if member.ended is not None]
        for member in ended:
            if member is self.control:
                self.start_control()
            else:
                self.drop(member)
                self.start_worker()
        return [f"{member.log.name}: {member.ended}: {member.last_words()}" for member in ended]

    def _start(self, kind: str, arguments: list[str]) -> Member:
        self._started += 1
        member = Member(f"{kind}-{self._started}", self._folder, arguments)
        self._members.append(member)
        return member


class MortalKafka(KafkaBroker):
    """Apache Kafka that can be killed and started again on the log it left, at the same address."""

    def command(self) -> list[str]:
        """Return Kafka's command line; kept, so that a second start formats nothing."""
        self._command = super().command()
        return self._command

    def kill(self) -> None:
        """End Java at once. Its guard ends with it and leaves the folder."""
        guard = self._process
        assert guard is not None
        children = Path(f"/proc/{guard.pid}/task/{guard.pid}/children").read_text().split()
        assert len(children) == 1
        os.kill(int(children[0]), signal.SIGKILL)
        guard.wait()

    def start_again(self) -> None:
        """Start on the same folder and ports, and wait until it answers."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._spawn(self._command)
        self._wait_ready()
