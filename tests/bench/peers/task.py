"""What a peer is told on its command line, as one JSON object, one per process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson

if TYPE_CHECKING:
    from tests.bench.peers.lender import Lender


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

    def lender(self, partition: int) -> Lender:
        """Return who decides in a partition of the full job; the thin job need not import it."""
        from streams.config import load_deployment
        from tests.bench.peers.lender import Lender

        return Lender(load_deployment(Path(self.config)), partition, self.partitions)


def read_task() -> Task:
    """Return the task on the command line."""
    return Task(**orjson.loads(sys.argv[1]))
