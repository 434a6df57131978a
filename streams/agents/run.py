"""Run the agents: notices always, decision quality and shadow where a deployment is
given.
"""

import asyncio
from collections.abc import Sequence

from streams.agents.app import Notifier
from streams.agents.quality import QualityAgents
from streams.agents.shadow import ShadowAgent

Agents = Notifier | QualityAgents | ShadowAgent


async def run_agents(agents: Sequence[Agents], stop: asyncio.Event) -> None:
    """Run the agents until `stop` is set; raise what made one of them fail."""
    started: list[Agents] = []
    try:
        for each in agents:
            started.append(each)
            await each.app.start()
        waits = [asyncio.create_task(each.wait()) for each in (stop, *(a.failed for a in agents))]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
    finally:
        for each in reversed(started):
            await each.app.stop()
    for each in agents:
        if each.failure is not None:
            raise each.failure
