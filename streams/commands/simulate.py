"""`dipper simulate`: a simulated population's events as a file, with labels and the truth."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streams.simulate.log import Written


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Example: dipper simulate --out events.jsonl.gz --labels labels.csv --days 30"
    )(simulate)


def simulate(
    out: Annotated[Path, typer.Option(help="Events, JSON Lines; .gz is compressed.")],
    labels: Annotated[
        Path | None, typer.Option(help="Outcomes, CSV; the true PD stands in NAME.truth.csv.")
    ] = None,
    deployment: Annotated[
        Path | None,
        typer.Option(
            "--config", help="Ask for what this deployment has; default: what the examples have."
        ),
    ] = None,
    applicants: Annotated[int, typer.Option(min=2, help="People and firms.")] = 10_000,
    days: Annotated[float, typer.Option(min=0.01, help="Length of the log.")] = 30.0,
    rate: Annotated[float, typer.Option(min=0.001, help="Arrivals per applicant and day.")] = 2.0,
    request_share: Annotated[
        float, typer.Option(min=0.0, max=0.8, help="Share of applications among arrivals.")
    ] = 0.05,
    firm_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of firms among applicants.")
    ] = 0.15,
    hostile_share: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="Share of broken and forged records.")
    ] = 0.0,
    income_factor: Annotated[
        float, typer.Option(min=0.01, help="What incomes are worth after --shift-days: 0.5 halves.")
    ] = 1.0,
    shift_days: Annotated[float, typer.Option(min=0, help="When incomes change.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 1,
    start: Annotated[
        str, typer.Option(metavar="YYYY-MM-DD", help="First day, UTC.")
    ] = "2026-01-01",
) -> None:
    """Write the events of a population that nobody decides on yet, and what became of its requests.

    People and firms shop, pay, borrow elsewhere and apply; the requests' outcomes and true
    probabilities of default go beside the log, for training and for checking models.
    """
    from rich.console import Console
    from rich.progress import Progress

    from streams.simulate.log import truth_path, write_log
    from streams.simulate.truth import PRODUCTS, offered
    from streams.simulate.world import WorldConfig

    _refuse_no_folder(out, labels)
    first_day = _day(start)
    config = WorldConfig(
        products=PRODUCTS if deployment is None else offered(deployment),
        applicants=applicants,
        firm_share=firm_share,
        rate_per_second=applicants * rate / 86_400,
        request_share=request_share,
        hostile_share=hostile_share,
        income_factor=income_factor,
        shift_ms=int(shift_days * 86_400_000),
        seed=seed,
        closed_loop=False,
        for_file=True,
    )
    console = Console(stderr=True)
    with Progress(console=console) as progress:
        task = progress.add_task("simulate", total=1.0)
        written = write_log(
            config,
            int(first_day.timestamp() * 1_000),
            days,
            out,
            labels,
            progress=lambda done: progress.update(task, completed=done),
        )
    console.print(f"{out}: {_words(written)}")
    if labels is not None:
        console.print(f"{labels} and {truth_path(labels)}: outcomes and true PD")


def _refuse_no_folder(*paths: Path | None) -> None:
    from streams.errors import DipperError

    for path in paths:
        if path is not None and not path.parent.is_dir():
            raise DipperError(f"{path}: there is no folder {path.parent}; make it first")


def _day(text: str) -> datetime:
    from streams.errors import DipperError

    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError as error:
        raise DipperError(f"--start {text}: not a day; write it as 2026-01-31") from error


def _words(written: "Written") -> str:
    return (
        f"{written.events:,} events ({written.hostile:,} hostile), {written.ticks:,} ticks, "
        f"{written.requests:,} requests, {written.bad:,} of them go bad"
    )
