"""`dipper bench step`: the step alone, bytes to bytes."""

from typing import Annotated, Any

import typer

from streams.commands.bench import Summary


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command(epilog="Example: dipper bench step --requests 200000 --summary json")(step)


def step(
    requests: Annotated[
        int, typer.Option(min=1_000, help="Events a round: all requests, then one in ten.")
    ] = 200_000,
    applicants: Annotated[int, typer.Option(min=100, help="Who sends them.")] = 50_000,
    history: Annotated[int, typer.Option(min=1, help="Earlier activities an applicant.")] = 20,
    trees: Annotated[int, typer.Option(min=1, help="Trees of the model.")] = 200,
    leaves: Annotated[int, typer.Option(min=2, help="Leaves a tree.")] = 31,
    rounds: Annotated[int, typer.Option(min=1, help="Timed rounds; the fastest counts.")] = 3,
    grow: Annotated[
        str,
        typer.Option(
            help="Also by one thing alone: applicants, history, institutions, rules, "
            "models, hot_share, platform, or all."
        ),
    ] = "",
    summary: Annotated[
        Summary, typer.Option(help="json: the last line is one JSON object.")
    ] = Summary.table,
) -> None:
    """Run requests through the step, bytes to bytes, on one core, and check every answer.

    Beside it LightGBM scores the same vectors with the same model. Exit code 2 where a request has
    no decision, a record is refused, money is not conserved, two rounds differ in a byte, or a
    score is not LightGBM's.
    """
    import json
    import time

    from rich.console import Console
    from rich.table import Table

    from streams.bench.results import save_step
    from streams.bench.step import Size, bench_step
    from streams.bench.step_growth import AXES
    from streams.bench.step_growth import grow as grow_by

    wanted = list(AXES) if grow == "all" else [grow] if grow else []
    if not set(wanted) <= AXES.keys():
        raise typer.BadParameter(f"{grow} is none of {', '.join(AXES)}, all", param_hint="--grow")
    begin = time.monotonic()
    console = Console(stderr=True)
    size = Size(requests, applicants, history, trees, leaves, rounds)
    with console.status("start") as status:
        report = bench_step(size, status.update)
    table = Table(
        "traffic", "requests", "events/s", "requests/s", "µs/event", "cpu µs", "hash",
        title=f"{requests:,} events, bytes to bytes, one core; {trees} trees of {leaves} leaves",
    )  # fmt: skip
    for each in report.results:
        table.add_row(
            each.traffic, f"{each.requests:,}", f"{each.events_per_second:,.0f}",
            f"{each.requests_per_second:,.0f}", f"{each.us_per_event:.2f}",
            f"{each.cpu_us_per_event:.2f}", each.sha256[:12],
        )  # fmt: skip
    Console().print(table)
    growth: dict[str, list[dict[str, Any]]] = {}
    for axis in wanted:
        with console.status("start") as status:
            rows = grow_by(axis, size, status.update)
        grown = Table(axis, "applicants", "history", "requests/s", "µs/request", "bytes", "hash")
        for value, at, each, state in rows:
            grown.add_row(
                f"{value:,}", f"{at.applicants:,}", f"{at.history:,}",
                f"{each.requests_per_second:,.0f}", f"{each.us_per_request:.2f}",
                f"{state:,.0f}", each.sha256[:12],
            )  # fmt: skip
        Console().print(grown)
        growth[axis] = [
            {axis: value, "size": at._asdict(), "state_bytes": state, **each._asdict()}
            for value, at, each, state in rows
        ]
    if wanted == ["platform"]:
        save_step(report, growth["platform"], time.monotonic() - begin)
    if summary is Summary.json:
        typer.echo(json.dumps({**report.summary(), "growth": growth}))
