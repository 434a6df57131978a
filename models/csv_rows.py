"""Read the small CSV tables of models, naming the line of whatever is wrong."""

import csv
import io
import re
from math import isfinite
from pathlib import Path

from models.errors import ModelError

_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", re.ASCII)


class CsvRow:
    """One line of a table: its cells by column name, and refusals that name file and line."""

    def __init__(self, path: Path, line: int, cells: dict[str, str]) -> None:
        self.path = path
        self.line = line
        self.cells = cells

    def refuse(self, sentence: str) -> ModelError:
        """Return the error that says `sentence` about this line."""
        return ModelError(f"{self.path}:{self.line}: {sentence}.")

    def number(self, column: str) -> float:
        """Return a finite number; refuse all else."""
        text = self.cells[column]
        number = float(text) if _NUMBER.fullmatch(text) else float("nan")
        if not isfinite(number):
            raise self.refuse(f"'{column}' is {text!r}; write a finite number such as 0.25")
        return number

    def integer(self, column: str, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`; refuse all else."""
        text = self.cells[column]
        if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
            raise self.refuse(f"'{column}' is {text!r}; write a whole number from {low} to {high}")
        return int(text)


def read_rows(path: Path, data: bytes, header: tuple[str, ...]) -> list[CsvRow]:
    """Return the rows of the CSV `data` of file `path` below the line `header`; blanks are cut.

    Raises ModelError for bytes that are not UTF-8, another header, a row with too few or too many
    cells, and a table without rows.
    """
    try:
        text = data.decode("utf-8-sig")  # spreadsheets put a byte order mark first
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ModelError(f"{path}:{line}: this is not UTF-8; save the CSV as UTF-8.") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[CsvRow] = []
    try:
        names = tuple(cell.strip() for cell in next(reader, []))
        if names != header:
            raise ModelError(f"{path}:1: the first line must be '{','.join(header)}'.")
        for cells in reader:
            row = CsvRow(
                path, reader.line_num, dict(zip(header, map(str.strip, cells), strict=False))
            )
            if len(cells) != len(header):
                raise row.refuse(f"{len(cells)} cells stand where {len(header)} belong")
            rows.append(row)
    except csv.Error as error:
        raise ModelError(f"{path}:{reader.line_num}: {error}; save it as plain CSV.") from error
    if not rows:
        raise ModelError(f"{path}:1: the table has no rows; add one below the header.")
    return rows
