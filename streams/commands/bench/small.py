"""`dipper bench start | memory | replay | recover`: four figures of one row each."""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from streams.commands.bench import Summary

_SUMMARY = typer.Option(help="json: the last line is one JSON object.")
_CONFIG = typer.Option(help="Folder of the deployment.")
_EXAMPLE = Path("examples/policies")


def register(group: typer.Typer) -> None:
    """Add the commands."""
    group.command(epilog="Example: dipper bench start --summary json")(start)
    group.command(epilog="Example: dipper bench memory")(memory)
    group.command(epilog="Example: dipper bench replay --events 200000")(replay)
    group.command(epilog="Example: dipper bench recover --applicants 100000")(recover)


def start(
    config: Annotated[Path, _CONFIG] = _EXAMPLE,
    summary: Annotated[Summary, _SUMMARY] = Summary.table,
) -> None:
    """Time a worker from its start until it could join its group: cold, then warm."""
    from streams.bench.start import bench_start

    _run("start", "", summary, lambda say: bench_start(config, say))


def memory(summary: Annotated[Summary, _SUMMARY] = Summary.table) -> None:
    """Count the bytes that an applicant with 20 recent events takes."""
    from streams.bench.memory import bench_memory

    def measure(say: Callable[[str], None]) -> Any:
        with tempfile.TemporaryDirectory(prefix="dipper-bench-") as folder:
            return bench_memory(Path(folder), say)

    _run("memory", "", summary, measure)


def replay(
    config: Annotated[Path, _CONFIG] = _EXAMPLE,
    events: Annotated[int, typer.Option(min=1_000, help="About so many.")] = 300_000,
    summary: Annotated[Summary, _SUMMARY] = Summary.table,
) -> None:
    """Time a replay of a simulated history from a file.

    Exit code 2 where a request has no decision.
    """
    from streams.bench.replayed import bench_replay

    _run("replay", f" --events {events}", summary, lambda say: bench_replay(config, events, say))


def recover(
    applicants: Annotated[int, typer.Option(min=1, help="In all partitions together.")] = 1_000_000,
    summary: Annotated[Summary, _SUMMARY] = Summary.table,
) -> None:
    """Time the loading of snapshots, every byte checked; 1,000,000 take 3 GB of the disk."""
    from streams.bench.recover import bench_recover

    def measure(say: Callable[[str], None]) -> Any:
        with tempfile.TemporaryDirectory(prefix="dipper-bench-") as folder:
            return bench_recover(Path(folder), applicants, say)

    _run("recover", f" --applicants {applicants}", summary, measure)


def _run(
    name: str, more: str, summary: Summary, measure: Callable[[Callable[[str], None]], Any]
) -> None:
    from rich.console import Console

    from streams.bench.results import benchmark, save

    begin = time.monotonic()
    with Console(stderr=True).status("start") as status:
        row = measure(status.update)._asdict()
    command = f"dipper bench {name}{more}"
    save(benchmark(name, command, [row], row.get("sha256", ""), time.monotonic() - begin))
    if summary is Summary.json:
        typer.echo(json.dumps(row))
    else:
        for figure, value in row.items():
            typer.echo(f"{figure:>32}  {value}")
