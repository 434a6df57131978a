"""`dipper bench`: how fast it is here, with the answers checked."""

import enum
from typing import Annotated

import typer


class Summary(enum.StrEnum):
    """How the result is told."""

    table = "table"
    json = "json"


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(rich_markup_mode=None, help="Measure, and check.", no_args_is_help=True)

    @group.callback()
    def _root() -> None:
        """Measure how fast it is here; what is measured is also checked."""

    group.command(epilog="Example: dipper bench step --requests 200000 --summary json")(step)
    app.add_typer(group, name="bench")


def step(
    requests: Annotated[
        int, typer.Option(min=1_000, help="Events a round: all requests, then one in ten.")
    ] = 200_000,
    applicants: Annotated[int, typer.Option(min=100, help="Who sends them.")] = 50_000,
    history: Annotated[int, typer.Option(min=1, help="Earlier activities an applicant.")] = 20,
    trees: Annotated[int, typer.Option(min=1, help="Trees of the model.")] = 200,
    leaves: Annotated[int, typer.Option(min=2, help="Leaves a tree.")] = 31,
    rounds: Annotated[int, typer.Option(min=1, help="Timed rounds; the fastest counts.")] = 3,
    summary: Annotated[
        Summary, typer.Option(help="json: the last line is one JSON object.")
    ] = Summary.table,
) -> None:
    """Run requests through the step, bytes to bytes, on one core, and check every answer.

    Exit code 2 where a request has no decision, a record is refused, money is not conserved, or two
    rounds differ in a byte.
    """
    import json

    from rich.console import Console
    from rich.table import Table

    from streams.bench.step import Size, bench_step

    console = Console(stderr=True)
    size = Size(requests, applicants, history, trees, leaves, rounds)
    with console.status("start") as status:
        results = bench_step(size, status.update)
    table = Table(
        "traffic", "requests", "events/s", "requests/s", "µs/event", "cpu µs", "hash",
        title=f"{requests:,} events, bytes to bytes, one core; {trees} trees of {leaves} leaves",
    )  # fmt: skip
    for each in results:
        table.add_row(
            each.traffic, f"{each.requests:,}", f"{each.events_per_second:,.0f}",
            f"{each.requests_per_second:,.0f}", f"{each.us_per_event:.2f}",
            f"{each.cpu_us_per_event:.2f}", each.sha256[:12],
        )  # fmt: skip
    Console().print(table)
    if summary is Summary.json:
        typer.echo(json.dumps({each.traffic: each._asdict() for each in results}))
