"""What a peer is told on its command line, as one JSON object, one per process."""

import sys
from pathlib import Path
from typing import NamedTuple

import orjson

from streams.config import load_deployment
from streams.deployment import Deployment


class Task(NamedTuple):
    """One process of a peer.

    `job` is "thin" or "full"; `exactly_once` asks for what the framework offers of that name;
    `config` is the deployment of the full job; `folder` is the process's own; it is the one of
    number `member` of `processes`.
    """

    job: str
    broker: str
    group: str
    source: str
    sink: str
    partitions: int
    folder: str
    config: str = ""
    exactly_once: bool = False
    member: int = 0
    processes: int = 1

    @property
    def deployment(self) -> Deployment:
        """The deployment that the full job decides by."""
        return load_deployment(Path(self.config))


def read_task() -> Task:
    """Return the task on the command line."""
    return Task(**orjson.loads(sys.argv[1]))
