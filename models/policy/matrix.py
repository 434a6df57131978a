r"""Two-way matrices as CSV: a band of one value against a band of another gives a class of terms.

    pd_ppm \ bureau_score,missing,<600,600..700,>=700
    <20000,               B,      B,   A,       A
    20000..80000,         refuse, C,   B,       A
    >=80000,              refuse, refuse, refuse, C

The first cell names the values of rows and columns (any column that a rule may compare as a number,
`pd_ppm` and scores among them). Bands hold their lower end and not their upper one; they begin with
`<` and end with `>=`, so every number has one; a band `missing` may stand first or last. A cell is
a class of the section's band table or `refuse`.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from models.policy.documents import suggestion
from models.policy.errors import PolicyError, fault
from models.policy.expression import And, Column, Compare, Missing, Node, Op, Or
from models.policy.sheet import Line, check_widths, read_lines

REFUSE = "refuse"
BANDS_MAX = 30  # a side
REFUSED = -1
_MISSING = "missing"
_NUMBER = r"-?\d[\d_]*(?:\.\d+)?"
_BAND = re.compile(rf"<(?P<below>{_NUMBER})|(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER})"
                   rf"|>=(?P<from>{_NUMBER})")  # fmt: skip


T = TypeVar("T")


class Side(NamedTuple):
    """One side: its value, the rising edges between its bands, whether missing has a band."""

    column: Column
    edges: tuple[float, ...]
    has_missing: bool


class Matrix(NamedTuple):
    """`cells[i][j]`: place of the class in the band table, REFUSED, for the i-th band of `rows` and
    the j-th of `columns`; the last of each side is that of missing, REFUSED where it has none.
    """

    rows: Side
    columns: Side
    cells: tuple[tuple[int, ...], ...]


def read_matrix(
    path: Path, data: bytes, names: Mapping[str, Column], classes: Sequence[str]
) -> Matrix:
    """Read a matrix from the bytes of `path`; PolicyError, with line and column, where it is wrong.

    `names` are the values it may ask, `classes` those of the band table, in order; each must stand
    in some cell.
    """
    lines = read_lines(path, data, "a matrix as docs/ONBOARDING.md shows it")
    check_widths(path, lines)
    header, *rows = lines
    corner = [part.strip() for part in header.cells[0].split("\\")]
    if len(corner) != 2:
        what = "names no two values; write the rows' and the columns', as in pd_ppm \\ bureau_score"
        raise fault(path, header.number, "column 1", what)
    columns = [_column(path, header.number, name, names) for name in corner]

    def at_row(place: int) -> tuple[int, int]:
        return rows[place].number, 1

    def at_column(place: int) -> tuple[int, int]:
        return header.number, place + 2

    sides = [
        _side(path, columns[0], [line.cells[0] for line in rows], at_row),
        _side(path, columns[1], header.cells[1:], at_column),
    ]
    cells = _cells(path, header, rows, classes)
    for place, name in enumerate(classes):
        if not any(place in row for row in cells):
            what = f"no cell names the class {name}; name it or remove its band"
            raise fault(path, 0, "", what)
    return Matrix(sides[0], sides[1], cells)


def _column(path: Path, line: int, name: str, names: Mapping[str, Column]) -> Column:
    column = names.get(name)
    if column is None:
        what = f"unknown column {name or 'blank'}; {suggestion(name, tuple(names))}"
        raise fault(path, line, "column 1", what)
    if column.categories is not None:
        raise fault(path, line, "column 1", f"{name} is a category; name a number")
    return column


def _side(
    path: Path, column: Column, labels: Sequence[str], where: Callable[[int], tuple[int, int]]
) -> Side:
    """Read the bands of one side, in order; `where`: line and column of each."""

    def wrong(place: int, what: str) -> PolicyError:
        line, cell = where(place)
        return fault(path, line, f"column {cell}", what)

    if not labels:
        raise fault(path, 0, "", "has no band on one side; write a row and a column at least")
    missing = [place for place, label in enumerate(labels) if label == _MISSING]
    inner = [place for place in range(len(labels)) if place not in missing]
    if len(missing) > 1 or (missing and missing[0] not in (0, len(labels) - 1)):
        raise wrong(missing[-1], "missing stands once, first or last; move or remove it")
    if not 2 <= len(inner) <= BANDS_MAX:
        raise wrong(0, f"has {len(inner)} bands of numbers; write 2 to {BANDS_MAX}")
    edges: list[float] = []
    for count, place in enumerate(inner):
        low, high = _band(labels[place], partial(wrong, place))
        if count == 0 and low != -math.inf:
            raise wrong(place, f"leaves a gap below {low:g}; write <{high:g} in its place")
        if count > 0 and low != edges[-1]:
            kind = "leaves a gap to" if low > edges[-1] else "overlaps"
            raise wrong(place, f"{kind} the band before; begin it with {edges[-1]:.15g}")
        if place == inner[-1] and high != math.inf:
            raise wrong(place, f"leaves a gap from {high:g}; write >={low:.15g} in its place")
        if place != inner[-1]:
            if high == math.inf:
                raise wrong(inner[count + 1], f"overlaps {labels[place]}, which has no end")
            edges.append(high)
    return Side(column, tuple(edges), bool(missing))


def _band(label: str, wrong: Callable[[str], PolicyError]) -> tuple[float, float]:
    """Return the ends of a band, the upper one not in it."""
    found = _BAND.fullmatch(label.replace(" ", ""))
    if found is None:
        raise wrong(f"{label!r} is no band; write <600, 600..700, >=700 or missing")

    def number(name: str) -> float:
        return float(found[name].replace("_", ""))

    if found["below"]:
        return -math.inf, number("below")
    if found["from"]:
        return number("from"), math.inf
    low, high = number("low"), number("high")
    if low >= high:
        raise wrong(f"{label} holds no number; swap its ends")
    return low, high


def _cells(
    path: Path, header: Line, rows: Sequence[Line], classes: Sequence[str]
) -> tuple[tuple[int, ...], ...]:
    """Return the cells, those of missing values last and made up where they have no band."""
    found = []
    for line in rows:
        cells = []
        for place, name in enumerate(line.cells[1:], 2):
            if name != REFUSE and name not in classes:
                what = f"unknown class {name or 'blank'}; {suggestion(name, (REFUSE, *classes))}"
                raise fault(path, line.number, f"column {place}", what)
            cells.append(REFUSED if name == REFUSE else classes.index(name))
        found.append(_missing_last(cells, header.cells[1:], REFUSED))
    blank = [REFUSED] * len(found[0])
    whole = _missing_last(found, [line.cells[0] for line in rows], blank)
    return tuple(tuple(row) for row in whole)


def _missing_last(bands: Sequence[T], labels: Sequence[str], blank: T) -> list[T]:
    pairs = list(zip(bands, labels, strict=True))
    rest = [band for band, label in pairs if label != _MISSING]
    return rest + ([band for band, label in pairs if label == _MISSING] or [blank])


def refusals(matrix: Matrix) -> Node | None:
    """Return the condition on which a cell refuses a request whose values both have a band; None
    where no cell does.
    """
    found: Node | None = None
    for place, cells in enumerate(matrix.cells):
        if place == len(matrix.cells) - 1 and not matrix.rows.has_missing:
            continue
        across: Node | None = None
        for run in _runs(cells, matrix.columns):
            across = run if across is None else Or(across, run)
        if across is not None:
            row = And(_within(matrix.rows, place, place), across)
            found = row if found is None else Or(found, row)
    return found


def without_band(matrix: Matrix) -> Node | None:
    """Return the condition on which a value is missing and has no band; None: both have one."""
    found: Node | None = None
    for side in (matrix.rows, matrix.columns):
        if not side.has_missing:
            asked = Missing(side.column, negated=False)
            found = asked if found is None else Or(found, asked)
    return found


def _runs(cells: Sequence[int], side: Side) -> Iterator[Node]:
    """Yield a condition for each run of neighbours that refuse."""
    numbers = len(side.edges) + 1
    first = None
    for place in range(numbers + 1):
        refused = place < numbers and cells[place] == REFUSED
        if refused and first is None:
            first = place
        elif not refused and first is not None:
            yield _within(side, first, place - 1)
            first = None
    if side.has_missing and cells[numbers] == REFUSED:
        yield _within(side, numbers, numbers)


def _within(side: Side, first: int, last: int) -> Node:
    """Return the condition of bands `first` to `last` of a side; the one behind the numbers is that
    of missing.
    """
    numbers = len(side.edges) + 1
    if first == numbers:
        return Missing(side.column, negated=False)
    low = None if first == 0 else Compare(side.column, Op.GE, side.edges[first - 1])
    high = None if last == numbers - 1 else Compare(side.column, Op.LT, side.edges[last])
    if low is None or high is None:
        return low or high or Missing(side.column, negated=True)
    return And(low, high)
