"""Tables as spreadsheets save them: CSV in UTF-8, with line and column in every error."""

import csv
import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from models.policy.documents import suggestion
from models.policy.errors import fault


class Line(NamedTuple):
    """One line that is not blank: its number in the file (from 1), its cells, trimmed."""

    number: int
    cells: list[str]


def read_lines(path: Path, data: bytes, needed: str) -> list[Line]:
    """Read the lines of a table from the bytes of `path`, the header first.

    Blank lines are left out, and so are columns at the right end that are blank in every line: that
    is how spreadsheets save them. PolicyError where it is no CSV, or empty; `needed` says what to
    write then.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise fault(path, 0, "", "is not UTF-8; save it as CSV UTF-8") from None
    reader = csv.reader(io.StringIO(text), strict=True)
    lines: list[Line] = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                lines.append(Line(reader.line_num, cells))
    except csv.Error as error:
        raise fault(path, reader.line_num, "", f"is not CSV ({error}); mend the line") from None
    if not lines:
        raise fault(path, 0, "", f"is empty; write {needed}")
    header = lines[0]
    if len(header.cells) == 1 and ";" in header.cells[0]:
        raise fault(path, header.number, "", "is separated by semicolons; save it with commas")
    while header.cells and all(len(c) == len(header.cells) and not c[-1] for _, c in lines):
        for line in lines:
            line.cells.pop()
    return lines


def check_widths(path: Path, lines: Sequence[Line]) -> None:
    """Refuse a line that has more or fewer cells than the first one."""
    wide = len(lines[0].cells)
    for line in lines:
        if len(line.cells) != wide:
            what = f"has {len(line.cells)} cells, the header {wide}; make them equal"
            raise fault(path, line.number, "", what)


def read_records(
    path: Path, data: bytes, needed: str, columns: Sequence[str], optional: Collection[str]
) -> tuple[Line, list[Line]]:
    """Read a table whose first line names its columns, some of which may be left out; return that
    line and the others.
    """
    header, *rows = read_lines(path, data, needed)
    _check_header(path, header, columns, optional)
    check_widths(path, [header, *rows])
    return header, rows


def _check_header(
    path: Path, header: Line, columns: Sequence[str], optional: Collection[str]
) -> None:
    for place, name in enumerate(header.cells):
        if name not in columns:
            raise fault(path, header.number, name, f"unknown column; {suggestion(name, columns)}")
        if name in header.cells[:place]:
            raise fault(path, header.number, name, "stands twice in the header; remove one")
    for name in columns:
        if name not in optional and name not in header.cells:
            raise fault(path, header.number, name, "is missing in the header; add the column")
