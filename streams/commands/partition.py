"""`dipper partition`: go on past a record that halts its partition."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        rich_markup_mode=None, no_args_is_help=True, help="Records that no fold may take."
    )
    group.command(
        epilog='Example: dipper partition skip 3 1042 --config mine --why "issue 77: assertion"'
    )(skip)
    group.command(name="list", epilog="Example: dipper partition list --config mine")(list_)
    app.add_typer(group, name="partition")


def skip(
    partition: Annotated[int, typer.Argument(min=0, help="Of dipper.events.")],
    offset: Annotated[int, typer.Argument(min=0, help="Of the record, as the worker logged it.")],
    config: Annotated[Path, typer.Option(help="Folder of the deployment, with keys/control.key.")],
    why: Annotated[str, typer.Option(help="Kept beside it.")] = "",
) -> None:
    """Refuse one record for good, in live, recovery and replay; then start the worker again.

    The signed line goes to skips.jsonl of the folder: take it to every worker.
    """
    from streams.control.keys import load_private_key
    from streams.skips import SKIPS_FILE, add_skip

    added = add_skip(config, load_private_key(config), partition, offset, why)
    what = "added" if added else "stands already"
    typer.echo(f"partition {partition} offset {offset} {what} in {config / SKIPS_FILE}")


def list_(
    config: Annotated[Path, typer.Option(help="Folder of the deployment.")],
) -> None:
    """Show the records that are skipped, after their signatures were checked."""
    from streams.skips import load_skips

    for partition, offsets in sorted(load_skips(config).items()):
        for offset in offsets:
            typer.echo(f"partition {partition} offset {offset}")
