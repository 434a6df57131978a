"""`dipper bench scale`: partitions and workers."""

from typing import Annotated

import typer

from streams.commands.bench import Summary
from streams.errors import DipperError


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command(epilog="Example: dipper bench scale --events 200000 --summary json")(scale)


def scale(
    events: Annotated[int, typer.Option(min=30_000, help="Events a run.")] = 900_000,
    partitions: Annotated[
        str, typer.Option(help="Numbers of partitions, with commas.")
    ] = "1,2,4,8,16",
    summary: Annotated[
        Summary, typer.Option(help="json: the last line is one JSON object.")
    ] = Summary.table,
) -> None:
    """Decide through Apache Kafka, exactly once, with one and two workers on 1 to 16 partitions.

    Exit code 2 where decisions are not the expected ones.
    """
    import json
    import time

    from rich.console import Console
    from rich.table import Table

    from streams.bench.results import benchmark, save
    from streams.bench.scale import bench_scale

    counts = [int(count) for count in partitions.split(",")]
    begin = time.monotonic()
    with Console(stderr=True).status("start") as status:
        found = bench_scale(events, counts, on_stage=status.update)
    rows = [each._asdict() for each in found]
    hashes = " ".join(each.sha256 for each in found if each.sha256)
    command = f"dipper bench scale --events {events} --partitions {partitions}"
    save(benchmark("scale", command, rows, hashes, time.monotonic() - begin))
    table = Table(
        "traffic", "workers", "partitions", "events/s", "cpu µs", "broker cpu µs", "MiB", "hash"
    )
    for each in found:
        table.add_row(
            each.traffic, str(each.workers), str(each.partitions),
            each.failed or f"{each.events_per_second:,.0f}", f"{each.cpu_us_per_event:.2f}",
            f"{each.broker_cpu_us_per_event:.2f}", f"{each.resident_mib:,.0f}", each.sha256[:12],
        )  # fmt: skip
    Console().print(table)
    if summary is Summary.json:
        typer.echo(json.dumps(rows))
    if failed := [f"{row.traffic}, {row.workers} on {row.partitions}: {row.failed}" for row in found
                  if row.failed]:  # fmt: skip
        raise DipperError("; ".join(failed))
