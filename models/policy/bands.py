"""Band tables as CSV, since credit officers live in spreadsheets: price, limit and term by
probability of default.

Columns: `pd_ppm_max`, `rate_bps`, `fee_bps`, `limit_cents`, `tenor_days_max`, and, where wanted,
`pd_ppm_min` (checked: bands then neither gap nor overlap) and `limit_income_bps` (share of the
section's `income` column). A row holds probabilities of default up to and including its
`pd_ppm_max`, above those of the row before.

Where the section has a matrix, `class` stands in the place of `pd_ppm_max` and `pd_ppm_min`: a word
that cells of the matrix name, and a row holds what they come to.
"""

import re
from pathlib import Path
from typing import NamedTuple

from models.policy.errors import fault
from models.policy.matrix import REFUSE
from models.policy.sheet import read_records
from models.policy.tables import LIMIT_BPS_MAX
from streams.limits import AMOUNT_CENTS_MAX, PPM

RATE_BPS_MAX = 100_000  # 1,000 % a year: more is a slip of the keyboard
FEE_BPS_MAX = 5_000  # half the amount


class Band(NamedTuple):
    """One row of a band table; `limit_income_bps` -1: no share. `line` is its line in the file,
    `label` its class where a matrix names it.
    """

    pd_ppm_max: int
    rate_bps: int
    fee_bps: int
    limit_cents: int
    tenor_days_max: int
    limit_income_bps: int = -1
    line: int = 0
    label: str = ""


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
_CLASS = "class"
_CLASS_COLUMNS = (_CLASS, *(name for name in _COLUMNS if not name.startswith("pd_ppm")))
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*")


def read_bands(path: Path, data: bytes) -> tuple[Band, ...]:
    """Read a band table from the bytes of `path`; PolicyError where it is wrong."""
    needed = "a header and one row a band"
    header, rows = read_records(path, data, needed, tuple(_COLUMNS), _OPTIONAL)
    bands: list[Band] = []
    for line, cells in rows:
        numbers = {
            name: _number(path, line, name, cell)
            for name, cell in zip(header.cells, cells, strict=True)
        }
        _check_order(path, line, numbers, bands)
        numbers.pop("pd_ppm_min", None)
        bands.append(Band(**numbers, line=line, label=""))
    if not bands:
        raise fault(path, header.number, "", "has no band; write one row a band")
    return tuple(bands)


def read_classes(path: Path, data: bytes) -> tuple[Band, ...]:
    """Read a band table by class from the bytes of `path`; PolicyError where it is wrong."""
    needed = "a header and one row a class"
    header, rows = read_records(path, data, needed, _CLASS_COLUMNS, _OPTIONAL)
    bands: list[Band] = []
    for line, cells in rows:
        named = dict(zip(header.cells, cells, strict=True))
        label = named.pop(_CLASS)
        if not _LABEL.fullmatch(label) or label == REFUSE:
            what = f"{label!r} is no class; write a word of letters and digits other than {REFUSE}"
            raise fault(path, line, _CLASS, what)
        if any(label == band.label for band in bands):
            raise fault(path, line, _CLASS, f"{label} stands twice; remove one")
        numbers = {name: _number(path, line, name, cell) for name, cell in named.items()}
        bands.append(Band(pd_ppm_max=PPM, **numbers, line=line, label=label))
    if not bands:
        raise fault(path, header.number, "", "has no class; write one row a class")
    return tuple(bands)


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
