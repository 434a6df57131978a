"""What a demo starts ends with it, however it ends."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from streams.broker.server import answers

_STARTER = """
import sys, time
from pathlib import Path
from streams.demo.processes import Process
Process("broker", Path(sys.argv[1]), "broker")
time.sleep(60)
"""


def test_kill_9_of_the_starter_ends_what_it_started(tmp_path: Path) -> None:
    """A process of a demo is gone when the demo is, even where nobody could ask it to go; and it is
    no member of the terminal's group, so that Ctrl-C leaves the order of stopping to the demo.
    """
    with subprocess.Popen([sys.executable, "-c", _STARTER, str(tmp_path)]) as starter:
        try:
            bootstrap = _first_line(tmp_path / "broker.log")
            assert asyncio.run(answers(bootstrap))
            assert os.getpgid(starter.pid) == os.getpgid(0)
        finally:
            starter.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while asyncio.run(answers(bootstrap)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _first_line(log: Path) -> str:
    deadline = time.monotonic() + 60
    while not (log.exists() and "\n" in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return log.read_text().splitlines()[0]
