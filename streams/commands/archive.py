"""`dipper archive`: topics into a store, once or for good; `erase`: a key destroyed."""

from pathlib import Path
from typing import Annotated

import typer

_ARCHIVE = "A folder, or s3://… with s3fs installed."
_VAULT = "File of the applicants' keys; keep it apart from the archive."
_SNAPSHOTS = "Where snapshots stand: the log's start is checked."
_TRIM = "Delete from dipper.events what is archived and behind two snapshots."
_TRIM_NEEDS = "--trim needs --snapshots: what no snapshot holds must stay in the log"


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(rich_markup_mode=None, help="Topics kept beyond Kafka, and erasure.")
    where = "--archive archive --vault vault.db"
    group.command(
        epilog=f"Example: dipper archive copy --broker 127.0.0.1:9092 {where}",
    )(copy)
    group.command(
        epilog=f"Example: dipper archive keep --broker 127.0.0.1:9092 {where} --metrics-port 9100",
    )(keep)
    group.command(epilog="Example: dipper archive erase p1 --vault vault.db")(erase)
    app.add_typer(group, name="archive")


def copy(
    broker: Annotated[str, typer.Option(help="HOST:PORT of a running broker.")],
    archive: Annotated[str, typer.Option(envvar="DIPPER_ARCHIVE", help=_ARCHIVE)],
    vault: Annotated[Path, typer.Option(envvar="DIPPER_VAULT", help=_VAULT)],
    snapshots: Annotated[str, typer.Option(envvar="DIPPER_SNAPSHOTS", help=_SNAPSHOTS)] = "",
    trim: Annotated[bool, typer.Option(help=_TRIM)] = False,
) -> None:
    """Archive all that has come since the last time: events, decisions, evidence, funding.

    Payloads are encrypted under a key per applicant. Run it by a timer, more often than Kafka
    deletes (or leave that to `dipper archive keep`): what was deleted before it was archived is an
    error, exit code 2.
    """
    import asyncio
    import logging

    from streams.archive import copy as copying
    from streams.archive.vault import Vault
    from streams.errors import DipperError
    from streams.snapshot.store import open_store

    if trim and not snapshots:
        raise DipperError(_TRIM_NEEDS)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    keys = Vault(vault)
    kept = open_store(snapshots) if snapshots else None
    try:
        done = asyncio.run(copying.archive(broker, open_store(archive), keys, kept, trim=trim))
    finally:
        keys.close()
    for copied in done:
        if copied.records:
            typer.echo(
                f"{copied.topic} partition {copied.partition}: {copied.records} records, "
                f"archived up to offset {copied.archived}"
            )


def keep(
    broker: Annotated[str, typer.Option(help="HOST:PORT of a running broker.")],
    archive: Annotated[str, typer.Option(envvar="DIPPER_ARCHIVE", help=_ARCHIVE)],
    vault: Annotated[Path, typer.Option(envvar="DIPPER_VAULT", help=_VAULT)],
    snapshots: Annotated[str, typer.Option(envvar="DIPPER_SNAPSHOTS", help=_SNAPSHOTS)] = "",
    trim: Annotated[bool, typer.Option(help=_TRIM)] = False,
    every_seconds: Annotated[float, typer.Option(min=0.1, help="Pause between two runs.")] = 60.0,
    metrics_port: Annotated[
        int, typer.Option(min=-1, max=65535, help="Port for /metrics; 0 any free one, -1 none.")
    ] = -1,
    metrics_host: Annotated[str, typer.Option(help="Address for /metrics.")] = "127.0.0.1",
) -> None:
    """Archive again and again until SIGTERM or Ctrl-C, and show how far it is.

    A run that fails is told, counted and followed by the next one. Metrics say per topic and
    partition where archive and log stand, so that an alert comes before Kafka deletes.
    """
    import asyncio
    import logging

    from streams.archive.keep import Archiver, keep_archive
    from streams.errors import DipperError
    from streams.keep import Shown
    from streams.signals import stop_event
    from streams.snapshot.store import open_store

    if trim and not snapshots:
        raise DipperError(_TRIM_NEEDS)

    async def run() -> None:
        kept = open_store(snapshots) if snapshots else None
        archiver = Archiver(broker, open_store(archive), vault, kept, trim=trim)
        shown = Shown(metrics_host, metrics_port) if metrics_port >= 0 else None
        await keep_archive(archiver, every_seconds, stop_event(), shown)

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    asyncio.run(run())


def erase(
    applicant: Annotated[str, typer.Argument(help="The token, as it stands in events.")],
    vault: Annotated[Path, typer.Option(envvar="DIPPER_VAULT", help=_VAULT)],
) -> None:
    """Destroy an applicant's key: what the archive holds of it can never be read again.

    It does not reach Kafka's own copy (until it is trimmed), snapshots (until they are replaced),
    the workers' memory, or copies of the vault.
    """
    from streams.archive.vault import Vault
    from streams.errors import DipperError

    if not vault.is_file():
        raise DipperError(f"{vault}: no such vault")
    keys = Vault(vault)
    try:
        known = keys.erase(applicant.encode())
    finally:
        keys.close()
    typer.echo("its key is destroyed" if known else "it had no key; later records get none either")
