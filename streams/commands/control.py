"""`dipper control`: ticks and grants; `dipper control init`: its keys."""

import enum
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import asyncio


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
    from streams.control.ingress import Ingress
    from streams.control.keys import load_private_key, load_trusted, verifier
    from streams.control.process import ControlProcess
    from streams.signals import stop_event

    key = load_private_key(config)
    deployment = load_deployment(config)
    verify = verifier(load_trusted(config))
    stop = stop_event()
    count = partitions or deployment.platform.partitions
    institutions = deployment.institution_ids
    await ensure_topics(broker, count, institutions=institutions)
    async with (
        ControlProcess(broker, count, key, deployment.caps, verify) as control,
        Ingress(broker, count, institutions, key.sign) as ingress,
    ):
        typer.echo(f"control runs on {broker} for {count} partitions")
        if not ingress.checked:
            typer.echo("this broker checks nobody: whoever reaches it can speak for an institution")
        ticking = (
            control.run_file_clock(stop)
            if clock is Clock.file
            else control.run_wall_clock(stop, tick_ms)
        )
        await _together(stop, ticking, ingress.run(stop))


async def _together(stop: "asyncio.Event", *work: Coroutine[Any, Any, None]) -> None:
    """Run all until told to stop; where one fails, stop the others, then raise what it raised."""
    import asyncio

    tasks = [asyncio.create_task(each) for each in work]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    stop.set()
    await asyncio.wait(tasks)
    for task in tasks:
        task.result()
