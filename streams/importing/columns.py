"""Read columns of CSV files strictly: text to times, money and names; what cannot be read is null
and counted.
"""

import re
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from streams.errors import DipperError

NAME_BYTES_MAX = 32


def read_table(path: Path) -> pl.DataFrame:
    """Return a CSV file (.gz too) with every column as text; an empty field is null."""
    if not path.is_file():
        raise DipperError(f"{path}: no such file; paths of a map are taken from the map's folder")
    try:
        return pl.read_csv(path, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise DipperError(
            f"{path}: no CSV that can be read ({str(error).splitlines()[0]})"
        ) from error


def need(frame: pl.DataFrame, columns: list[str], file: Path, where: str) -> None:
    """Raise DipperError where a column that the map names is not in the file."""
    for column in columns:
        if column not in frame.columns:
            known = ", ".join(name for name in frame.columns[:30] if name != "line")
            raise DipperError(f"{where}: {file} has no column '{column}'; it has {known}")


class Times:
    """Reads times of one import; counts those that bore a zone of their own and those that did not.

    A time without a zone is one of `zone`; a day is its first moment there.
    """

    def __init__(self, zone: str, where: str) -> None:
        try:
            self._zone = ZoneInfo(zone)
        except (KeyError, ValueError, OSError) as error:
            raise DipperError(f"{where}: zone '{zone}' is not known; write UTC or Area/City") from (
                error
            )
        self.zoned = 0
        self.bare = 0

    def read(self, column: pl.Series, form: str | None) -> pl.Series:
        """Return epoch milliseconds, null where a text is no time."""
        known = {text: self._one(text, form) for text in column.unique().drop_nulls().to_list()}
        counts = column.drop_nulls().value_counts()
        for text, count in counts.iter_rows():
            if known[text] is not None:
                bears = known[text][1]  # type: ignore[index]
                self.zoned += count * bears
                self.bare += count * (not bears)
        plain = {text: None if at is None else at[0] for text, at in known.items()}
        return pl.Series([plain.get(text) for text in column.to_list()], dtype=pl.Int64)

    def _one(self, text: str, form: str | None) -> tuple[int, bool] | None:
        try:
            found = (
                datetime.fromisoformat(text.strip())
                if form is None
                else datetime.strptime(text.strip(), form)  # noqa: DTZ007 its zone follows
            )
        except ValueError:
            return None
        zoned = found.tzinfo is not None
        if not zoned:
            found = found.replace(tzinfo=self._zone)
        return round(found.timestamp() * 1_000), zoned


def cents(column: pl.Series, unit_cents: float) -> pl.Series:
    """Return whole cents of amounts in units of so many; null where a text is no number."""
    return (column.cast(pl.Float64, strict=False) * unit_cents).round().cast(pl.Int64, strict=False)


def spelled(text: str) -> str:
    """Spell a name as catalogs do: lower case, words joined by an underscore."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
    name = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    name = name if name[:1].isalpha() else f"c_{name}"
    return name[:NAME_BYTES_MAX].rstrip("_")
