"""The systems that are compared, as a table: how each is started, for which job, on how much.

Peers stand in `tests/bench/peers`: they are no part of what is shipped. What they need on top is
the group `bench` of pyproject.toml.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

import orjson

from streams.bench import flink
from streams.bench.cpu import family
from streams.errors import DipperError
from streams.topology import DECISIONS, EVENTS

ROOT = Path(__file__).resolve().parents[2]
PEERS = "tests/bench/peers"
THIN, FULL = "thin", "full"
ALO, EOS = "at least once", "exactly once"


class Job(NamedTuple):
    """What a system is asked to do now."""

    name: str  # thin or full
    broker: str
    group: str
    partitions: int
    config: Path
    folder: Path
    broker_pid: int = 0


class System(NamedTuple):
    """One row: name, guarantee, jobs, processes, which topic it writes, how a process starts.

    `rates` are rough events a second by job: only the length of the log follows from them.
    """

    name: str
    guarantee: str
    rates: dict[str, int]
    processes: int
    command: Callable[["System", Job, int], list[str]]
    module: str = ""  # of Python, which must be installed
    small: bool = True
    # It counts an event twice where a partition moves at its start, so its members join first and
    # its log, which is the first section, is published then.
    joins_first: bool = False
    # Its results stand in the order of the log. Where they do not, the first section's cannot be
    # told from the others', and the whole is compared.
    ordered: bool = True

    @property
    def source(self) -> str:
        """The topic that it reads."""
        return f"in.{self.id}" if self.joins_first else EVENTS.name

    @property
    def id(self) -> str:
        """A name for groups, topics and files."""
        return f"{self.name}-{self.guarantee}".replace(" ", "-").lower()

    def sink(self) -> str:
        """The topic of its results."""
        return DECISIONS.name if self.name == "dipper" else f"out.{self.id}"


def _dipper(system: System, job: Job, _: int) -> list[str]:
    guarantee = system.guarantee.replace(" ", "-")
    if job.name == THIN:
        program = "streams.bench.thin_worker"
        return [sys.executable, "-m", program, job.broker, job.group, guarantee]
    arguments = ["live", "--broker", job.broker, "--config", str(job.config), "--group", job.group]
    return [sys.executable, "-m", "streams", *arguments, "--commit", guarantee]


def _peer(module: str) -> Callable[[System, Job, int], list[str]]:
    def command(system: System, job: Job, member: int) -> list[str]:
        folder = job.folder / f"{system.id}-{job.name}-{member}"
        folder.mkdir(parents=True)
        task = {
            "job": job.name, "broker": job.broker, "group": job.group, "source": system.source,
            "sink": system.sink(), "partitions": job.partitions, "folder": str(folder),
            "config": str(job.config), "exactly_once": system.guarantee == EOS,
            "member": member, "processes": system.processes,
        }  # fmt: skip
        return [sys.executable, "-m", f"tests.bench.peers.{module}", orjson.dumps(task).decode()]

    return command


def _flink(settings: str) -> Callable[[System, Job, int], list[str]]:
    def command(system: System, job: Job, _: int) -> list[str]:
        arguments = [job.broker, job.group, EVENTS.name, system.sink(), str(job.partitions)]
        return flink.command(ROOT / PEERS / "flink", *arguments, settings)

    return command


def dipper(guarantee: str, processes: int = 1) -> System:
    """Return dipper's own row."""
    rates = {THIN: 300_000, FULL: 150_000}
    return System("dipper", guarantee, rates, processes, _dipper, small=guarantee == EOS)


def _python(name: str, job: str, module: str, rates: dict[str, int], guarantee: str) -> System:
    # Two processes: a Python peer uses one core each.
    return System(name, guarantee, rates, 2, _peer(job), module, guarantee == ALO)


_QUIX = {THIN: 20_000, FULL: 3_000}
SYSTEMS = (
    dipper(EOS),
    dipper(ALO),
    _python("aiokafka", "aiokafka_job", "aiokafka", {THIN: 100_000, FULL: 15_000}, ALO),
    _python("Quix Streams", "quix_job", "quixstreams", _QUIX, ALO),
    _python("Quix Streams", "quix_job", "quixstreams", _QUIX, EOS),
    _python("Faust", "faust_job", "faust", {THIN: 1_500, FULL: 600}, ALO)._replace(
        joins_first=True
    ),
    System("Flink", EOS, {THIN: 400_000}, 1, _flink("default"), small=False, ordered=False),
    System("Flink tuned", EOS, {THIN: 400_000}, 1, _flink("tuned"), small=False, ordered=False),
)


def environment() -> dict[str, str]:
    """Return ours, but with Python's bytecode kept, as it is where packages are installed: else
    every process of a system compiles all that it imports.
    """
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class Running:
    """The processes of one system: `with Running(system, job) as running`; killed at the end."""

    def __init__(self, system: System, job: Job) -> None:
        self._system, self._job = system, job
        self._processes: list[subprocess.Popen[bytes]] = []
        self.log = job.folder / f"{system.id}-{job.name}.log"

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            for member in range(self._system.processes):
                command = self._system.command(self._system, self._job, member)
                self._processes.append(
                    subprocess.Popen(  # noqa: S603 commands of this table
                        command,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        stdin=subprocess.DEVNULL,
                        cwd=ROOT,
                        env=environment(),
                    )
                )
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()

    @property
    def pids(self) -> list[int]:
        """Its processes and what they started."""
        return [pid for process in self._processes for pid in family(process.pid)]

    def last_words(self) -> str | None:
        """Return the end of its log where a process of it has ended, else None."""
        if all(process.poll() is None for process in self._processes):
            return None
        lines = self.log.read_text(errors="replace").strip().splitlines()
        codes = [process.returncode for process in self._processes if process.poll() is not None]
        return f"ended with {codes[0]}: {lines[-1] if lines else 'it said nothing'}"


def missing(system: System) -> str:
    """Return why a system cannot run here, or nothing."""
    if system.name == "dipper":
        return ""
    if not (ROOT / PEERS).is_dir():
        return f"peers stand in {PEERS} of a checkout, which is not here"
    if system.name.startswith("Flink"):
        tools = flink.missing_tools()
        return f"{' and '.join(tools)} not found on the path" if tools else ""
    if system.module and importlib.util.find_spec(system.module) is None:
        return f"{system.module} is not installed: it is in the group `bench`"
    return ""


def chosen(names: str, *, small: bool) -> list[System]:
    """Return the systems that are named, with commas between; without names all that fit."""
    if not names:
        return [system for system in SYSTEMS if system.small or not small]
    wanted = {name.strip().lower() for name in names.split(",")}
    known = {system.name.lower() for system in SYSTEMS}
    if unknown := wanted - known:
        raise DipperError(f"no such system: {', '.join(unknown)}; known: {', '.join(known)}")
    return [system for system in SYSTEMS if system.name.lower() in wanted]
