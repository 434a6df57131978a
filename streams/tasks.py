"""The end of a task, for certain."""

import asyncio
from typing import Any

_AGAIN_S = 0.2


async def end(task: asyncio.Task[Any]) -> None:
    """Cancel a task and return when it has ended, however it ends.

    Once is not enough: in Python 3.11 `asyncio.wait_for` loses a cancellation that comes together
    with what it waits for, and aiokafka awaits every answer by it. A task that then goes on would
    be waited for until it ends by itself, which a reader of a log never does.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=_AGAIN_S)
    if not task.cancelled():
        task.exception()
