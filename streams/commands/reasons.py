"""`dipper reasons`: why each lender refused a request, for the applicant or for the regulator."""

import enum
from pathlib import Path
from typing import Annotated

import typer

from streams.errors import DipperError


class Audience(enum.StrEnum):
    """Who reads it."""

    applicant = "applicant"
    regulator = "regulator"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Example: dipper reasons 0123456789abcdef0123456789abcdef --events events.jsonl.gz "
        "--config examples/policies --audience regulator"
    )(reasons)


def reasons(
    decision: Annotated[str, typer.Argument(help="Its id, as it stands in dipper.decisions.")],
    events: Annotated[
        str,
        typer.Option(help="The log: JSON Lines (.gz too), Parquet, or kafka://HOST:PORT/TOPIC."),
    ],
    config: Annotated[Path, typer.Option(help="Folder of the deployment that decided.")],
    audience: Annotated[Audience, typer.Option(help="Who reads it.")] = Audience.applicant,
    institution: Annotated[str, typer.Option(help="Of this lender alone.")] = "",
    partitions: Annotated[
        int, typer.Option(min=0, help="Of a file; 0: one, or those of a log as they are.")
    ] = 0,
) -> None:
    """Print one JSON object a lender that refused: at most four reasons, in English and Chinese.

    The log is decided again; a score is explained by the exact share of each feature in it.
    """
    import orjson

    from streams.reasons.run import reasons_of
    from streams.reasons.tell import for_applicant, for_regulator

    found, applicant = reasons_of(decision, events, config, partitions=partitions or None)
    shown = [each for each in found if institution in {"", each.institution}]
    if not shown:
        who = institution or "nobody"
        raise DipperError(f"{who} refused nothing in decision {decision}; see dipper explain")
    for each in shown:
        told = (
            for_applicant(each, applicant)
            if audience is Audience.applicant
            else for_regulator(each)
        )
        typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
