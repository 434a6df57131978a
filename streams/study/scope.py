"""Which requests a question is about: `NAME=VALUE` by time, product, channel, institution, type."""

from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl

from streams.errors import DipperError

SCOPES = ("from", "to", "product", "channel", "institution", "type")


def split_scope(scope: Sequence[str]) -> list[tuple[str, str]]:
    """Return names and values; `DipperError` where one is not NAME=VALUE."""
    told = []
    for each in scope:
        name, sign, value = each.partition("=")
        if not sign:
            raise DipperError(f"--scope {each}: write NAME=VALUE, names are {', '.join(SCOPES)}")
        told.append((name, value))
    return told


def holds(rows: pl.DataFrame, name: str, value: str, institutions: Sequence[str]) -> pl.Series:
    """Return for which rows `name`, one of SCOPES, has `value`; `institutions` are the columns that
    name one.
    """
    if name in {"from", "to"}:
        try:
            day = datetime.fromisoformat(value).replace(tzinfo=UTC)
        except ValueError as error:
            raise DipperError(f"--scope {name}={value}: write a day as 2026-01-31") from error
        at = int(day.timestamp() * 1_000)
        return rows["at"] >= at if name == "from" else rows["at"] < at
    columns = institutions if name == "institution" else (name,)
    return rows.select(
        pl.any_horizontal(pl.col(column).eq_missing(pl.lit(value)) for column in columns)
    ).to_series()
