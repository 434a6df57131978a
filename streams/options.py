"""What commands that learn from a log ask for, in one wording: types of their parameters."""

from pathlib import Path
from typing import Annotated

import typer

Events = Annotated[
    str, typer.Argument(help="JSON Lines (.gz too), Parquet, or kafka://HOST:PORT/TOPIC.")
]
Label = Annotated[
    Path, typer.Option(help="A CSV with applicant,id,bad,known_at, or a TOML that defines bad.")
]
Side = Annotated[str | None, typer.Option(help="Only requests of this side: consumer or business.")]
First = Annotated[
    bool, typer.Option("--first", help="Replay without policies: they name no model yet.")
]


def note(remark: str) -> None:
    """Say a remark on standard error: what a program reads stands on standard output."""
    typer.echo(f"note: {remark}", err=True)
