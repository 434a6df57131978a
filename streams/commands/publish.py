"""`dipper publish`: events of a file onto Kafka."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

if TYPE_CHECKING:
    from rich.progress import TaskID

    from streams.broker.lines import Line, LineFile
    from streams.broker.publish import Published
    from streams.control.records import Sign

    class Signing(TypedDict, total=False):
        """What `publish` takes to sign loan events."""

        sign: Sign
        institutions: list[str]


_SHOWN_MAX = 20  # faulty lines that are named one by one


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Example: dipper publish --broker 127.0.0.1:9092 --rate 5000 events.jsonl.gz"
    )(publish)


def publish(
    files: Annotated[list[Path], typer.Argument(help="JSON Lines, also .gz; - reads the input.")],
    broker: Annotated[str, typer.Option(help="HOST:PORT of a running broker.")],
    rate: Annotated[
        float, typer.Option(min=0, help="Events a second; 0: as fast as the broker takes them.")
    ] = 0,
    raw: Annotated[
        bool, typer.Option("--raw", help="Send lines that are no events too, without a key.")
    ] = False,
    ticks: Annotated[
        bool, typer.Option(help="Hand tick lines to `dipper control --clock file`.")
    ] = True,
    sign_with: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the deployment, with keys/control.key: sign loan events of its "
            "institutions, which else come by their ingress topics."
        ),
    ] = None,
    institution: Annotated[
        str,
        typer.Option(
            help="Send to this institution's ingress topic what it says of its own loans and "
            "lines; control stamps and signs it. Tick lines are left out."
        ),
    ] = "",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Publish events in the order of the files; exit code 1 where lines had to be left out.

    The key is the applicant, the partition murmur2 of the key. A tick line waits until control has
    written that time into every partition.
    """
    import asyncio

    from streams.broker.lines import LineFile
    from streams.errors import DipperError

    if institution and sign_with is not None:
        raise DipperError("--institution and --sign-with: control signs what comes by ingress")
    inputs = [LineFile(path) for path in files]
    signing = _signing(sign_with)
    ticks = ticks and not institution
    counts = asyncio.run(
        _publish(
            inputs, broker, rate, signing, speaker=institution, raw=raw, ticks=ticks, quiet=quiet
        )
    )
    typer.echo(
        f"published {counts.events} events and {counts.ticks} ticks, "
        f"left out {counts.left_out} lines"
    )
    raise typer.Exit(1 if counts.left_out else 0)


def _signing(folder: Path | None) -> "Signing":
    if folder is None:
        return {}
    from streams.config import load_deployment
    from streams.control.keys import load_private_key

    key = load_private_key(folder)
    return {"sign": key.sign, "institutions": load_deployment(folder).institution_ids}


async def _publish(
    inputs: list["LineFile"],
    broker: str,
    rate: float,
    signing: "Signing",
    *,
    speaker: str,
    raw: bool,
    ticks: bool,
    quiet: bool,
) -> "Published":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from streams.broker import publish as publishing

    faults = 0
    total = publishing.Published()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[events]:,} events"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    async with publishing.Publisher(broker, ingress_only=bool(speaker)) as publisher:
        with Progress(*columns, console=console, disable=quiet) as bar:
            for each in inputs:
                task = bar.add_task(str(each.path), total=each.size_bytes or None, events=0)

                def name(line: "Line", path: Path = each.path) -> None:
                    nonlocal faults
                    faults += 1
                    if faults <= _SHOWN_MAX:
                        typer.echo(f"{path}:{line.number}: {line.fault}; left out", err=True)

                def show(
                    counts: "Published", each: "LineFile" = each, task: "TaskID" = task
                ) -> None:
                    bar.update(task, completed=each.read_bytes, events=counts.events)

                counts = await publishing.publish(
                    publisher,
                    each,
                    rate=rate,
                    raw=raw,
                    ticks=ticks,
                    **signing,
                    speaker=speaker,
                    on_fault=name,
                    on_progress=show,
                )
                bar.update(task, completed=each.size_bytes or None)
                total = publishing.Published(*(a + b for a, b in zip(total, counts, strict=True)))
    return total
