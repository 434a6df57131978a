"""A worker of the running step as a process of its own: `python running_worker.py HOST:PORT`."""

import asyncio
import sys

from streams.live import Worker
from streams.signals import stop_event
from tests.streams.running_step import RunningStep


async def _main(bootstrap: str) -> None:
    stop = stop_event()
    print("started", flush=True)
    await Worker(bootstrap, RunningStep).run(stop)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
