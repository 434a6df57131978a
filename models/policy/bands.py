"""Band tables as CSV, since credit officers live in spreadsheets: price, limit and term by
probability of default.

Columns: `pd_ppm_max`, `rate_bps`, `fee_bps`, `limit_cents`, `tenor_days_max`, and, where wanted,
`pd_ppm_min` (checked: bands then neither gap nor overlap) and `limit_income_bps` (share of the
section's `income` column). A row holds probabilities of default up to and including its
`pd_ppm_max`, above those of the row before.
"""

import csv
import io
from pathlib import Path
from typing import NamedTuple

from models.policy.documents import suggestion
from models.policy.errors import fault
from models.policy.tables import LIMIT_BPS_MAX
from streams.limits import AMOUNT_CENTS_MAX, PPM

RATE_BPS_MAX = 100_000  # 1,000 % a year: more is a slip of the keyboard
FEE_BPS_MAX = 5_000  # half the amount


class Band(NamedTuple):
    """One row of a band table; `limit_income_bps` -1: no share. `line` is its line in the file."""

    pd_ppm_max: int
    rate_bps: int
    fee_bps: int
    limit_cents: int
    tenor_days_max: int
    limit_income_bps: int = -1
    line: int = 0


# Column: lowest and highest value.
_COLUMNS = {
    "pd_ppm_min": (0, PPM),
    "pd_ppm_max": (0, PPM),
    "rate_bps": (0, RATE_BPS_MAX),
    "fee_bps": (0, FEE_BPS_MAX),
    "limit_cents": (1, AMOUNT_CENTS_MAX),
    "limit_income_bps": (1, LIMIT_BPS_MAX),
    "tenor_days_max": (1, 36_500),
}
_OPTIONAL = frozenset({"pd_ppm_min", "limit_income_bps"})


def read_bands(path: Path, data: bytes) -> tuple[Band, ...]:
    """Read a band table from the bytes of `path`; PolicyError where it is wrong."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise fault(path, 0, "", "is not UTF-8; save it as CSV UTF-8") from None
    reader = csv.reader(io.StringIO(text), strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num, [cell.strip() for cell in cells]))
    except csv.Error as error:
        raise fault(path, reader.line_num, "", f"is not CSV ({error}); mend the line") from None
    if not rows:
        raise fault(path, 0, "", "is empty; write a header and one row a band")
    header_line, header = rows[0]
    _check_header(path, header_line, header)
    bands: list[Band] = []
    for line, cells in rows[1:]:
        if len(cells) != len(header):
            what = f"has {len(cells)} cells, the header {len(header)}; make them equal"
            raise fault(path, line, "", what)
        numbers = {
            name: _number(path, line, name, cell) for name, cell in zip(header, cells, strict=True)
        }
        _check_order(path, line, numbers, bands)
        numbers.pop("pd_ppm_min", None)
        bands.append(Band(**numbers, line=line))
    if not bands:
        raise fault(path, header_line, "", "has no band; write one row a band")
    return tuple(bands)


def _check_header(path: Path, line: int, header: list[str]) -> None:
    if len(header) == 1 and ";" in header[0]:
        raise fault(path, line, "", "is separated by semicolons; save it with commas")
    for place, name in enumerate(header):
        if name not in _COLUMNS:
            raise fault(path, line, name, f"unknown column; {suggestion(name, tuple(_COLUMNS))}")
        if name in header[:place]:
            raise fault(path, line, name, "stands twice in the header; remove one")
    for name in _COLUMNS:
        if name not in _OPTIONAL and name not in header:
            raise fault(path, line, name, "is missing in the header; add the column")


def _number(path: Path, line: int, name: str, cell: str) -> int:
    low, high = _COLUMNS[name]
    digits = cell.replace("_", "")
    if not (digits.isascii() and digits.isdigit()):
        raise fault(path, line, name, f"{cell!r} is not a whole number; write one")
    number = int(digits)
    if not low <= number <= high:
        raise fault(path, line, name, f"{number} is not within {low} to {high}; change it")
    return number


def _check_order(path: Path, line: int, numbers: dict[str, int], before: list[Band]) -> None:
    last = before[-1].pd_ppm_max if before else -1
    highest = numbers["pd_ppm_max"]
    if highest <= last:
        what = f"{highest} is not above {last} of the band before; sort the rows"
        raise fault(path, line, "pd_ppm_max", what)
    lowest = numbers.get("pd_ppm_min", last + 1)
    if lowest != last + 1:
        kind = "leaves a gap to" if lowest > last + 1 else "overlaps"
        what = f"{lowest} {kind} the band before; write {last + 1}"
        raise fault(path, line, "pd_ppm_min", what)
