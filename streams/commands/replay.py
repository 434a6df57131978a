"""`dipper replay`: a file, a log or a topic through the step, into files."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Example: dipper replay events.jsonl.gz --config examples/policies --out decided"
    )(replay)


def replay(
    source: Annotated[
        str,
        typer.Argument(help="JSON Lines (.gz too), Parquet, or kafka://HOST:PORT/TOPIC."),
    ],
    config: Annotated[Path, typer.Option(help="Folder of the deployment.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for decisions, evidence, funding, dead letters.")
    ] = None,
    partitions: Annotated[
        int, typer.Option(min=0, help="How many; 0: one for a file, those of a log as they are.")
    ] = 0,
    dump: Annotated[
        Path | None,
        typer.Option(help="Folder for the bytes by topic and partition, to compare two runs."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Decide a file or log offline: the same bytes as live, on no network, by no clock."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from streams import replay as door

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[records]:,} records"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task(f"replay {source}", total=None, records=0)

        def show(done: door.Progress) -> None:
            bar.update(
                task,
                total=done.size_bytes or None,
                completed=done.read_bytes,
                records=done.records,
            )

        result = door.replay(
            source, config, partitions=partitions or None, out=out, dump=dump, on_progress=show
        )
    decisions, _, funding, dead_letters = result.written
    typer.echo(
        f"read {result.records} records: {decisions} decisions, {funding} funding records, "
        f"{dead_letters} dead letters"
    )
