"""`dipper live`: one worker."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Commit(StrEnum):
    """What a commit guarantees."""

    EXACTLY_ONCE = "exactly-once"
    AT_LEAST_ONCE = "at-least-once"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Example: dipper live --broker 127.0.0.1:9092 --config examples/policies "
        "--metrics-port 9100"
    )(live)


def live(
    broker: Annotated[str, typer.Option(help="HOST:PORT of a running broker.")],
    config: Annotated[Path, typer.Option(help="Folder of the deployment.")],
    group: Annotated[
        str, typer.Option(help="Consumer group; workers of one group share the partitions.")
    ] = "dipper",
    commit: Annotated[
        Commit | None,
        typer.Option(help="Default: exactly once on Apache Kafka, at least once on the embedded."),
    ] = None,
    snapshots: Annotated[
        str,
        typer.Option(
            envvar="DIPPER_SNAPSHOTS",
            help="Where `dipper state keep` keeps snapshots: a folder, or s3://…; empty: none.",
        ),
    ] = "",
    metrics_port: Annotated[
        int, typer.Option(min=-1, max=65535, help="Port for /metrics; 0 any free one, -1 none.")
    ] = -1,
    metrics_host: Annotated[str, typer.Option(help="Address for /metrics.")] = "127.0.0.1",
) -> None:
    """Decide requests from dipper.events until SIGTERM or Ctrl-C; then finish, commit and leave.

    Start as many as there is load for, up to one per partition. The kernels are compiled once per
    version of the code, which takes about a minute.
    """
    import asyncio

    guarantee = commit.value if commit else None
    asyncio.run(_live(broker, config, group, guarantee, snapshots, metrics_port, metrics_host))


async def _live(
    broker: str,
    config: Path,
    group: str,
    guarantee: str | None,
    snapshots: str,
    port: int,
    host: str,
) -> None:
    import asyncio
    from contextlib import ExitStack
    from functools import cache
    from importlib.metadata import version

    from monitoring.collector import WorkerCollector
    from monitoring.endpoint import Health, serve_metrics
    from monitoring.logs import log_batch, start_logs
    from streams.config import load_deployment
    from streams.control.bodies import read_bodies, write_bodies
    from streams.control.keys import load_trusted, verifier
    from streams.live import Worker
    from streams.signals import stop_event
    from streams.snapshot.store import open_store
    from streams.step import Step
    from streams.versions import with_versions

    start_logs()
    stop = stop_event()

    def fetch(name: str, folder: Path) -> bool:
        # In the thread that loads versions: it has no event loop of its own.
        return write_bodies(asyncio.run(read_bodies(broker)), name, folder)

    deployment = with_versions(load_deployment(config), fetch)
    verify = verifier(load_trusted(config))
    worker = Worker(
        broker,
        lambda number, count: Step(deployment, number, count, verify),
        group=group,
        guarantee=guarantee,
        snapshots=open_store(snapshots) if snapshots else None,
    )
    worker.meter.on_batch = log_batch
    manifest = cache(deployment.manifest_hash)
    with ExitStack() as stack:
        if port >= 0:

            def info() -> dict[str, str]:
                return {"version": version("dipper"), "manifest": manifest(worker.partitions)}

            segments = [(segment.institution, segment.name) for segment in deployment.segments]
            collector = WorkerCollector(
                deployment.dimensions, worker.meter, lambda: worker.status, info, segments
            )
            health = Health(lambda: worker.not_alive, lambda: worker.not_ready)
            shown = stack.enter_context(serve_metrics(collector, port, host, health))
            typer.echo(f"metrics on http://{host}:{shown}/metrics")
        await worker.run(stop)
    typer.echo("left the group")
