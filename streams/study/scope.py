"""Which requests a question is about: `NAME=VALUE` by time, product, channel, or a feature."""

from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl

from streams.deployment import Deployment
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


def feature_column(deployment: Deployment, name: str) -> int:
    """Return the column of a feature; `DipperError` where there is no such name."""
    columns = deployment.catalog.columns
    if name not in columns:
        raise DipperError(f"--scope {name}: no such name; use {', '.join(SCOPES)} or a feature")
    return columns[name]


def feature_value(deployment: Deployment, name: str, value: str) -> float:
    """Return a feature's number: a category's code by its name, else the number itself.

    `DipperError` where it is none.
    """
    for attribute in deployment.catalog.attributes:
        if attribute.name == name and attribute.type == "category":
            if value in attribute.values:
                return float(attribute.values.index(value))
            raise DipperError(f"{name}={value}: known are {', '.join(attribute.values)}")
    try:
        return float(value)
    except ValueError as error:
        raise DipperError(f"{name}={value}: the feature is a number; give one") from error
