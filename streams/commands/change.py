"""`dipper change`: a version from its proposal to its signatures, and its evidence pack."""

from pathlib import Path
from typing import Annotated

import typer

Live = Annotated[Path, typer.Option(help="The deployment that is live.")]
Id = Annotated[str, typer.Argument(help="Of the change, as `dipper change list` shows it.")]
Who = Annotated[str, typer.Option("--as", help="Your name, as it stands in people.toml.")]
Broker = Annotated[str, typer.Option(help="HOST:PORT that control runs on: go live there, too.")]
Config = Annotated[
    Path | None,
    typer.Option(help="What workers were started from, with keys/control.key; it stays as it is."),
]
Key = Annotated[Path, typer.Option(help="Your private key, a file that `change key` wrote.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

    @group.callback()
    def _root() -> None:
        """Versions with a life: proposed, replayed, signed by a second person, published."""

    on = "--live examples/policies"
    group.command(epilog="Example: dipper change key anna.pem --institution dawn")(key)
    group.command(
        epilog=f"Example: dipper change propose mine/institutions/dawn {on} --as anna"
        ' --key anna.pem --why "fewer losses" --events events.jsonl.gz'
    )(propose)
    group.command(
        epilog=f"Example: dipper change sign 0123456789abcdef {on} --as bert --key bert.pem"
    )(sign)
    group.command(name="list", epilog=f"Example: dipper change list {on}")(list_)
    group.command(epilog=f"Example: dipper change pack 0123456789abcdef {on} --out pack.html")(pack)
    running = "--live desk --as anna --broker 127.0.0.1:9092 --config mine"
    group.command(epilog=f"Example: dipper change publish 0123456789abcdef {running}")(publish)
    group.command(epilog=f"Example: dipper change back 0123456789abcdef {running}")(back)
    group.command(epilog=f"Example: dipper change withdraw 0123456789abcdef {on} --as anna")(
        withdraw
    )
    app.add_typer(group, name="change")


def key(
    path: Annotated[
        Path, typer.Argument(help="Where the private key goes, NAME.pem: yours alone.")
    ],
    institution: Annotated[
        str | None, typer.Option(help="Whom the person signs for; without it: the platform.")
    ] = None,
) -> None:
    """Make a key for a person, and print what a platform engineer adds to people.toml."""
    from streams.change.files import PLATFORM
    from streams.change.people import make_entry

    typer.echo(make_entry(path, institution or PLATFORM), nl=False)


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


def publish(id: Id, live: Live, who: Who, broker: Broker = "", config: Config = None) -> None:
    """Put a signed change in the place of what is live; what it replaces is archived beside it.

    With --broker and --config also in force: prepared and activated in every partition of the
    running workers. Refused where a signature lacks, or what is live is not what was compared.
    """
    import asyncio

    from streams.change.live import publish_live
    from streams.change.record import load_change
    from streams.change.record import publish as publish_

    version = ""
    if running := _running(broker, config):
        version = asyncio.run(publish_live(live, id, who, *running))
    else:
        publish_(live, id, who)
    change = load_change(live, id)
    for path in change.paths:
        typer.echo(f"  {path}")
    if version:
        typer.echo(f"{version} is in force in every partition")
    typer.echo(f"change {id} is {change.state}; to go back: dipper change back {id}")


def back(id: Id, live: Live, who: Who, broker: Broker = "", config: Config = None) -> None:
    """Roll a live change back: what it replaced stands again.

    With --broker and --config the older version is activated in every partition, too.
    """
    import asyncio

    from streams.change.live import back_live
    from streams.change.record import load_change, roll_back

    if running := _running(broker, config):
        version = asyncio.run(back_live(live, id, who, *running))
        typer.echo(f"{version} is in force in every partition")
    else:
        roll_back(live, id, who)
    change = load_change(live, id)
    typer.echo(f"change {id} is {change.state}: {len(change.paths)} files stand as before")


def _running(broker: str, config: Path | None) -> tuple[Path, str] | None:
    if bool(broker) != (config is not None):
        raise typer.BadParameter("--broker HOST:PORT and --config DIR go together")
    return (config, broker) if config else None


def withdraw(id: Id, live: Live, who: Who) -> None:
    """Take a change back that has not gone live."""
    from streams.change.record import withdraw as withdraw_

    typer.echo(f"change {id} is {withdraw_(live, id, who).state}")
