"""Read what a deployment adds to the catalog, from TOML.

    kinds = ["subscription"]

    [[attributes]]
    name = "phone_system"
    unit = "code"
    type = "category"
    values = ["android", "ios"]

    [[signals]]
    source = "bureau"
    name = "inquiries"
    ttl_days = 30

    [[features]]
    name = "subscription_count_14d"
    unit = "events"
    source = "window"
    aggregate = "count"
    kinds = ["subscription"]
    window_days = 14          # or window_hours
    owner = "risk"

`defaults = false` drops the default attributes and signals, and the ratios that need them: a
deployment whose data are others than ours has all the room for its own.

Keys that are not known are refused: a misspelt `missing` must not silently mean NaN.
"""

import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from features.definitions import Attribute, Feature, Name, Signal
from features.errors import CatalogError
from streams.limits import DAY_MS

_TABLES = ("attributes", "signals", "features")
_DURATIONS = {
    "window_days": ("window_ms", DAY_MS),
    "window_hours": ("window_ms", DAY_MS // 24),
    "ttl_days": ("ttl_ms", DAY_MS),
}

Row = TypeVar("Row", bound=BaseModel)


class Additions(NamedTuple):
    """What one file adds, in its order."""

    kinds: tuple[str, ...]
    attributes: tuple[Attribute, ...]
    signals: tuple[Signal, ...]
    features: tuple[Feature, ...]
    defaults: bool = True
    """Whether the default attributes and signals stand before them."""


def read_additions(path: Path) -> Additions:
    """Return the rows of the file at `path`; `CatalogError` says what is wrong in it and where."""
    try:
        text = path.read_text("utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise CatalogError(f"{path}: {error.strerror}; give a catalog that can be read") from None
    except UnicodeDecodeError as error:
        raise CatalogError(f"{path}: byte {error.start} is not UTF-8; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"{path}: {error}; correct the TOML") from None
    for key in document:
        if key not in {"kinds", "defaults"} and key not in _TABLES:
            raise CatalogError(
                f"{path}{_line(text, None, 0, key)}: unknown key {key!r};"
                f" known are kinds, defaults, {', '.join(_TABLES)}"
            )
    if not isinstance(document.get("defaults", True), bool):
        raise CatalogError(f"{path}: defaults is true or false, without quotes")
    return Additions(
        _kinds(path, text, document.get("kinds", [])),
        _rows(path, text, "attributes", document, Attribute),
        _rows(path, text, "signals", document, Signal),
        _rows(path, text, "features", document, Feature),
        document.get("defaults", True),
    )


def _kinds(path: Path, text: str, kinds: Any) -> tuple[str, ...]:
    try:
        return tuple(TypeAdapter(list[Name]).validate_python(kinds, strict=True))
    except ValidationError as error:
        problem = error.errors()[0]
        raise CatalogError(
            f"{path}{_line(text, None, 0, 'kinds')}: kinds: {problem['msg']};"
            " give a list of names in lower case"
        ) from None


def _rows(
    path: Path, text: str, table: str, document: dict[str, Any], model: type[Row]
) -> tuple[Row, ...]:
    entries = document.get(table, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise CatalogError(
            f"{path}{_line(text, None, 0, table)}: {table} is no list of tables; write [[{table}]]"
        )
    rows = []
    for index, entry in enumerate(entries):
        try:
            rows.append(model.model_validate(_plain(entry)))
        except ValidationError as error:
            problem = error.errors()[0]
            key = str(problem["loc"][0]) if problem["loc"] else ""
            raise CatalogError(
                f"{path}{_line(text, table, index, key)}: {table} row {index + 1}"
                f" ({entry.get('name', 'no name')}), {key or 'row'}: {problem['msg']};"
                " correct or remove it"
            ) from None
    return tuple(rows)


def _plain(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the entry as the records want it: tuples for lists, durations in milliseconds."""
    plain: dict[str, Any] = {}
    for key, value in entry.items():
        name, unit_ms = _DURATIONS.get(key, (key, 0))
        if unit_ms and isinstance(value, int) and not isinstance(value, bool):
            plain[name] = value * unit_ms
        else:
            plain[name] = tuple(value) if isinstance(value, list) else value
    return plain


def _line(text: str, table: str | None, index: int, key: str) -> str:
    """Return ", line N" of `key` in entry `index` of `table` (None: the top), else of the entry.

    "" where neither is found: tables may also be written inline.
    """
    lines = text.splitlines()
    start, seen = 0, -1
    if table is not None:
        header = re.compile(rf"\s*\[\[\s*{table}\s*\]\]")
        for number, line in enumerate(lines):
            if header.match(line):
                seen += 1
                if seen == index:
                    start = number
                    break
        else:
            return ""
    spellings = [key, *(short for short, (name, _) in _DURATIONS.items() if name == key)]
    wanted = re.compile(rf"\s*\[*\s*({'|'.join(map(re.escape, spellings))})\s*[=\].]")
    for number in range(start + (table is not None), len(lines)):
        if table is not None and lines[number].lstrip().startswith("["):
            break
        if wanted.match(lines[number]):
            return f", line {number + 1}"
    return f", line {start + 1}" if table is not None else ""
