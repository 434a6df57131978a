"""`dipper dataset`: the training set of a log, as a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.commands.train import day_ms
from streams.errors import DipperError
from streams.options import Events, First, Label, Side, note

if TYPE_CHECKING:
    import polars as pl


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Example: dipper dataset events.jsonl.gz --label examples/labels/ever30.toml"
        " --config examples/policies --out rows.parquet"
    )(dataset)


def dataset(
    events: Events,
    label: Label,
    out: Annotated[Path, typer.Option(help="File to write: .parquet or .csv.")],
    config: Annotated[Path, typer.Option(help="Folder of the deployment.")] = Path(
        "examples/policies"
    ),
    side: Side = None,
    first: First = False,
    as_of: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="Only what was known by this day, UTC.")
    ] = None,
) -> None:
    """Write a row a request: what it asked, what became of it, and every feature as it was then.

    Requests that are neither good nor bad stay in it, with the reason as their label: immature,
    indeterminate, not taken, declined, excluded, unlabelled.
    """
    from features.errors import CatalogError
    from models.errors import ModelError
    from models.policy.errors import PolicyError
    from models.train import dataset as sets

    if out.suffix not in {".parquet", ".csv"}:
        raise DipperError(f"--out {out}: end its name with .parquet or .csv")
    as_of_ms = None if as_of is None else day_ms(as_of)
    try:
        frame = sets.dataset(
            events,
            label,
            config,
            side=side,
            as_of_ms=as_of_ms,
            policies=not first,
            every=True,
            tell=note,
        )
    except (CatalogError, ModelError, PolicyError, OSError) as error:
        raise DipperError(str(error)) from error
    _write(frame, out)
    typer.echo(f"{out}: {frame.height:,} requests: {sets.counted(frame)}")


def _write(frame: "pl.DataFrame", out: Path) -> None:
    try:
        if out.suffix == ".csv":
            frame.write_csv(out)
        else:
            frame.write_parquet(out)
    except OSError as error:
        raise DipperError(f"--out {out}: cannot be written ({error.strerror})") from error
