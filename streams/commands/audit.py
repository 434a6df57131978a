"""`dipper audit verify`: every decision again, from the archive."""

from pathlib import Path
from typing import Annotated

import typer

_EXIT_DIFFERS = 1
_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(rich_markup_mode=None, help="Recompute what was decided.")
    group.callback()(_root)
    group.command(
        epilog="Example: dipper audit verify --config mine --archive archive --vault vault.db "
        "--snapshots snapshots --from 0 --to 100000"
    )(verify)
    app.add_typer(group, name="audit")


def _root() -> None:
    """Keep `dipper audit COMMAND` a group."""


def verify(
    config: Annotated[Path, typer.Option(help="Folder of the deployment that decided.")],
    archive: Annotated[str, typer.Option(envvar="DIPPER_ARCHIVE", help="Where the archive is.")],
    vault: Annotated[Path, typer.Option(envvar="DIPPER_VAULT", help="File of the keys.")],
    snapshots: Annotated[
        str, typer.Option(envvar="DIPPER_SNAPSHOTS", help="To begin with; empty: from the start.")
    ] = "",
    first: Annotated[int, typer.Option("--from", min=0, help="Offset of dipper.events.")] = 0,
    to: Annotated[int, typer.Option("--to", min=0, help="Offset after the last; 0: the end.")] = 0,
    partition: Annotated[
        list[int] | None, typer.Option(help="Only this one; may be given again. Default: all.")
    ] = None,
    partitions: Annotated[
        int, typer.Option(min=0, help="Of the log; 0: as platform.toml says.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Decide archived events again and compare every byte of decisions and evidence.

    Exit with 1 where anything differs. What cannot be read since its applicant was erased is
    counted as erased, not as different.
    """
    from dataclasses import asdict

    import orjson

    from streams.archive.audit import audit
    from streams.archive.vault import Vault
    from streams.errors import DipperError
    from streams.snapshot.store import open_store

    if not vault.is_file():
        raise DipperError(f"{vault}: no such vault")
    keys = Vault(vault)
    good = True
    try:
        kept = open_store(snapshots) if snapshots else None
        for report in audit(
            config, open_store(archive), keys, kept, partitions, partition, first, to
        ):
            good = good and report.good
            if as_json:
                typer.echo(orjson.dumps(asdict(report)).decode())
                continue
            typer.echo(
                f"partition {report.partition}, offsets {report.first} to {report.stop}: "
                f"{report.identical} identical, {report.erased} erased, {len(report.differs)} "
                f"differ, {len(report.missing)} missing, {len(report.extra)} not recorded"
            )
            for what in ("differs", "missing", "extra"):
                for offset, decision in getattr(report, what)[:_SHOWN]:
                    typer.echo(f"  {what}: decision {decision} at offset {offset}")
    finally:
        keys.close()
    if not good:
        raise typer.Exit(_EXIT_DIFFERS)
