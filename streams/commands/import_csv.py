"""`dipper import`: own data in, no code."""

import enum
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from streams.errors import DipperError


class Summary(enum.StrEnum):
    """How the result is told."""

    text = "text"
    json = "json"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "import",
        epilog="Example: dipper import loans.csv --map map.toml --out events.jsonl.gz"
        " --deployment mine",
    )(import_)


def import_(
    csv: Annotated[Path, typer.Argument(help="Applications, a row each; .gz too.")],
    map: Annotated[Path, typer.Option(help="Which column is what; docs/BACKTEST.md tells.")],
    out: Annotated[Path, typer.Option(help="Events to write, JSON Lines; .gz is compressed.")],
    labels: Annotated[
        Path | None, typer.Option(help="Outcomes to write; default: labels.csv beside them.")
    ] = None,
    deployment: Annotated[
        Path | None, typer.Option(help="Folder to make: a catalog and a policy to begin with.")
    ] = None,
    today: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="Later times are refused; default now.")
    ] = None,
    summary: Annotated[
        Summary, typer.Option(help="json: the last line is one JSON object.")
    ] = Summary.text,
) -> None:
    """Turn a credit CSV into events and labels, by a map of its columns.

    Whatever is refused is counted by reason, and its rows are written beside the events.
    """
    import orjson

    from models.policy.errors import PolicyError
    from streams.importing.convert import import_csv

    try:
        now = datetime.now(UTC) if today is None else datetime.fromisoformat(today)
    except ValueError as error:
        raise DipperError(f"--today {today}: not a day; write it as 2026-01-31") from error
    today_ms = int(now.replace(tzinfo=now.tzinfo or UTC).timestamp() * 1_000)
    for path in (out, labels):
        if path is not None and not path.parent.is_dir():
            raise DipperError(f"{path}: there is no folder {path.parent}; make it first")
    outcome = labels or out.parent / "labels.csv"
    try:
        done = import_csv(csv, map, out, outcome, today_ms, deployment)
    except PolicyError as error:
        raise DipperError(str(error)) from error
    rows = f"{done.requests:,} applications of {done.counts.read:,} rows"
    typer.echo(f"{out}: {rows}, {done.events:,} events")
    typer.echo(f"{outcome}: {done.labels:,} outcomes, {done.bad:,} bad")
    for reason, count in done.counts.refused.items():
        typer.echo(f"refused {count:,}: {reason}")
    for note in done.counts.notes:
        typer.echo(f"note: {note}")
    if done.refused_file is not None:
        typer.echo(f"refused rows: {done.refused_file}")
    if summary is Summary.json:
        figures = {
            "rows": done.counts.read,
            "applications": done.requests,
            "events": done.events,
            "labels": done.labels,
            "bad": done.bad,
            "refused": done.counts.refused,
            "notes": done.counts.notes,
        }
        typer.echo(orjson.dumps(figures).decode())
