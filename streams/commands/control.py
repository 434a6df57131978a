"""`dipper control`: ticks and grants; `dipper control init`: its keys."""

import enum
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import asyncio


_UNCHECKED = "this broker checks nobody: whoever reaches it can speak for an institution"


class Clock(enum.StrEnum):
    """Where time comes from."""

    wall = "wall"
    file = "file"


class Budget(enum.StrEnum):
    """Budgets of an institution: `streams.schema.Cap`."""

    outstanding = "outstanding"
    commitment = "commitment"


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(rich_markup_mode=None)
    group.callback(
        invoke_without_command=True,
        epilog="Example: dipper control --broker 127.0.0.1:9092 --config examples/policies",
    )(control)
    group.command(epilog="Example: dipper control init my-policies")(init)
    place = "--broker 127.0.0.1:9092 --config mine"
    group.command(epilog=f"Example: dipper control prepare next {place}")(prepare)
    group.command(epilog=f"Example: dipper control activate 5f0c... {place}")(activate)
    group.command(epilog=f"Example: dipper control pause dawn {place}")(pause)
    group.command(epilog=f"Example: dipper control resume dawn {place}")(resume)
    group.command(epilog=f"Example: dipper control cap dawn outstanding 500000 {place}")(cap)
    keys = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Keys that sign.")
    keys.command(name="list", epilog="Example: dipper control keys list mine")(keys_list)
    keys.command(
        name="rotate", epilog="Example: dipper control keys rotate mine --broker 127.0.0.1:9092"
    )(keys_rotate)
    keys.command(
        name="revoke", epilog="Example: dipper control keys revoke mine 3f2a --until 120,88"
    )(keys_revoke)
    group.add_typer(keys, name="keys")
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
    metrics_port: Annotated[
        int, typer.Option(min=-1, max=65535, help="Port for /metrics; 0 any free one, -1 none.")
    ] = -1,
    metrics_host: Annotated[str, typer.Option(help="Address for /metrics.")] = "127.0.0.1",
) -> None:
    """Write time and grants into every partition until Ctrl-C; run one such process."""
    if context.invoked_subcommand is not None:
        return
    if not broker or config is None:
        raise typer.BadParameter("--broker HOST:PORT and --config DIR are needed")
    import asyncio

    place = (metrics_port, metrics_host)
    asyncio.run(_control(broker, config, clock, tick_ms, partitions, place))


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


_Broker = Annotated[str, typer.Option(help="HOST:PORT of the broker that control runs on.")]
_Config = Annotated[Path, typer.Option(help="Folder of the deployment, with keys/control.key.")]
_Institution = Annotated[str, typer.Argument(help="Its id.")]


def prepare(
    folder: Annotated[Path, typer.Argument(help="Folder with the policies and models to come.")],
    broker: _Broker,
    config: _Config,
) -> None:
    """Check a folder as a version of the deployment, hand it to every worker, print its name.

    It changes no decision; `dipper control activate` does. A version may change policies, models,
    prices and rules; institutions, products, channels and limits stay.
    """
    import asyncio

    from streams.control.activate import prepare as prepare_

    version, large, _ = asyncio.run(prepare_(broker, config, folder))
    if large:
        place = f"{config}/versions/{version}"
        typer.echo(f"{', '.join(large)}: too large for the topic; copy {place} to every worker")
    typer.echo(f"prepared {version}; it goes live by: dipper control activate {version}")


def activate(
    version: Annotated[str, typer.Argument(help="As prepare printed it, or an older one.")],
    broker: _Broker,
    config: _Config,
) -> None:
    """Put a prepared version into force, in each partition from an exact offset on. Going back is
    activating an older one.
    """
    import asyncio

    from streams.control.activate import activate as activate_

    asyncio.run(activate_(broker, config, version))
    typer.echo(f"{version} is in force in every partition")


def pause(institution: _Institution, broker: _Broker, config: _Config) -> None:
    """Let an institution lend nothing new, in each partition from an exact offset on."""
    _tell(broker, config, "pause", institution)
    typer.echo(f"{institution} lends nothing new")


def resume(institution: _Institution, broker: _Broker, config: _Config) -> None:
    """Let a paused institution lend again."""
    _tell(broker, config, "resume", institution)
    typer.echo(f"{institution} lends again")


def cap(
    institution: _Institution,
    budget: Annotated[Budget, typer.Argument(help="Which of its budgets.")],
    amount_cents: Annotated[int, typer.Argument(min=0, help="What it is from now on, cents.")],
    broker: _Broker,
    config: _Config,
) -> None:
    """Change a budget while all runs: more is granted, less is recalled from what is free. Below
    what is promised and lent already it is refused.
    """
    from streams.limits import AMOUNT_CENTS_MAX

    if amount_cents > AMOUNT_CENTS_MAX:
        raise typer.BadParameter(f"at most {AMOUNT_CENTS_MAX} cents")
    _tell(broker, config, "cap", f"{institution} {budget.value} {amount_cents}")
    typer.echo(f"{institution} has {amount_cents} cents of {budget.value}")


def _tell(broker: str, config: Path, verb: str, what: str) -> None:
    import asyncio

    from streams.control.activate import tell

    asyncio.run(tell(broker, config, verb, what))


_Folder = Annotated[Path, typer.Argument(help="Folder of the deployment, with keys/.")]


def keys_list(folder: _Folder) -> None:
    """Show each public key that counts, and up to which offset in each partition."""
    from streams.control.keys import load_trusted

    for key in load_trusted(folder):
        until = "in use" if key.until is None else f"until {','.join(map(str, key.until))}"
        typer.echo(f"{key.fingerprint}  {until}")


def keys_rotate(
    folder: _Folder,
    broker: Annotated[str, typer.Option(help="HOST:PORT: the logs' ends are asked there.")],
) -> None:
    """Sign with a new key from now on; the old one counts up to what stands. Stop control and
    workers first, and take the public files to every worker before they start again.
    """
    import asyncio

    from streams.broker.topics import log_ends
    from streams.control.keys import rotate_keys

    old = rotate_keys(folder, asyncio.run(log_ends(broker)))
    assert old.until is not None
    typer.echo(f"{old.fingerprint} counts until {','.join(map(str, old.until))}; a new key signs")


def keys_revoke(
    folder: _Folder,
    fingerprint: Annotated[str, typer.Argument(help="Or how it begins, as listed.")],
    until: Annotated[
        str, typer.Option(help="An offset a partition, by commas: from there on it counts no more.")
    ],
) -> None:
    """Take away what a rotated key signed from some offset on: for a key that was stolen. Folds and
    replays then refuse those records, and differ from what was decided then.
    """
    from streams.control.keys import revoke_key

    try:
        offsets = [int(part) for part in until.split(",")]
    except ValueError as error:
        raise typer.BadParameter("--until takes whole numbers, as 120,88") from error
    key = revoke_key(folder, fingerprint, offsets)
    assert key.until is not None
    typer.echo(f"{key.fingerprint} counts until {','.join(map(str, key.until))}")


async def _control(
    broker: str, config: Path, clock: Clock, tick_ms: int, partitions: int, place: tuple[int, str]
) -> None:
    import time
    from contextlib import ExitStack

    from monitoring.control import ControlCollector
    from monitoring.endpoint import serve_metrics
    from monitoring.logs import start_logs
    from streams.broker.topics import ensure_topics, settings_amiss
    from streams.config import load_deployment
    from streams.control.budgets import Budgets
    from streams.control.commands import CommandDesk
    from streams.control.ingress import Ingress
    from streams.control.keys import load_private_key, load_trusted, verifier
    from streams.control.process import ControlProcess
    from streams.control.records import CAP_COMMAND, Command
    from streams.signals import stop_event

    start_logs()
    key = load_private_key(config)
    deployment = load_deployment(config)
    verify = verifier(load_trusted(config))
    stop = stop_event()
    count = partitions or deployment.platform.partitions
    institutions = deployment.institution_ids
    await ensure_topics(broker, count, institutions=institutions)
    for sentence in await settings_amiss(broker, institutions):
        typer.echo(sentence)
    port, host = place
    async with (
        ControlProcess(broker, count, key, deployment.caps, verify, deployment.segments) as control,
        Ingress(broker, count, institutions, key.sign) as ingress,
    ):
        with ExitStack() as stack:
            if port >= 0:
                collector = ControlCollector(lambda: control.ticks, lambda: control.treasury.caps)
                shown = stack.enter_context(serve_metrics(collector, port, host))
                typer.echo(f"metrics on http://{host}:{shown}/metrics")
            typer.echo(f"control runs on {broker} for {count} partitions")
            if not ingress.checked:
                typer.echo(_UNCHECKED)
            ticking = (
                control.run_file_clock(stop)
                if clock is Clock.file
                else control.run_wall_clock(stop, tick_ms)
            )
            budgets = Budgets(broker, count, control.treasury, control.order)

            async def tell(told: Command) -> None:
                if told.verb == CAP_COMMAND:
                    await budgets.set_cap(told.what)
                else:
                    await control.tell(told)

            desk = CommandDesk(broker, key, tell, lambda: time.time_ns() // 1_000_000)
            works = [ticking, ingress.run(stop), desk.run(stop)]
            if clock is Clock.wall:
                # A file's clock means a replay of that file, where no treasury is: not here either.
                works.append(budgets.run(stop))
            await _together(stop, *works)


async def _together(stop: "asyncio.Event", *work: Coroutine[Any, Any, None]) -> None:
    """Run all until told to stop; where one fails, stop the others, then raise what it raised."""
    import asyncio

    tasks = [asyncio.create_task(each) for each in work]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    stop.set()
    await asyncio.wait(tasks)
    for task in tasks:
        task.result()
