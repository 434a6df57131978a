"""Rows of a CSV as applications, with the columns that the catalog is to know."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from streams.errors import DipperError
from streams.importing.columns import Times, cents, need, read_table, spelled
from streams.importing.map import Attribute, Map, Outcome
from streams.limits import AMOUNT_CENTS_MAX, ATTRIBUTES_MAX, DAY_MS, ID_BYTES_MAX, SIGNALS_MAX

SIGNAL_SOURCE = "file"
MINUTE_MS = 60_000


@dataclass
class Counts:
    """What became of the rows: read, written, and refused or left out by reason."""

    read: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def refuse(self, reason: str, count: int) -> None:
        """Count refused rows."""
        if count:
            self.refused[reason] = self.refused.get(reason, 0) + count


@dataclass(frozen=True)
class Column:
    """A column as the catalog has it: an attribute, or a signal where attributes are full."""

    column: str
    name: str
    type: str
    values: tuple[str, ...]
    unit: str
    monotone: int
    signal: bool


def read_requests(
    csv: Path, plan: Map, folder: Path, where: str, times: Times, counts: Counts, today_ms: int
) -> tuple[pl.DataFrame, list[Column], pl.DataFrame]:
    """Return applications (applicant, id, at, amount_cents, tenor_days, then the columns by name),
    the columns, and the refused rows with their reason.
    """
    table = read_table(csv).with_row_index("line", offset=2)
    counts.read = table.height
    for join in plan.join:
        path = folder / join.file
        other = read_table(path)
        need(table, [join.on], csv, where)
        need(other, [join.on], path, where)
        twice = other.height - other[join.on].n_unique()
        if twice:
            counts.notes.append(f"{join.file}: {twice} rows repeat a key; the first counts")
        other = other.unique(join.on, keep="first", maintain_order=True)
        table = table.join(other, on=join.on, how="left", suffix=f"_{Path(join.file).stem}")
    request = plan.request
    named = [request.applicant, request.id, request.at, request.amount, request.tenor]
    need(table, [name for name in named if name], csv, where)
    need(table, [each.column for each in request.attributes], csv, where)
    rows = table.select(
        "line",
        applicant=pl.col(request.applicant) if request.applicant else _numbered("a"),
        id=pl.col(request.id) if request.id else _numbered("r"),
    ).with_columns(
        _at(table, plan, where, times).alias("at"),
        _amount(table, plan, where).alias("amount_cents"),
        _tenor(table, plan, where).alias("tenor_days"),
    )
    columns = _columns(table, request.attributes, counts, where)
    rows = rows.with_columns(_values(table, columns, request.attributes, counts))
    return _refuse(rows, table, columns, counts, today_ms)


def _numbered(prefix: str) -> pl.Expr:
    return pl.format("{}{}", pl.lit(prefix), pl.col("line"))


def _at(table: pl.DataFrame, plan: Map, where: str, times: Times) -> pl.Series:
    request = plan.request
    if request.at is not None:
        return times.read(table[request.at], request.at_format)
    if request.start is None:
        raise DipperError(
            f"{where}: request: name the column of the time with `at`; rows without times need"
            " `start`, the day from which the order of the file stands for time"
        )
    first = times.read(pl.Series([request.start]), None)[0]
    if first is None:
        raise DipperError(f"{where}: request.start: write a day as 2026-01-31")
    step = request.every_minutes * MINUTE_MS
    return pl.Series(first + step * np.arange(table.height), dtype=pl.Int64)


def _amount(table: pl.DataFrame, plan: Map, where: str) -> pl.Series:
    request = plan.request
    if request.amount is not None:
        return cents(table[request.amount], request.amount_unit_cents)
    if request.amount_cents is None:
        raise DipperError(f"{where}: request: give `amount`, a column, or `amount_cents`, a number")
    return pl.Series([request.amount_cents], dtype=pl.Int64).new_from_index(0, table.height)


def _tenor(table: pl.DataFrame, plan: Map, where: str) -> pl.Series:
    request = plan.request
    if request.tenor is not None:
        return cents(table[request.tenor], request.tenor_unit_days)
    if request.tenor_days is None:
        raise DipperError(f"{where}: request: give `tenor`, a column, or `tenor_days`, a number")
    return pl.Series([request.tenor_days], dtype=pl.Int64).new_from_index(0, table.height)


def _columns(
    table: pl.DataFrame, attributes: tuple[Attribute, ...], counts: Counts, where: str
) -> list[Column]:
    """Return the catalog's columns; numbers beyond the room for attributes become signals."""
    categories = [each for each in attributes if each.type == "category"]
    numbers = [each for each in attributes if each.type == "number"]
    room = ATTRIBUTES_MAX - len(categories)
    if room < 0 or len(numbers) - room > SIGNALS_MAX:
        raise DipperError(
            f"{where}: {len(attributes)} attributes; at most {ATTRIBUTES_MAX} and {SIGNALS_MAX}"
            f" more numbers fit, categories {ATTRIBUTES_MAX} at most; leave some out"
        )
    if len(numbers) > room:
        counts.notes.append(f"{len(numbers) - room} numbers come as signals: attributes are full")
    columns = []
    for place, each in enumerate([*categories, *numbers]):
        values: tuple[str, ...] = ()
        if each.type == "category":
            values = tuple(sorted({spelled(text) for text in _texts(table, each)}))
        columns.append(
            Column(
                each.column,
                each.name or spelled(each.column),
                each.type,
                values,
                each.unit,
                each.monotone,
                signal=place >= ATTRIBUTES_MAX,
            )
        )
    names = [column.name for column in columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DipperError(f"{where}: two attributes are called {twice[0]}; give one a `name`")
    return columns


def _texts(table: pl.DataFrame, attribute: Attribute) -> list[str]:
    texts = table[attribute.column].drop_nulls().unique().to_list()
    return [attribute.map.get(text, text) for text in texts if text not in attribute.missing]


def _values(
    table: pl.DataFrame,
    columns: list[Column],
    attributes: tuple[Attribute, ...],
    counts: Counts,
) -> list[pl.Series]:
    by_column = {(each.column, each.name or spelled(each.column)): each for each in attributes}
    series = []
    for column in columns:
        each = by_column[column.column, column.name]
        texts = table[column.column]
        texts = texts.set(texts.is_in(list(each.missing)).fill_null(value=False), None)
        if each.map:
            texts = texts.replace(each.map)
        if column.type == "category":
            known = {text: spelled(text) for text in texts.drop_nulls().unique().to_list()}
            values = texts.replace_strict(known, default=None, return_dtype=pl.String)
        else:
            values = texts.cast(pl.Float64, strict=False) * each.scale
            values = values.set(~values.is_finite().fill_null(value=True), None)
            lost = int((texts.is_not_null() & values.is_null()).sum())
            if lost:
                counts.notes.append(f"{column.column}: {lost} values are no number and left out")
        series.append(values.alias(column.name))
    return series


def _refuse(
    rows: pl.DataFrame, table: pl.DataFrame, columns: list[Column], counts: Counts, today_ms: int
) -> tuple[pl.DataFrame, list[Column], pl.DataFrame]:
    token = pl.col("applicant").str.len_bytes().is_between(1, ID_BYTES_MAX)
    token &= pl.col("id").str.len_bytes().is_between(1, ID_BYTES_MAX)
    reason = (
        pl.when(pl.col("applicant").is_null() | pl.col("id").is_null() | ~token)
        .then(pl.lit(f"applicant or id is empty or longer than {ID_BYTES_MAX} bytes"))
        .when(pl.col("at").is_null() | (pl.col("at") < 1))
        .then(pl.lit("time cannot be read"))
        .when(pl.col("at") > today_ms)
        .then(pl.lit("time lies in the future"))
        .when(pl.col("amount_cents").is_null() | ~pl.col("amount_cents").is_between(
            1, AMOUNT_CENTS_MAX))
        .then(pl.lit("amount is missing, zero, negative or too large"))
        .when(pl.col("tenor_days").is_null() | ~pl.col("tenor_days").is_between(1, 36_500))
        .then(pl.lit("term is missing or out of range"))
        .when(pl.struct("applicant", "id").cum_count().over("applicant", "id") > 1)
        .then(pl.lit("applicant and id stand twice; the first counts"))
    )  # fmt: skip
    told = rows.with_columns(refused=reason)
    bad = told.filter(pl.col("refused").is_not_null())
    for text, count in bad["refused"].value_counts(sort=True).iter_rows():
        counts.refuse(text, count)
    out = bad.select("line", "refused").join(table, on="line", how="left")
    kept = told.filter(pl.col("refused").is_null()).drop("refused")
    if kept.is_empty():
        raise DipperError(f"no row of {counts.read} can be an application: {counts.refused}")
    return kept, columns, out


def read_labels(
    kept: pl.DataFrame, csv: Path, plan: Map, where: str, times: Times, counts: Counts
) -> pl.DataFrame | None:
    """Return the labels of the requests that were kept: applicant, id, bad, known_at."""
    outcome = plan.outcome
    if outcome is None:
        counts.notes.append("no outcome is mapped: there are no labels")
        return None
    table = read_table(csv).with_row_index("line", offset=2)
    need(table, [outcome.column], csv, where)
    rows = kept.select("line", "applicant", "id", "at", "tenor_days").join(
        table.select("line", text=pl.col(outcome.column)), on="line", how="left"
    )
    both = sorted(set(outcome.bad) & set(outcome.good))
    if both:
        raise DipperError(f"{where}: outcome: '{both[0]}' is both bad and good; choose one")
    told = rows.with_columns(
        bad=pl.when(pl.col("text").is_in(list(outcome.bad))).then(1)
        .when(pl.col("text").is_in(list(outcome.good))).then(0),
        known_at=_known_at(rows, table, outcome, times, csv, where),
    )  # fmt: skip
    silent = told["text"].is_in(list(outcome.indeterminate))
    if silent.sum():
        counts.notes.append(f"{silent.sum()} outcomes are indeterminate: their requests bear none")
    outside = told.filter(pl.col("bad").is_null() & ~silent.fill_null(value=False))
    for text, number in outside["text"].fill_null("empty").value_counts(sort=True).iter_rows():
        counts.refuse(f"outcome '{text}' is in no list of the map: request kept, no label", number)
    labels = told.filter(pl.col("bad").is_not_null() & pl.col("known_at").is_not_null())
    if labels["bad"].n_unique() < 2:
        counts.notes.append("all outcomes are of one class: no model can be trained on them")
    return labels.select("applicant", "id", "bad", "known_at")


def _known_at(
    rows: pl.DataFrame, table: pl.DataFrame, outcome: Outcome, times: Times, csv: Path, where: str
) -> pl.Series:
    if outcome.known_at is None:
        return rows["at"] + (rows["tenor_days"] + outcome.known_after_days) * DAY_MS
    need(table, [outcome.known_at], csv, where)
    joined = rows.select("line").join(
        table.select("line", text=pl.col(outcome.known_at)), on="line", how="left"
    )
    return times.read(joined["text"], None)


def plain_values(row: dict[str, Any], columns: list[Column]) -> dict[str, Any]:
    """Return the attributes of a row that are known, whole numbers as such."""
    told = {}
    for column in columns:
        value = row[column.name]
        if value is not None and not column.signal:
            whole = isinstance(value, float) and value.is_integer()
            told[column.name] = int(value) if whole else value
    return told
