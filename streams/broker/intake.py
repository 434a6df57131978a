"""Stage 1, intake: record batches of one partition, fetched ahead, up to a limit.

While answers wait to be decided up to that limit more are asked for, and then no more: a step or a
commit that is slow pushes back as far as the broker.
"""

import asyncio
from collections import deque
from contextlib import suppress

from streams.broker.batches import last_offset
from streams.errors import BrokerError
from streams.ports import Fetched, Log
from streams.tasks import end

WAITING_BYTES_MAX = 4 * 1024 * 1024  # one more answer may be under way
# While answers wait the broker is asked no more often than that: each asking costs both sides.
_PAUSE_S = 0.002


class Intake:
    """Reads one log ahead. `start` comes first; `wait`, then `take`."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.log_end = 0  # offset after the last record that could be read when last asked
        self.waiting_bytes = 0
        self._waiting: deque[Fetched] = deque()
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """Ask for no more, and forget what waits."""
        pump, self._pump = self._pump, None
        if pump is not None:
            await end(pump)
        self._waiting.clear()
        self.waiting_bytes = 0

    async def close(self) -> None:
        """Stop and disconnect."""
        await self.stop()
        await self.log.close()

    async def start(self, offset: int) -> None:
        """Ask for what stands from this offset on."""
        await self.stop()
        self._pump = asyncio.create_task(self._read_on(offset))
        self._pump.add_done_callback(lambda _: self._arrived.set())

    async def wait(self, seconds: float, bytes_min: int = 1) -> None:
        """Return when so many bytes wait, or after so many seconds.

        Raises what reading failed with, once all that came before is taken.
        """
        pump = self._pump
        assert pump is not None, "start comes first"
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.waiting_bytes < bytes_min and not pump.done():
                    self._arrived.clear()
                    await self._arrived.wait()
        if pump.done() and not self._waiting:
            pump.result()
            raise BrokerError(
                f"{self.log.place.topic} partition {self.log.place.partition}: the broker sends "
                "no whole record batch; is one larger than its fetch limit?"
            )

    def take(self) -> list[Fetched]:
        """Return all that waits."""
        taken = list(self._waiting)
        self._waiting.clear()
        self.waiting_bytes = 0
        self._taken.set()
        return taken

    async def _read_on(self, offset: int) -> None:
        while True:
            fetched = await self.log.fetch(offset)
            self.log_end = fetched.log_end
            if not fetched.data:
                continue
            self._waiting.append(fetched)
            self.waiting_bytes += len(fetched.data)
            self._arrived.set()
            reached = last_offset(fetched.data, offset)
            if reached == offset:
                return  # nothing whole in it: whoever reads the batch says why
            offset = reached
            self._taken.clear()
            if self.waiting_bytes >= WAITING_BYTES_MAX:
                await self._taken.wait()
            else:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._taken.wait(), _PAUSE_S)
