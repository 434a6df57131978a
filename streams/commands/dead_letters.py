"""`dipper dead-letters`: what was refused, why, and sending it again."""

from typing import Annotated

import typer

_Broker = Annotated[str, typer.Option(help="HOST:PORT of a running broker.")]
_SHOWN_BYTES = 80


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        rich_markup_mode=None, no_args_is_help=True, help="Refused records: list, show, requeue."
    )
    group.command(
        name="list",
        epilog="Example: dipper dead-letters list --broker 127.0.0.1:9092 --reason too_far_ahead",
    )(list_)
    group.command(epilog="Example: dipper dead-letters show 0 17 --broker 127.0.0.1:9092")(show)
    group.command(
        epilog="Example: dipper dead-letters requeue --broker 127.0.0.1:9092 --reason no_room --yes"
    )(requeue)
    app.add_typer(group, name="dead-letters")


def list_(
    broker: _Broker,
    reason: Annotated[str, typer.Option(help="Of this reason alone.")] = "",
    last: Annotated[
        int, typer.Option(min=0, help="So many of each partition; 0: only how many per reason.")
    ] = 20,
) -> None:
    """Count refused records by reason, and name the last ones."""
    import asyncio
    from collections import Counter

    from streams.broker.dead_letters import read_letters

    letters = asyncio.run(read_letters(broker, reason))
    for name, count in Counter(letter.reason for letter in letters).most_common():
        typer.echo(f"{count:8} {name}")
    shown: Counter[int] = Counter()
    for letter in reversed(letters):
        shown[letter.partition] += 1
        if shown[letter.partition] <= last:
            fault = letter.fault
            at = f" at byte {fault.position}" if fault.position >= 0 else ""
            field = f" {fault.field}" if fault.field else ""
            text = (letter.value or b"")[:_SHOWN_BYTES].decode(errors="backslashreplace")
            typer.echo(
                f"{letter.partition} {letter.offset}  {letter.reason}{field}{at}  "
                f"{letter.place}  {text}"
            )


def show(
    partition: Annotated[int, typer.Argument(min=0, help="Of dipper.dead-letters, as listed.")],
    offset: Annotated[int, typer.Argument(min=0, help="In that partition, as listed.")],
    broker: _Broker,
) -> None:
    """Show one refused record: its headers, its key, and its bytes as they were sent."""
    import asyncio
    import sys

    from streams.broker.dead_letters import one_letter, read_letters, why_not_again

    letter = one_letter(asyncio.run(read_letters(broker)), partition, offset)
    for name, value in letter.headers.items():
        typer.echo(f"{name}: {value}")
    if letter.fault.field:
        typer.echo(f"field: {letter.fault.field}, at byte {letter.fault.position}")
    typer.echo(f"key: {letter.key!r}")
    if why := why_not_again(letter):
        typer.echo(f"not to be sent again: {why}")
    typer.echo("value:")
    sys.stdout.flush()
    sys.stdout.buffer.write((letter.value or b"") + b"\n")


def requeue(
    broker: _Broker,
    reason: Annotated[str, typer.Option(help="All of this reason that can be sent.")] = "",
    partition: Annotated[int, typer.Option(min=-1, help="With --offset: this one record.")] = -1,
    offset: Annotated[int, typer.Option(min=-1, help="With --partition: this one record.")] = -1,
    yes: Annotated[bool, typer.Option("--yes", help="Send; else only say what would be.")] = False,
) -> None:
    """Send refused records again, bytes untouched: what a full table, a late tick or an unknown
    name refused may count now. What counted meanwhile is a duplicate and changes nothing.
    """
    import asyncio

    from streams.broker import dead_letters as letters_

    if bool(reason) == (partition >= 0 and offset >= 0):
        raise typer.BadParameter("name --reason, or --partition and --offset")
    letters = asyncio.run(letters_.read_letters(broker, reason))
    if not reason:
        letters = [letters_.one_letter(letters, partition, offset)]
    chosen = [each for each in letters if not (reason and letters_.why_not_again(each))]
    left = len(letters) - len(chosen)
    if not yes:
        typer.echo(f"{len(chosen)} records would be sent again, {left} cannot be; say --yes")
        return
    sent = asyncio.run(letters_.requeue(broker, chosen))
    typer.echo(f"sent {sent} records again, {left} cannot be")
