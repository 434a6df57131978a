"""A broker as a process of ours: started on free ports, waited for, stopped for sure."""

import asyncio
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from aiokafka.errors import KafkaError

from streams.broker.access import Access, make_admin
from streams.errors import BrokerError

GUARD = Path(__file__).with_name("guard.py")
_STARTS_MAX = 3  # a port that was free a moment ago may be taken when the broker binds it
_POLL_S = 0.02
_WATCH_S = 0.2


def free_ports(count: int) -> list[int]:
    """Return `count` distinct loopback ports that nobody listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class BrokerServer(ABC):
    """One broker process and its temporary folder; a context manager, sync and async.

    A kind of broker tells its `kind`, how long it may take, and `command`. `bootstrap` is
    "127.0.0.1:PORT" from start to stop. Clients that still talk to it when it stops see it vanish.
    """

    kind: str
    start_s_max: float
    grace_s: float = 5.0
    access: Access | None = None  # how its own check enters; None: PLAINTEXT

    def __init__(self, port: int = 0) -> None:
        """Take the loopback port to listen on; 0 for a free one."""
        self.port = port
        self.bootstrap = ""
        self.folder = Path()
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Choose ports, set `bootstrap`, write what `folder` must hold; return the program."""

    def start(self) -> Self:
        """Start and wait until a real client gets an answer; `BrokerError` with its log if not."""
        assert self._process is None
        if self.port and _listens("127.0.0.1", self.port):
            # Else that one would answer for ours, which ends without a port.
            message = (
                f"port {self.port} of 127.0.0.1 is taken; stop what listens there or name another"
            )
            raise BrokerError(message)
        for attempt in range(1, _STARTS_MAX + 1):
            self.folder = Path(tempfile.mkdtemp(prefix=f"dipper-{self.kind}-"))
            try:
                self._spawn(self.command())
                self._wait_ready()
            except BrokerError as error:
                log = self.log_tail()
                self.stop()
                if attempt == _STARTS_MAX or self.port:
                    message = f"{error}; the end of its log: {log or '(empty)'}"
                    raise BrokerError(message) from error
            except BaseException:
                self.stop()
                raise
            else:
                break
        return self

    def stop(self) -> None:
        """Ask, wait, kill; remove the folder. Harmless when nothing runs."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(self.grace_s + 5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if self.folder != Path():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = Path()

    def wait(self, stop: threading.Event) -> None:
        """Return when `stop` is set; `BrokerError` with the log's end if the broker ends before."""
        assert self._process is not None
        while not stop.wait(_WATCH_S):
            if self._process.poll() is not None:
                message = f"the {self.kind} broker ended; the end of its log: {self.log_tail()}"
                raise BrokerError(message)

    @property
    def pid(self) -> int:
        """The process that stands before the broker; 0 where none runs."""
        return self._process.pid if self._process else 0

    def log_tail(self) -> str:
        """Return the last few lines that the broker wrote."""
        log = self.folder / "broker.log"
        return " | ".join(log.read_text(errors="replace").splitlines()[-5:]) if log.exists() else ""

    def _spawn(self, command: list[str]) -> None:
        with (self.folder / "broker.log").open("wb") as log:
            guard = [sys.executable, "-I", "-S", str(GUARD), str(self.grace_s), str(self.folder)]
            self._process = subprocess.Popen(
                [*guard, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C is for the starter, who then stops us in order
            )

    def _wait_ready(self) -> None:
        # A thread of its own, since the caller may stand in a running event loop.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, self._answer()).result()

    async def _answer(self) -> None:
        deadline = time.monotonic() + self.start_s_max
        host, port = self.bootstrap.rsplit(":", 1)
        # While the broker starts, refused connections are no news.
        client_log = logging.getLogger("aiokafka")
        level = client_log.level
        client_log.setLevel(logging.CRITICAL)
        try:
            while not (_listens(host, int(port)) and await answers(self.bootstrap, self.access)):
                assert self._process is not None
                if self._process.poll() is not None:
                    message = f"the {self.kind} broker ended at its start"
                    raise BrokerError(message)
                if time.monotonic() > deadline:
                    message = f"the {self.kind} broker did not answer in {self.start_s_max:.0f} s"
                    raise BrokerError(message)
                await asyncio.sleep(_POLL_S)
        finally:
            client_log.setLevel(level)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.stop)


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


async def answers(bootstrap: str, access: Access | None = None) -> bool:
    """Return whether a Kafka client gets the list of topics from `bootstrap` within 5 seconds."""
    # A broker of our own speaks PLAINTEXT, unless its kind says how it is entered.
    admin = make_admin(bootstrap, access or Access(), request_timeout_ms=5_000)
    try:
        await admin.start()
        await admin.list_topics()
    except (KafkaError, OSError):
        return False
    finally:
        await admin.close()
    return True
