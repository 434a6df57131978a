"""`dipper bench page`, `dipper bench all`: the page of figures, and all that stands on it."""

from typing import Annotated

import typer


def register(group: typer.Typer) -> None:
    """Add the commands."""
    group.command(epilog="Example: dipper bench page")(page)
    group.command(name="all", epilog="Example: dipper bench all --only latency,scale")(everything)


def page() -> None:
    """Write docs/PERFORMANCE.md from what the benchmarks left in .cache/bench."""
    from streams.bench.page import PAGE, write_page
    from streams.bench.results import ROOT, load

    write_page(load())
    typer.echo(f"wrote {PAGE.relative_to(ROOT)}")


def everything(
    only: Annotated[str, typer.Option(help="Parts to run, with commas; default: all.")] = "",
) -> None:
    """Run every benchmark, one after the other, and write docs/PERFORMANCE.md.

    A part that fails is named, the others run; then the exit code is 2.
    """
    from streams.bench.all import run_all
    from streams.bench.results import load

    failed = run_all([part for part in only.split(",") if part], typer.echo)
    page()
    took = ", ".join(f"{run.name} {run.seconds:.0f} s" for run in load().values())
    typer.echo(f"took: {took}")
    if failed:
        typer.echo(f"failed: {', '.join(failed)}", err=True)
        raise typer.Exit(2)
