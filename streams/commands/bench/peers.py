"""`dipper bench peers`: other stream processors on the same Kafka, beside dipper."""

from typing import Annotated

import typer

from streams.commands.bench import Summary
from streams.errors import DipperError


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command(epilog="Example: dipper bench peers --small --summary json")(peers)


def peers(
    small: Annotated[
        bool, typer.Option("--small", help="Short logs and a small model: about a minute.")
    ] = False,
    only: Annotated[
        str, typer.Option(help="Systems to run, as in the table, with commas; default: all.")
    ] = "",
    summary: Annotated[
        Summary, typer.Option(help="json: the last line is one JSON object.")
    ] = Summary.table,
) -> None:
    """Run two jobs on one Apache Kafka with dipper and with other systems, and compare the answers.

    thin: parse a small record, one running sum a key, emit. full: the same credit decisions, byte
    for byte. Exit code 2 where a system gives other answers than are expected.
    """
    import json
    import time

    from rich.console import Console

    from streams.bench.peers import SMALL, USUAL, bench_peers, comparison, faults, table
    from streams.bench.results import benchmark, folder, save
    from streams.bench.systems import chosen

    begin = time.monotonic()
    with Console(stderr=True).status("start") as status:
        found = bench_peers(chosen(only, small=small), SMALL if small else USUAL, status.update)
    compared = comparison(found)
    if not only:
        command = "dipper bench peers" + (" --small" if small else "")
        rows = [each._asdict() for each in found]
        hashes = " ".join(sorted({each.sha256 for each in found if each.sha256}))
        result = benchmark("peers", command, rows, hashes, time.monotonic() - begin)
        save(result, folder(small=small))
    Console().print(table(found))
    if summary is Summary.json:
        typer.echo(json.dumps(compared))
    if wrong := faults(found):
        raise DipperError("; ".join(wrong))
