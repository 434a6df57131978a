"""`dipper agents`: the slow lane."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: dipper agents --broker 127.0.0.1:9092")(agents)


def agents(broker: Annotated[str, typer.Option(help="HOST:PORT of a running broker.")]) -> None:
    """Run the Faust agents until Ctrl-C: one notice on dipper.notices for each decision."""
    import asyncio

    asyncio.run(_agents(broker))


async def _agents(broker: str) -> None:
    from streams.agents.app import run_agents
    from streams.broker.client import broker_kind
    from streams.broker.topics import count_partitions
    from streams.signals import stop_event

    stop = stop_event()
    kind = await broker_kind(broker)
    await count_partitions(broker)
    typer.echo(f"agents run on {broker}")
    done = await run_agents(broker, kind, stop)
    typer.echo(f"sent {done.sent} notices, {done.repeated} repeats left out, {done.unread} unread")
