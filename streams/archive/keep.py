"""Keep an archive up to date: a run of `streams/archive/copy.py`, a pause, the next one.

A run that fails is told, counted and followed by the next one: a store that is full, or a broker
that is away, needs nobody to start it again. If the process dies anywhere, or is told to stop
within a run, the next one goes on behind the last segment.
"""

import asyncio
import logging
from contextlib import ExitStack, suppress
from pathlib import Path

from monitoring.archiver import ArchiverCollector, Reached
from monitoring.endpoint import Health, serve_metrics
from streams.archive import copy
from streams.archive.vault import Vault
from streams.errors import DipperError
from streams.keep import Shown
from streams.snapshot.store import Store

_log = logging.getLogger("dipper.archive")


class Archiver:
    """Archives a broker's topics again and again: `await Archiver(...).run(every_s, stop)`.

    `store` takes segments, `vault` is the file of keys; with `trim` the log is cut behind
    `snapshots`. `reached`, `failures` and `fault` (why the last run failed; None: it did not, and
    what stood is archived) may be read at any time.
    """

    def __init__(
        self, bootstrap: str, store: Store, vault: Path, snapshots: Store | None, *, trim: bool
    ) -> None:
        self._bootstrap = bootstrap
        self._store = store
        self._vault = vault
        self._snapshots = snapshots
        self._trim = trim
        self._reached: dict[tuple[str, int], Reached] = {}
        self.failures = 0
        self.fault: str | None = "nothing has been archived yet"

    @property
    def reached(self) -> list[Reached]:
        """Return how far each partition is."""
        return list(self._reached.values())

    async def run(self, every_s: float, stop: asyncio.Event) -> None:
        """Archive until `stop` is set, `every_s` seconds between two runs."""
        stopped = asyncio.create_task(stop.wait())
        while not stop.is_set():
            run = asyncio.create_task(self._once())
            await asyncio.wait({run, stopped}, return_when=asyncio.FIRST_COMPLETED)
            run.cancel()
            with suppress(asyncio.CancelledError):
                await run
            await asyncio.wait({stopped}, timeout=every_s)

    async def _once(self) -> None:
        try:
            # Opened for each run: a key that `dipper archive erase` destroys meanwhile must not
            # live on in the memory of a process that runs for months.
            vault = Vault(self._vault)
            try:
                await copy.archive(
                    self._bootstrap, self._store, vault, self._snapshots,
                    trim=self._trim, tell=self._hear,
                )  # fmt: skip
            finally:
                vault.close()
        except DipperError as error:
            self.failures += 1
            self.fault = str(error)
            _log.error("not archived: %s", error)
        else:
            self.fault = None

    def _hear(self, reached: Reached) -> None:
        self._reached[reached.topic, reached.partition] = reached


async def keep_archive(
    archiver: Archiver, every_s: float, stop: asyncio.Event, shown: Shown | None = None
) -> None:
    """Run an archiver until `stop` is set, with its metrics and health on a port."""
    with ExitStack() as stack:
        if shown is not None:
            collector = ArchiverCollector(lambda: archiver.reached, lambda: archiver.failures)
            health = Health(lambda: None, lambda: archiver.fault)
            port = stack.enter_context(serve_metrics(collector, shown.port, shown.host, health))
            _log.info("metrics on http://%s:%d/metrics", shown.host, port)
        await archiver.run(every_s, stop)
