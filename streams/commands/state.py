"""`dipper state`: snapshots kept, listed, checked, looked into."""

from pathlib import Path
from typing import Annotated

import typer

Snapshots = Annotated[
    str,
    typer.Option(
        envvar="DIPPER_SNAPSHOTS", help="Where they stand: a folder, or s3://… with s3fs installed."
    ),
]
Config = Annotated[Path, typer.Option(help="Folder of the deployment.")]
_EXIT_BAD = 1
_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        rich_markup_mode=None,
        help="Snapshots of partitions: keep, list, verify, show; adopt them; resize the log.",
    )
    where = "--snapshots snapshots"
    group.command(
        epilog=f"Example: dipper state keep --broker 127.0.0.1:9092 --config mine {where}"
    )(keep)
    group.command("list", epilog=f"Example: dipper state list --config mine {where}")(list_)
    group.command(epilog=f"Example: dipper state verify --config mine {where}")(verify)
    group.command(
        epilog=f"Example: dipper state adopt --broker 127.0.0.1:9092 --config changed {where}"
    )(adopt)
    group.command(
        epilog="Example: dipper state resize kafka://old:9092 --config mine --partitions 16"
        " --to new:9092"
    )(resize)
    group.command(epilog=f"Example: dipper state show p1 --config mine {where}")(show)
    app.add_typer(group, name="state")


def keep(
    broker: Annotated[str, typer.Option(help="HOST:PORT of a running broker.")],
    config: Config,
    snapshots: Snapshots,
    group: Annotated[str, typer.Option(help="Group of the workers to follow.")] = "dipper",
    partition: Annotated[
        list[int] | None, typer.Option(help="Only this one; may be given again. Default: all.")
    ] = None,
    every_events: Annotated[int, typer.Option(min=1, help="Write after so many events.")] = (
        1_000_000
    ),
    every_seconds: Annotated[
        float, typer.Option(min=0, help="Write after so many seconds with any event.")
    ] = 60.0,
    metrics_port: Annotated[
        int, typer.Option(min=-1, max=65535, help="Port for /metrics; 0 any free one, -1 none.")
    ] = -1,
    metrics_host: Annotated[str, typer.Option(help="Address for /metrics.")] = "127.0.0.1",
) -> None:
    """Follow the workers with the output off and write snapshots, until SIGTERM or Ctrl-C.

    It needs the memory of the partitions that it follows, and the time of folding their events. Run
    it beside the workers or on another machine; two of them do no harm.
    """
    import asyncio
    import logging

    from streams.keep import Every, Shown, keep_snapshots
    from streams.signals import stop_event
    from streams.snapshot.store import open_store

    async def run() -> None:
        every = Every(every_events, every_seconds)
        shown = Shown(metrics_host, metrics_port) if metrics_port >= 0 else None
        await keep_snapshots(
            broker, config, open_store(snapshots), group, partition, every, stop_event(), shown
        )

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    asyncio.run(run())


def list_(config: Config, snapshots: Snapshots) -> None:
    """List every snapshot: partition, offset, what made it. Footers are checked, arrays are not."""
    _print(config, snapshots, deep=False)


def verify(config: Config, snapshots: Snapshots) -> None:
    """Read every snapshot in full and check each byte; exit with 1 where one is corrupt."""
    _print(config, snapshots, deep=True)


def adopt(
    broker: Annotated[str, typer.Option(help="HOST:PORT of a running broker.")],
    config: Annotated[Path, typer.Option(help="Folder of the deployment that shall go on.")],
    snapshots: Annotated[
        str, typer.Option(envvar="DIPPER_SNAPSHOTS", help="Where they stand; see `state keep`.")
    ] = "",
    group: Annotated[str, typer.Option(help="Group of the workers.")] = "dipper",
    wait_seconds: Annotated[
        float, typer.Option(min=0, help="For the last snapshots of the old one.")
    ] = 120.0,
    refold: Annotated[
        bool,
        typer.Option("--refold", help="Without snapshots: the new one folds the log by its rules."),
    ] = False,
) -> None:
    """Let a changed deployment or a new version go on where the old one stops.

    Start workers of the new one beside those of the old: they stand by. This command, run by the
    new one, then stops the old workers at one offset in each partition, waits until `dipper state
    keep` of the old one has written a snapshot there, makes it the new one's, and the new workers
    go on; stop the old ones at leisure. Institutions, products, policies and limits must be the
    same in name and number. Where it fails the old ones go on.
    """
    import asyncio

    from streams.adopt import adopt as run
    from streams.errors import DipperError
    from streams.snapshot.store import open_store

    if refold == bool(snapshots):
        raise DipperError("say --snapshots, or --refold where none were kept, not both")
    store = open_store(snapshots) if snapshots else None
    for done in asyncio.run(run(broker, config, store, group, wait_seconds)):
        typer.echo(
            f"partition {done.partition}: {done.manifest[:12]} decides from offset {done.offset} on"
        )


def resize(
    source: Annotated[
        str, typer.Argument(help="The old log: kafka://HOST:PORT, or Parquet with partitions.")
    ],
    config: Annotated[Path, typer.Option(help="Folder of the deployment, with control's key.")],
    partitions: Annotated[int, typer.Option(min=1, help="Of the new generation.")],
    to: Annotated[str, typer.Option(help="HOST:PORT of a broker whose topics are new.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="Parquet file for the new log, as dipper replay takes it.")
    ] = None,
    differing: Annotated[
        bool, typer.Option("--differing", help="Write it also where decisions would turn.")
    ] = False,
) -> None:
    """Write the log again for another number of partitions, into a new generation of topics.

    Stop publishers, control, workers and agents first. Every request is decided again by replay:
    where a decision would be another (leases are shared out anew) it is named, and nothing is
    written unless --differing says so. Then start control and the workers on the new topics, and
    the agents when the workers have caught up: notices of the past are told once more.
    """
    import asyncio

    from streams.config import load_deployment
    from streams.errors import DipperError
    from streams.resize import publish_generation
    from streams.resize import resize as run
    from streams.versions import with_versions

    deployment = with_versions(load_deployment(config))
    generation, compared = run(source, deployment, partitions)
    typer.echo(
        f"{generation.kept} records into {partitions} partitions, {generation.left} left behind "
        f"(control's own and refused ones); {compared.decisions} decisions, "
        f"{len(compared.differing)} would be others"
    )
    for id in compared.differing[:_SHOWN]:
        typer.echo(f"  {id}")
    if compared.differing and not differing:
        raise DipperError("nothing is written; raise caps so that leases suffice, or --differing")
    if out is not None:
        generation.log.write_parquet(out)
    if to:
        asyncio.run(publish_generation(to, generation, deployment))


def show(
    applicant: Annotated[str, typer.Argument(help="The token, as it stands in events.")],
    config: Config,
    snapshots: Snapshots,
    partitions: Annotated[
        int, typer.Option(min=0, help="Of the log; 0: as platform.toml says.")
    ] = 0,
) -> None:
    """Print what the newest snapshot remembers of an applicant, as JSON."""
    import orjson

    from streams.config import load_deployment
    from streams.errors import DipperError
    from streams.show import newest_applicant
    from streams.snapshot.store import open_store
    from streams.versions import with_versions

    deployment = with_versions(load_deployment(config))
    found = newest_applicant(
        open_store(snapshots),
        deployment,
        applicant.encode(),
        partitions or deployment.platform.partitions,
    )
    if found is None:
        raise DipperError(f"the newest snapshot knows nothing of {applicant}")
    typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())


def _print(config: Path, snapshots: str, *, deep: bool) -> None:
    from streams.config import load_deployment
    from streams.show import examine
    from streams.snapshot.store import open_store

    bad = 0
    typer.echo(f"{'partition':>9} {'offset':>15}  {'manifest':12}  {'engine':12}  state")
    partitions = load_deployment(config).platform.partitions
    for found in examine(open_store(snapshots), partitions, deep=deep):
        facts = found.facts
        manifest, engine = (facts.manifest[:12], facts.engine[:12]) if facts else ("?", "?")
        bad += bool(found.fault)
        state = found.fault or ("whole" if deep else "footer whole")
        typer.echo(f"{found.partition:>9} {found.offset:>15}  {manifest:12}  {engine:12}  {state}")
    if bad:
        raise typer.Exit(_EXIT_BAD)
