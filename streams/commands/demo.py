"""`dipper demo`: requests decided live, from nothing."""

import enum
from pathlib import Path
from typing import Annotated

import typer


class Summary(enum.StrEnum):
    """What is printed at the end."""

    text = "text"
    json = "json"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: dipper demo --institutions 30 --seconds 20 --summary json")(demo)


def demo(
    broker: Annotated[
        str,
        typer.Option(help="embedded, kafka (from Maven jars), or HOST:PORT of an empty broker."),
    ] = "embedded",
    config: Annotated[Path, typer.Option(help="Folder of the deployment; a copy is used.")] = Path(
        "examples/policies"
    ),
    institutions: Annotated[
        int, typer.Option(min=0, max=200, help="How many, varied copies; 0: those of the folder.")
    ] = 0,
    seconds: Annotated[float, typer.Option(min=0, help="How long; 0: until Ctrl-C.")] = 60.0,
    rate: Annotated[float, typer.Option(min=1, help="Events a second.")] = 1_000.0,
    applicants: Annotated[int, typer.Option(min=10, help="People and firms.")] = 5_000,
    partitions: Annotated[int, typer.Option(min=1, help="Of the input topic.")] = 4,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share them.")] = 2,
    seed: Annotated[int, typer.Option(help="Of the population.")] = 1,
    hostile_share: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of broken and dishonest records.")
    ] = 0.0,
    income_factor: Annotated[
        float,
        typer.Option(min=0.01, help="What incomes are worth in the second half."),
    ] = 1.0,
    dashboards: Annotated[
        Path | None,
        typer.Option(help="Watch it with Prometheus, and draw the dashboards into this folder."),
    ] = None,
    summary: Annotated[
        Summary, typer.Option(help="json: the last line is one JSON object.")
    ] = Summary.text,
) -> None:
    """Watch a simulated population apply, and several institutions decide, on a broker of its own.

    Exits with 1 where a request was lost or decided twice, or a budget was exceeded.
    """
    import orjson
    from rich.console import Console
    from rich.live import Live

    from streams.demo.run import Options, run_demo
    from streams.demo.tally import Tally
    from streams.demo.view import render
    from streams.demo.watch import draw_boards

    console = Console(stderr=True)
    options = Options(
        broker,
        config,
        seconds,
        rate,
        applicants,
        partitions,
        workers,
        seed,
        hostile_share,
        income_factor,
        institutions,
    )
    watcher = None
    if dashboards is not None:
        watcher = draw_boards(dashboards, min(p.name for p in (config / "institutions").iterdir()))
    title = f"dipper demo · {broker} broker · seed {seed}"
    with Live(console=console, auto_refresh=False, transient=summary is Summary.json) as live:

        def show(tally: Tally, elapsed: float) -> None:
            live.update(render(tally, elapsed, title), refresh=console.is_terminal)

        result, tally = run_demo(options, live.console.print, show, watcher)
        live.update(render(tally, seconds or 1.0, title), refresh=True)
    typer.echo(orjson.dumps(result).decode() if summary is Summary.json else _as_text(result))
    typer.echo("".join(f"{fault}\n" for fault in tally.book.faults[:10]), err=True, nl=False)
    if result["lost"] or result["duplicated"] or result["caps_exceeded"]:
        raise typer.Exit(1)


def _as_text(result: dict[str, object]) -> str:
    head = {name: value for name, value in result.items() if name != "by_institution"}
    return ", ".join(f"{name} {value}" for name, value in head.items())
