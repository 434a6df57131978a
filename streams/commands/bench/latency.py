"""`dipper bench latency`: from an event to its visible decision."""

from typing import Annotated

import typer

from streams.commands.bench import Summary


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command(epilog="Example: dipper bench latency --rates 5000,20000 --seconds 5")(latency)


def latency(
    rates: Annotated[
        str, typer.Option(help="Events a second, with commas; one in ten is a request.")
    ] = "5000,20000,50000",
    seconds: Annotated[
        float, typer.Option(min=2.0, help="How long each rate lasts; its first second is warm-up.")
    ] = 10.0,
    summary: Annotated[
        Summary, typer.Option(help="json: the last line is one JSON object.")
    ] = Summary.table,
) -> None:
    """Send events to Apache Kafka on schedule, exactly once, and time each decision.

    Time runs from when an event is due, so a stall counts for all behind it, until a
    `read_committed` reader has the decision. Exit code 2 where decisions are not the expected ones.
    """
    import json
    import time

    from rich.console import Console
    from rich.table import Table

    from streams.bench.latency import PERCENTILES, bench_latency
    from streams.bench.results import benchmark, save

    asked = [int(rate) for rate in rates.split(",")]
    begin = time.monotonic()
    with Console(stderr=True).status("start") as status:
        found = bench_latency(asked, seconds, on_stage=status.update)
    rows = [each._asdict() for each in found]
    hashes = " ".join(each.sha256 for each in found)
    command = f"dipper bench latency --rates {rates} --seconds {seconds:g}"
    save(benchmark("latency", command, rows, hashes, time.monotonic() - begin))
    names = [f"{name}_ms" for name in PERCENTILES]
    table = Table("events/s", "decisions", *names, "sent late p99", "hash")
    for row, each in zip(rows, found, strict=True):
        times = [f"{row[name]:.2f}" for name in names]
        late = f"{each.late_ms_p99:.2f}"
        rate = f"{each.events_per_second:,}"
        table.add_row(rate, f"{each.requests:,}", *times, late, each.sha256[:12])
    Console().print(table)
    for each in found:
        if each.fault:
            typer.echo(f"{each.events_per_second:,} events/s: {each.fault}", err=True)
    if summary is Summary.json:
        typer.echo(json.dumps({str(each.events_per_second): each._asdict() for each in found}))
