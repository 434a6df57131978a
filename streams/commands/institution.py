"""`dipper institution`: from nothing to a folder that decides, and what it may see of decisions."""

from pathlib import Path
from typing import Annotated

import typer

from streams.commands.change import Broker, Config

Folder = Annotated[Path, typer.Argument(help="The institution's folder, or its deployment's.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

    @group.callback()
    def _root() -> None:
        """Bring an institution in: its folder, its checks, its cases."""

    group.command(epilog="Example: dipper institution init dawn")(init)
    group.command(epilog="Example: dipper institution check dawn")(check)
    group.command(epilog="Example: dipper institution test dawn")(test)
    group.command(
        epilog="Example: dipper institution publish 0123456789abcdef --live examples/policies"
        " --as anna"
    )(publish)
    group.command(
        epilog="Example: dipper institution view dawn --decisions kafka://127.0.0.1:9092"
    )(view)
    app.add_typer(group, name="institution")


def init(
    name: Annotated[str, typer.Argument(help="Its id; a folder of this name is made here.")],
) -> None:
    """Write a commented folder: products, policies, bands in CSV, caps, a scorecard, cases."""
    from streams.onboarding.starter import init_institution

    folder = Path(name)
    for path in init_institution(name, folder):
        typer.echo(f"  {path}")
    typer.echo(f"made {folder}; read its files, change a number, then")
    typer.echo(f"  dipper institution check {name}")
    typer.echo(f"  dipper institution test {name}")


def check(path: Folder) -> None:
    """Read everything and say what is wrong, with file, line and remedy, or what stands there.

    Exit code 2 where a file is wrong.
    """
    from streams.onboarding.look import look

    for line in look(path):
        typer.echo(line)


def test(path: Folder) -> None:
    """Run the cases of its policies and print how each came out.

    Exit code 1 where a case fails, 2 where a file is wrong.
    """
    from streams.commands.policy import check as run_cases

    run_cases(path)


def publish(
    change: Annotated[str, typer.Argument(help="Id of a change, as `dipper change list` shows.")],
    live: Annotated[Path, typer.Option(help="The deployment that is live.")],
    who: Annotated[str, typer.Option("--as", help="Your name, for the record.")],
    broker: Broker = "",
    config: Config = None,
) -> None:
    """Put a signed change in the place of what is live; what it replaces is archived beside it.

    The same as `dipper change publish`.
    """
    from streams.commands.change import publish as publish_

    publish_(change, live, who, broker, config)


def view(
    institution: Annotated[str, typer.Argument(help="Its id.")],
    decisions: Annotated[
        str, typer.Option(help="kafka://HOST:PORT, or decisions.jsonl of `dipper replay --out`.")
    ],
) -> None:
    """Print what an institution may see of each decision, a JSON object a line.

    Its own verdict, and the terms where it funds; nothing of rivals, of fraud, of the platform.
    """
    import orjson

    from streams.onboarding.view import read_decisions, views

    for seen in views(read_decisions(decisions), institution):
        typer.echo(orjson.dumps(seen).decode())
