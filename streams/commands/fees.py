"""`dipper fees statement`: what an institution owes the platform for a month."""

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streams.fees.statement import Statement


class Format(enum.StrEnum):
    """How a statement is written."""

    table = "table"
    csv = "csv"
    html = "html"
    json = "json"


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

    @group.callback()
    def _root() -> None:
        """Fees that institutions pay: metered, stated, and the same when done again."""

    group.command(
        epilog="Example: dipper fees statement dawn --month 2026-01 --config examples/policies"
        " --events events.jsonl.gz --format html > dawn.html"
    )(statement)
    group.command(
        epilog="Example: dipper fees shares dawn --config mine --events kafka://127.0.0.1:9092"
    )(shares)
    app.add_typer(group, name="fees")


def statement(
    institution: Annotated[str, typer.Argument(help="Its id.")],
    month: Annotated[str, typer.Option(help="As 2026-01, in the institution's time zone.")],
    config: Annotated[Path, typer.Option(help="Folder of the deployment, with its fees.toml.")],
    events: Annotated[
        str,
        typer.Option(
            help="kafka://HOST:PORT: the topics as they stand. Or a log to decide again: JSON Lines"
            " (.gz too), Parquet, kafka://HOST:PORT/dipper.events."
        ),
    ],
    partitions: Annotated[
        int, typer.Option(min=0, help="Of a file; 0: one, or those of a log as they are.")
    ] = 0,
    format: Annotated[Format, typer.Option(help="How it is written.")] = Format.table,
) -> None:
    """State one month's fees: from what stands on the topics, or from a log decided again."""
    import orjson

    from streams.fees import show
    from streams.fees.run import state_month

    made = state_month(institution, month, config, events, partitions=partitions or None)
    if format is Format.csv:
        typer.echo(show.as_csv(made), nl=False)
    elif format is Format.html:
        typer.echo(show.as_html(made), nl=False)
    elif format is Format.json:
        typer.echo(orjson.dumps(show.as_dict(made)).decode())
    else:
        _print(made)


def shares(
    institution: Annotated[str, typer.Argument(help="Its id.")],
    config: Annotated[Path, typer.Option(help="Folder of the deployment, with its fees.toml.")],
    events: Annotated[str, typer.Option(help="As in `dipper fees statement`.")],
    partitions: Annotated[int, typer.Option(min=0, help="As in `dipper fees statement`.")] = 0,
) -> None:
    """Tell month by month what each partner bears of an institution's loans, and what a guarantor
    has covered, as CSV; the last line says what is left of the guarantee.
    """
    from streams.fees.book import book_of
    from streams.fees.schedule import load_schedule
    from streams.fees.shares import shares_of

    guarantee = load_schedule(config, institution).guarantee
    book = book_of(events, config, partitions=partitions or None)
    made = shares_of(book, institution, config)
    typer.echo(made.table().write_csv(), nl=False)
    if guarantee is not None:
        typer.echo(f"left of the guarantee of {guarantee.guarantor}: {made.balance_cents} cents")


def _print(made: "Statement") -> None:
    from rich.console import Console
    from rich.table import Table

    from streams.fees.show import agreement, money, quantity

    title = f"{made.name}, {made.month} ({made.time_zone}), {made.currency}"
    table = Table(title=title, title_justify="left", box=None)
    for name in ("for", "quantity", "rate", "fee"):
        table.add_column(name, justify="left" if name == "for" else "right")
    for line in made.lines:
        table.add_row(line.item, quantity(line), line.rate, money(line.fee_cents))
    table.add_row("total", "", "", money(made.total_cents), style="bold")
    console = Console()
    console.print(table)
    console.print(agreement(made))
