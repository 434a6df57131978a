"""The end of tasks that a cancellation gets lost in."""

import asyncio

import pytest

from streams.broker.intake import Intake
from streams.ports import Committed, Fetched, Place
from streams.tasks import end


class _LosesOne:
    """A log whose first `lost` cancellations come together with an answer, as `wait_for` has it."""

    place = Place("events", 0)

    def __init__(self, lost: int) -> None:
        self.lost = lost

    async def fetch(self, offset: int) -> Fetched:
        """Answer after a moment that nothing stands."""
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            if self.lost == 0:
                raise
            self.lost -= 1
        return Fetched(offset, b"", (), offset)

    async def bounds(self) -> tuple[int, int]:
        """Nothing stands."""
        return 0, 0

    async def committed(self, group: str) -> Committed:
        """Nothing is committed."""
        return Committed(-1)

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("lost", [0, 1, 3])
async def test_intake_stops_though_a_cancellation_is_lost(lost: int) -> None:
    """Reading ahead ends when told to, even where its log loses the first cancellations."""
    log = _LosesOne(lost)
    intake = Intake(log)
    await intake.start(0)
    await asyncio.sleep(0.005)
    async with asyncio.timeout(20):
        await intake.stop()
    assert log.lost == 0


async def test_what_ended_before_is_left_as_it_is() -> None:
    """A task that has failed or been cancelled ends without a word to who ends it."""

    async def fail() -> None:
        raise ValueError("its own affair")

    failed, cancelled = asyncio.create_task(fail()), asyncio.create_task(asyncio.sleep(60))
    cancelled.cancel()
    await asyncio.wait((failed, cancelled))
    await end(failed)
    await end(cancelled)
    assert isinstance(failed.exception(), ValueError)
    assert cancelled.cancelled()
