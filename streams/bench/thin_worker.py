"""One worker of the thin job as a process of its own: `python -m streams.bench.thin_worker`."""

import asyncio
import logging
import sys

from streams.bench.thin import ThinStep
from streams.limits import Limits
from streams.live import Worker
from streams.signals import stop_event


async def _main(bootstrap: str, group: str, guarantee: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    limits = Limits()
    worker = Worker(
        bootstrap,
        lambda number, _: ThinStep(number, limits),
        group=group,
        guarantee=guarantee,
    )
    await worker.run(stop_event())


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
