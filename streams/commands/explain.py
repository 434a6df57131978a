"""`dipper explain`: one decision, and everything behind it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Example: dipper explain 0123456789abcdef0123456789abcdef --events events.jsonl.gz "
        "--config examples/policies"
    )(explain)


def explain(
    decision: Annotated[str, typer.Argument(help="Its id, as it stands in dipper.decisions.")],
    events: Annotated[
        str,
        typer.Option(help="The log: JSON Lines (.gz too), Parquet, or kafka://HOST:PORT/TOPIC."),
    ],
    config: Annotated[Path, typer.Option(help="Folder of the deployment that decided.")],
    partitions: Annotated[
        int, typer.Option(min=0, help="Of a file; 0: one, or those of a log as they are.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Decide the log again and show one decision: features, scores, rules that fired, every
    candidate.
    """
    import orjson

    from streams import explain as explanation

    found = explanation.explain(decision, events, config, partitions=partitions or None)
    if as_json:
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console()
    decision = found["decision"]
    console.print(
        _table(
            "decision",
            ("", ""),
            [(name, _text(value)) for name, value in decision.items() if name != "candidates"],
        )
    )
    asked = found["input"]
    where = f"input, partition {asked['partition']}, offset {asked['offset']}"
    console.print(_table(where, ("", ""), [(k, _text(v)) for k, v in asked["event"].items()]))
    for row in found["candidates"]:
        terms = {k: v for k, v in row.items() if k not in {"rules", "policy"}}
        title = f"candidate {row['policy']}"
        console.print(_table(title, ("", ""), [(k, _text(v)) for k, v in terms.items()]))
        fired = [
            (rule["rule"], rule["when"], _values(rule["values"]), rule["reason"])
            for rule in row["rules"]
        ]
        if fired:
            heads = ("rule", "when", "saw", "reason")
            console.print(_table("rules that fired", heads, fired))
    scores = [
        (row["model"], f"{row['raw']:.6f}", str(row["pd_ppm"]), row["sha256"][:16])
        for row in found["scores"]
    ]
    if scores:
        console.print(_table("scores", ("model", "raw", "pd_ppm", "sha256"), scores))
    known = [(name, f"{value:g}") for name, value in found["features"].items() if value is not None]
    versions = [(name, _text(value)) for name, value in found["versions"].items()]
    console.print(_table("versions", ("", ""), versions))
    console.print(_table(f"features known ({len(known)})", ("feature", "value"), known))


def _table(title: str, heads: Iterable[str], rows: Iterable[tuple[str, ...]]) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold cyan", box=None)
    heads = tuple(heads)
    for head in heads:
        table.add_column(head, overflow="fold")
    table.show_header = any(heads)
    for row in rows:
        table.add_row(*row)
    return table


def _values(values: dict[str, float | None]) -> str:
    return ", ".join(f"{k}={'missing' if v is None else f'{v:g}'}" for k, v in values.items())


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    return str(value)
