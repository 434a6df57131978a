"""A change of files in words: every value that differs is a sentence, none is left unsaid.

Files are compared as what they say, not as text: TOML by field, rules and cases by their name,
tables by row. Where a file differs in comments and layout alone, that is said.
"""

import csv
import io
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from streams.change.files import INSTITUTIONS, changed, versioned
from streams.config import MODELS_FOLDER

Leaves = dict[tuple[str, ...], Any]

# By what a record in a list is called; the first that stands in it.
_NAMES = ("name", "id", "from", "above_cents", "reason")
_LABELS = {
    "cut_off_pd_ppm": "the cut-off",
    "amount_cents_min": "the smallest amount",
    "amount_cents_max": "the largest amount",
    "tenors_days": "the terms in days",
    "offer_hours": "how long an offer stands, hours,",
    "partial": "offering less than was asked",
    "commitment": "taking commitment for open lines",
    "method": "the method of repayment",
    "outstanding_cents": "the cap on principal lent",
    "commitment_cents": "the cap on open lines",
    "when": "the condition",
    "rate_bps": "the rate",
    "fee_bps": "the fee",
    "apr_bps": "the yearly cost",
    "limit_cents": "the limit",
    "limit_income_bps": "the limit as a share of income",
    "tenor_days_max": "the longest term in days",
    "pd_ppm_min": "the lower end",
}


class Difference(NamedTuple):
    """One sentence, and what it is about: `dawn/cash_line`, `model consumer`, `platform`."""

    item: str
    path: str
    sentence: str


def differences(a: Path, b: Path) -> list[Difference]:
    """Return what a deployment `b` says otherwise than `a`, file by file."""
    found = []
    for path in changed(versioned(a), versioned(b)):
        about = item(path)
        found += [Difference(about, path, text) for text in _compare(path, a / path, b / path)]
    return found


def item(path: str) -> str:
    """Return what a file belongs to, as people call it."""
    parts = Path(path).parts
    if parts[0] == INSTITUTIONS:
        name = Path(path).stem
        if name == "institution":
            return parts[1]
        return f"{parts[1]}/{name}"
    return f"model {parts[1]}" if parts[0] == MODELS_FOLDER else Path(path).stem


def _compare(path: str, a: Path, b: Path) -> Iterator[str]:
    if not a.is_file() or not b.is_file():
        yield f"{Path(path).name} is {'new' if b.is_file() else 'gone'}"
        return
    read = {".toml": _toml, ".csv": _csv}.get(a.suffix)
    before, after = (read(each) if read else None for each in (a, b))
    if before is None or after is None:
        yield f"{Path(path).name} is another"
        return
    sentences = list(_leaves(before, after))
    yield from sentences or [f"{Path(path).name}: only comments or layout differ"]


def _leaves(before: Leaves, after: Leaves) -> Iterator[str]:
    gone = {place[:-1] for place in before} - {place[:-1] for place in after}
    new = {place[:-1] for place in after} - {place[:-1] for place in before}
    told: set[tuple[str, ...]] = set()
    for place in sorted({*before, *after}, key=str):
        record = place[:-1]
        if record in gone | new and record:
            if record not in told:
                told.add(record)
                side = before if record in gone else after
                values = ", ".join(
                    f"{_LABELS.get(name[-1], name[-1])} {_value(name[-1], value)}"
                    for name, value in side.items()
                    if name[:-1] == record
                )
                word = "is gone" if record in gone else "is new"
                yield f"{' '.join(record)} {word}: {values}"
        elif place not in before or place not in after or before[place] != after[place]:
            yield _sentence(place, before.get(place), after.get(place))


def _sentence(place: tuple[str, ...], old: Any, new: Any) -> str:
    name = place[-1]
    said = f"{' '.join(place[:-1])}: ".lstrip(": ") + _LABELS.get(name, name)
    if old is None:
        return f"{said} is {_value(name, new)}, was not set"
    if new is None:
        return f"{said} is no longer set, was {_value(name, old)}"
    if isinstance(old, bool) or isinstance(new, bool):
        return f"{said} is switched {'on' if new else 'off'}"
    if isinstance(old, int | float) and isinstance(new, int | float):
        word = "rises" if new > old else "falls"
        return f"{said} {word} from {_value(name, old)} to {_value(name, new)}"
    return f"{said} is {_value(name, new)}, was {_value(name, old)}"


def _value(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    # A unit may stand before the last word: amount_cents_max, pd_ppm_max.
    words = name.split("_")
    if "cents" in words:
        return f"{value / 100:,.2f}"
    for unit, part in (("ppm", 10_000), ("bps", 100)):
        if unit in words:
            return f"{value / part:g} %"
    return f"{value:,}"


def _toml(path: Path) -> Leaves | None:
    try:
        return dict(_flatten((), tomllib.loads(path.read_text())))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return None


def _flatten(place: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flatten((*place, name), inner)
    elif isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        seen: dict[str, int] = {}
        for each in value:
            name = next((_called(key, each[key]) for key in _NAMES if key in each), "entry")
            seen[name] = seen.get(name, 0) + 1
            if seen[name] > 1:
                name = f"{name} ({seen[name]})"
            yield from _flatten((*place, f"“{name}”"), each)
    else:
        yield place, value


def _called(key: str, value: Any) -> str:
    return f"above {_value(key, value)}" if key == "above_cents" else str(value)


def _csv(path: Path) -> Leaves | None:
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig")), strict=True))
    except (csv.Error, UnicodeDecodeError):
        return None
    leaves: Leaves = {}
    for row in rows:
        if None in row or None in row.values():
            return None
        keys, place = _row_place(row)
        for name, cell in row.items():
            if name not in keys:
                leaves[(*place, name)] = _number(cell)
    return leaves


def _row_place(row: dict[str, str]) -> tuple[tuple[str, ...], tuple[str, str]]:
    """Return the columns that say which row it is, and how the row is called."""
    if "pd_ppm_max" in row:
        return ("pd_ppm_max",), ("band up to", _value("pd_ppm_max", _number(row["pd_ppm_max"])))
    if {"kind", "token"} <= row.keys():
        return ("kind", "token"), (row["kind"], row["token"])
    if "class" in row:
        return ("class",), ("class", row["class"])
    first = next(iter(row))
    return (first,), ("row", row[first])


def _number(cell: str) -> Any:
    digits = cell.strip().replace("_", "")
    return int(digits) if digits.isascii() and digits.isdigit() else cell.strip()
