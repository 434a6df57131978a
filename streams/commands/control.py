"""`dipper control`: ticks and grants; `dipper control init`: its keys."""

import enum
from pathlib import Path
from typing import Annotated

import typer


class Clock(enum.StrEnum):
    """Where time comes from."""

    wall = "wall"
    file = "file"


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(rich_markup_mode=None)
    group.callback(
        invoke_without_command=True,
        epilog="Example: dipper control --broker 127.0.0.1:9092 --config examples/policies",
    )(control)
    group.command(epilog="Example: dipper control init my-policies")(init)
    app.add_typer(group, name="control")


def control(
    context: typer.Context,
    broker: Annotated[str, typer.Option(help="HOST:PORT of a running broker.")] = "",
    config: Annotated[
        Path | None, typer.Option(help="Folder of the deployment, with keys/control.key.")
    ] = None,
    clock: Annotated[
        Clock,
        typer.Option(
            help="wall: this machine's clock; file: times that `dipper publish` hands on."
        ),
    ] = Clock.wall,
    tick_ms: Annotated[
        int, typer.Option(min=1, help="With the wall clock: milliseconds from tick to tick.")
    ] = 1_000,
    partitions: Annotated[
        int, typer.Option(min=0, help="Make missing topics with so many; 0: as platform.toml says.")
    ] = 0,
) -> None:
    """Write time and grants into every partition until Ctrl-C; run one such process."""
    if context.invoked_subcommand is not None:
        return
    if not broker or config is None:
        raise typer.BadParameter("--broker HOST:PORT and --config DIR are needed")
    import asyncio

    asyncio.run(_control(broker, config, clock, tick_ms, partitions))


def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the deployment; keys go to DIR/keys.")],
) -> None:
    """Make control's key pair: keys/control.key for this process alone, keys/control.pub for
    all.
    """
    from streams.control.keys import init_keys
    from streams.errors import DipperError

    if not (folder / "platform.toml").is_file():
        raise DipperError(f"{folder}: no platform.toml here; name a deployment's folder")
    private, public = init_keys(folder)
    typer.echo(f"made {private} (keep it where control runs) and {public} (goes to every worker)")


async def _control(broker: str, config: Path, clock: Clock, tick_ms: int, partitions: int) -> None:
    from streams.broker.topics import ensure_topics
    from streams.config import load_deployment
    from streams.control.keys import load_private_key
    from streams.control.process import ControlProcess
    from streams.signals import stop_event

    key = load_private_key(config)
    deployment = load_deployment(config)
    stop = stop_event()
    count = partitions or deployment.platform.partitions
    await ensure_topics(broker, count)
    async with ControlProcess(broker, count, key, deployment.caps) as control:
        typer.echo(f"control runs on {broker} for {count} partitions")
        if clock is Clock.file:
            await control.run_file_clock(stop)
        else:
            await control.run_wall_clock(stop, tick_ms)
