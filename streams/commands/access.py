"""`dipper access`: who may do what on a broker that checks."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        rich_markup_mode=None, no_args_is_help=True, help="Who may do what on the broker: roles."
    )
    group.command(
        epilog="Example: dipper access grant worker dipper-worker --broker kafka:9093",
    )(grant)
    group.command(name="list", epilog="Example: dipper access list --broker kafka:9093")(list_)
    app.add_typer(group, name="access")


def grant(
    role: Annotated[
        str,
        typer.Argument(
            help="publisher, converter, institution, control, worker, agents, analyst or operator."
        ),
    ],
    user: Annotated[str, typer.Argument(help="SCRAM user, or CN=... of a certificate.")],
    broker: Annotated[str, typer.Option(help="HOST:PORT of a running broker.")],
    institution: Annotated[str, typer.Option(help="Whose ingress topic, for that role.")] = "",
) -> None:
    """Let a user do what its role needs, and nothing else; ask as a super user of the broker."""
    import asyncio

    from streams.broker.roles import grant_role

    count = asyncio.run(grant_role(broker, user, role, institution))
    typer.echo(f"{user} is {role}: {count} ACLs")


def list_(
    broker: Annotated[str, typer.Option(help="HOST:PORT of a running broker.")],
) -> None:
    """Show who may write each of dipper's topics."""
    import asyncio

    from streams.broker.roles import writers
    from streams.topology import TOPICS

    for topic in TOPICS:
        found = asyncio.run(writers(broker, topic.name))
        names = "anybody: this broker checks nobody" if found is None else ", ".join(sorted(found))
        typer.echo(f"{topic.name}: {names or '(nobody but super users)'}")
