"""`dipper bench page`, `dipper bench all`: the page of figures, and all that stands on it."""

from typing import Annotated

import typer


def register(group: typer.Typer) -> None:
    """Add the commands."""
    group.command(epilog="Example: dipper bench page")(page)
    group.command(name="all", epilog="Example: dipper bench all --only latency,scale")(everything)


def page() -> None:
    """Write docs/PERFORMANCE.md from what the benchmarks left in .cache/bench."""
    _write(small=False)


def _write(*, small: bool) -> None:
    from streams.bench.page import PAGE, write_page
    from streams.bench.results import ROOT, folder, load, load_failures

    where = folder(small=small)
    page = where / PAGE.name if small else PAGE
    write_page(load(where), page, load_failures(where))
    typer.echo(f"wrote {page.relative_to(ROOT) if page.is_relative_to(ROOT) else page}")


def everything(
    only: Annotated[str, typer.Option(help="Parts to run, with commas; default: all.")] = "",
    small: Annotated[
        bool,
        typer.Option("--small", help="To see that all runs: no figures, the page in .cache."),
    ] = False,
) -> None:
    """Run every benchmark, one after the other, and write docs/PERFORMANCE.md.

    A part that fails is named, on the page too; the others run; then the exit code is 2.
    """
    from streams.bench.all import run_all

    failed = run_all([part for part in only.split(",") if part], typer.echo, small=small)
    _write(small=small)
    for part, why in failed.items():
        typer.echo(f"failed: {part}: {why}", err=True)
    if failed:
        raise typer.Exit(2)
