"""`dipper archive`: topics into a store; `dipper archive erase`: a key destroyed."""

from pathlib import Path
from typing import Annotated

import typer

_ARCHIVE = "A folder, or s3://… with s3fs installed."
_VAULT = "File of the applicants' keys; keep it apart from the archive."


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(rich_markup_mode=None, help="Topics kept beyond Kafka, and erasure.")
    where = "--archive archive --vault vault.db"
    group.command(
        epilog=f"Example: dipper archive copy --broker 127.0.0.1:9092 {where}",
    )(copy)
    group.command(epilog="Example: dipper archive erase p1 --vault vault.db")(erase)
    app.add_typer(group, name="archive")


def copy(
    broker: Annotated[str, typer.Option(help="HOST:PORT of a running broker.")],
    archive: Annotated[str, typer.Option(envvar="DIPPER_ARCHIVE", help=_ARCHIVE)],
    vault: Annotated[Path, typer.Option(envvar="DIPPER_VAULT", help=_VAULT)],
    snapshots: Annotated[
        str,
        typer.Option(
            envvar="DIPPER_SNAPSHOTS", help="Where snapshots stand: the log's start is checked."
        ),
    ] = "",
    trim: Annotated[
        bool,
        typer.Option(help="Delete from dipper.events what is archived and behind two snapshots."),
    ] = False,
) -> None:
    """Archive all that has come since the last time: events, decisions, evidence, funding.

    Payloads are encrypted under a key per applicant. Run it by a timer, more often than Kafka
    deletes: what was deleted before it was archived is an error, exit code 2.
    """
    import asyncio
    import logging

    from streams.archive import copy as copying
    from streams.archive.vault import Vault
    from streams.errors import DipperError
    from streams.snapshot.store import open_store

    if trim and not snapshots:
        raise DipperError("--trim needs --snapshots: what no snapshot holds must stay in the log")
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
