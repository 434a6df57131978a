"""`dipper traffic`: a simulated population that lives on a deployment."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streams.simulate.world import WorldConfig

_SILENT_S_MAX = 30.0  # a broker that is away for longer: somebody must look


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: dipper traffic --broker 127.0.0.1:9092 --config mine --rate 200")(
        traffic
    )


def traffic(
    broker: Annotated[str, typer.Option(help="HOST:PORT of a running broker.")],
    config: Annotated[Path, typer.Option(help="Folder of the deployment.")],
    rate: Annotated[float, typer.Option(min=1, help="Events a second.")] = 200.0,
    seconds: Annotated[float, typer.Option(min=0, help="How long; 0: until Ctrl-C.")] = 0.0,
    applicants: Annotated[int, typer.Option(min=10, help="People and firms.")] = 5_000,
    pace: Annotated[
        float, typer.Option(min=1, help="Days of a loan in one day: 86400 shows them in seconds.")
    ] = 86_400.0,
    hostile_share: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of broken and dishonest records.")
    ] = 0.0,
    income_factor: Annotated[
        float, typer.Option(min=0.01, help="What incomes are worth after --shift-seconds.")
    ] = 1.0,
    shift_seconds: Annotated[float, typer.Option(min=0, help="When incomes change.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the population.")] = 1,
    health_port: Annotated[
        int, typer.Option(min=-1, max=65535, help="Port for /healthz; 0 any free one, -1 none.")
    ] = -1,
) -> None:
    """Publish a population's events in real time, and let it react to what is decided.

    For trying a deployment, never for one with real applicants. Its agents take the same --pace.
    """
    import asyncio

    from streams.simulate.world import WorldConfig

    world = WorldConfig(
        applicants=applicants,
        rate_per_second=rate,
        hostile_share=hostile_share,
        pace=pace,
        seed=seed,
        keep_truth=False,
        income_factor=income_factor,
        shift_ms=int(shift_seconds * 1_000),
    )
    asyncio.run(_traffic(broker, config, world, seconds, health_port))


async def _traffic(
    broker: str, config: Path, world: "WorldConfig", seconds: float, port: int
) -> None:
    import time
    from contextlib import ExitStack

    from monitoring.endpoint import Health, serve_metrics
    from streams.broker.topics import count_partitions
    from streams.config import load_deployment
    from streams.demo.tally import Tally
    from streams.demo.traffic import Traffic
    from streams.signals import stop_event
    from streams.simulate.world import World

    stop, deployment = stop_event(), load_deployment(config)
    tally, caps = Tally(deployment.segments), deployment.caps
    partitions = await count_partitions(broker)
    live = World(world, time.time_ns() // 1_000_000)
    typer.echo(f"{world.applicants} applicants publish {world.rate_per_second:g} events a second")
    turned = [time.monotonic()]

    def on_turn() -> None:
        turned[0] = time.monotonic()

    def stuck() -> str | None:
        silent_s = time.monotonic() - turned[0]
        return None if silent_s < _SILENT_S_MAX else f"nothing published for {silent_s:.0f} s"

    with ExitStack() as stack:
        if port >= 0:
            shown = stack.enter_context(serve_metrics(None, port, health=Health(stuck, stuck)))
            typer.echo(f"health on http://127.0.0.1:{shown}/healthz")
        traffic = Traffic(broker, live, tally, partitions, list(caps))
        took = await traffic.run(seconds, stop, on_turn)
    result = tally.summary(took, caps)
    del result["by_institution"]
    typer.echo(", ".join(f"{name} {value}" for name, value in result.items()))
