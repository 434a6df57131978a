"""`dipper change`: a version from its proposal to its signatures, and its evidence pack."""

from pathlib import Path
from typing import Annotated

import typer

Live = Annotated[Path, typer.Option(help="The deployment that is live.")]
Id = Annotated[str, typer.Argument(help="Of the change, as `dipper change list` shows it.")]
Who = Annotated[str, typer.Option("--as", help="Your name, as it stands in people.toml.")]
Key = Annotated[Path, typer.Option(help="Your private key, a file that `change key` wrote.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

    @group.callback()
    def _root() -> None:
        """Versions with a life: proposed, replayed, signed by a second person, published."""

    on = "--live examples/policies"
    group.command(epilog="Example: dipper change key anna.pem")(key)
    group.command(
        epilog=f"Example: dipper change propose mine/institutions/dawn {on} --as anna"
        ' --key anna.pem --why "fewer losses" --events events.jsonl.gz'
    )(propose)
    group.command(
        epilog=f"Example: dipper change sign 0123456789abcdef {on} --as bert --key bert.pem"
    )(sign)
    group.command(name="list", epilog=f"Example: dipper change list {on}")(list_)
    group.command(epilog=f"Example: dipper change pack 0123456789abcdef {on} --out pack.html")(pack)
    group.command(epilog=f"Example: dipper change back 0123456789abcdef {on} --as anna")(back)
    group.command(epilog=f"Example: dipper change withdraw 0123456789abcdef {on} --as anna")(
        withdraw
    )
    app.add_typer(group, name="change")


def key(
    path: Annotated[Path, typer.Argument(help="Where the private key goes: yours alone.")],
) -> None:
    """Make a key for a person, and print what a platform engineer adds to people.toml."""
    from streams.change.people import make_key

    public = make_key(path)
    typer.echo("add to people.toml of the deployment (without `institution`: of the platform):")
    typer.echo(f'\n[[people]]\nname = "{path.stem}"\ninstitution = ""\nkey = "{public}"')


def propose(
    draft: Annotated[Path, typer.Argument(help="Deployment, institution's folder, policy file.")],
    live: Live,
    who: Who,
    key: Key,
    why: Annotated[str, typer.Option(help="The reason, in a sentence for the committee.")],
    events: Annotated[
        str, typer.Option(help="The log that it is replayed on, as in `dipper replay`.")
    ] = "",
    label: Annotated[
        Path | None, typer.Option(help="Outcomes: a CSV with applicant,id,bad,known_at.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option(help="Declared group for fairness, as in `replay`; repeat.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Check a draft, run its cases, replay it against what is live, and write all that down."""
    from streams.change.propose import Draft
    from streams.change.propose import propose as propose_
    from streams.commands.replay import progress

    asked = Draft(
        draft=draft, live=live, author=who, key=key, why=why, events=events, labels=label,
        groups=tuple(group or ()),
    )  # fmt: skip
    with progress(f"replay {events}", quiet=quiet or not events) as show:
        made = propose_(asked, on_progress=show)
    for item, _, sentence in made.body["differences"]:
        typer.echo(f"  {item}: {sentence}")
    if impact := made.body["impact"]:
        typer.echo(
            f"  {impact['requests']:,} requests: approved {impact['approval_rate_before']:.1%}"
            f" before, {impact['approval_rate_after']:.1%} after"
        )
    typer.echo(f"proposed change {made.id}; a second person signs it:")
    typer.echo(f"  dipper change sign {made.id} --live {live} --as NAME --key FILE")


def sign(id: Id, live: Live, who: Who, key: Key) -> None:
    """Sign a change as a second person. Nobody signs their own."""
    from streams.change.people import read_key
    from streams.change.record import missing
    from streams.change.record import sign as sign_

    change = sign_(live, id, who, read_key(key))
    lacking = missing(live, change)
    typer.echo(f"signed; it lacks {' and '.join(lacking)}" if lacking else f"change {id} is signed")


def list_(live: Live) -> None:
    """List the changes of a deployment: where each stands, whose it is, and why."""
    from streams.change.record import load_changes

    for change in load_changes(live):
        owners = ", ".join(change.body["owners"])
        why = change.body["why"]
        typer.echo(f"{change.id}  {change.state:9}  {owners}  {change.author}: {why}")


def pack(
    id: Id,
    live: Live,
    out: Annotated[Path, typer.Option(help="HTML page to write; needs no net.")],
) -> None:
    """Write the evidence pack: difference, impact, flips, fairness and signatures on one page."""
    from streams.change.pack import make_pack
    from streams.errors import DipperError

    page = make_pack(live, id).encode()
    try:
        out.write_bytes(page)
    except OSError as error:
        raise DipperError(f"{out}: cannot be written ({error.strerror})") from error
    typer.echo(f"{out}: {len(page) / 1e3:.0f} kB")


def back(id: Id, live: Live, who: Who) -> None:
    """Roll a live change back: what it replaced stands again."""
    from streams.change.record import roll_back

    change = roll_back(live, id, who)
    typer.echo(f"change {id} is {change.state}: {len(change.paths)} files stand as before")


def withdraw(id: Id, live: Live, who: Who) -> None:
    """Take a change back that has not gone live."""
    from streams.change.record import withdraw as withdraw_

    typer.echo(f"change {id} is {withdraw_(live, id, who).state}")
