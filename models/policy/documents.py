"""Read a TOML file into a frozen record, with file, line, field and remedy in every error."""

import difflib
import hashlib
import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from models.policy.errors import PolicyError, fault
from streams.limits import TOKEN_BYTES_MAX

T = TypeVar("T")
D = TypeVar("D", bound="Document")

Place = tuple[int | str, ...]
SHOWN_MAX = 10  # names that one sentence lists


def _as_tuple(value: object) -> object:
    """TOML gives lists and the records are frozen; anything else is left for pydantic to refuse."""
    return tuple(value) if isinstance(value, list) else value


Listed = Annotated[tuple[T, ...], BeforeValidator(_as_tuple)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=TOKEN_BYTES_MAX)]


class Document(BaseModel):
    """A record of a configuration file: frozen, typed strictly, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Text:
    """The bytes of a TOML file and where each of its fields stands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.data = path.read_bytes()
        except OSError as error:
            raise fault(path, 0, "", f"cannot be read ({error.strerror}); add the file") from None
        try:
            self.values: dict[str, Any] = tomllib.loads(self.data.decode())
        except UnicodeDecodeError as error:
            line = self.data[: error.start].count(b"\n") + 1
            raise fault(path, line, "", "is not UTF-8; save it as UTF-8") from None
        except tomllib.TOMLDecodeError as error:
            raise fault(path, _line_of_error(str(error)), "", f"is not TOML: {error}") from None
        self._lines = _field_lines(self.data.decode())

    def line(self, place: Place) -> int:
        """Return the line (from 1) of a field, or of the nearest record around it; 0 where none
        stands.
        """
        for end in range(len(place), 0, -1):
            if place[:end] in self._lines:
                return self._lines[place[:end]]
        return 0

    def text_line(self, place: Place) -> int:
        """Return the line on which a string field's text begins: TOML drops a first newline."""
        line = self.line(place)
        opening = self.data.decode().splitlines()[line - 1].rstrip() if line else ""
        return line + opening.endswith(('"""', "'''"))

    def fault(self, place: Place, what: str) -> PolicyError:
        """Make an error that points at a field."""
        return fault(self.path, self.line(place), field_name(place), what)


def field_name(place: Place) -> str:
    """Write a place as people do: `application.rules[2].when`, counted from 1."""
    name = ""
    for part in place:
        name += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if name else part
    return name


def read_document(path: Path, kind: type[D]) -> tuple[D, Text]:
    """Read `path` as a `kind`; PolicyError with the first thing that is wrong."""
    text = Text(path)
    try:
        return kind.model_validate(text.values), text
    except ValidationError as errors:
        # A field that is misspelt is also missing: name what stands there first.
        found = errors.errors()
        error = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
        place = _known_place(error["loc"], text.values)
        raise text.fault(place, _sentence(error, kind)) from None


def suggestion(wrong: str, known: Sequence[str]) -> str:
    """Return a remedy that names the nearest known word, or all of them."""
    near = difflib.get_close_matches(wrong, known, 1)
    if near:
        return f"did you mean {near[0]}?"
    if not known:
        return "none is defined"
    more = f" and {len(known) - SHOWN_MAX} more" if len(known) > SHOWN_MAX else ""
    return f"known are {', '.join(known[:SHOWN_MAX])}{more}"


def content_address(parts: Iterable[tuple[str, bytes]]) -> str:
    """Return the hex sha256 of named contents; lengths go in, so no two lists hash alike."""
    digest = hashlib.sha256()
    for name, data in parts:
        label = name.encode()
        digest.update(len(label).to_bytes(8, "big") + label)
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def _sentence(error: ErrorDetails, kind: type[BaseModel]) -> str:
    if error["type"] == "extra_forbidden":
        known = [name for name in _fields(kind, error["loc"][:-1]) if name]
        return f"unknown field; {suggestion(str(error['loc'][-1]), known)}"
    if error["type"] == "missing":
        return "is missing; add it"
    if error["type"] == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{message}; found {error['input']!r}"


def _fields(kind: type[BaseModel], place: Place) -> list[str]:
    """Return the fields that the record at `place` of a `kind` may have."""
    found: type[BaseModel] | None = kind
    for part in place:
        if isinstance(part, int) or found is None:
            continue
        known = {field.alias or name: field for name, field in found.model_fields.items()}
        found = _record_in(known[part].annotation) if part in known else None
    if found is None:
        return []
    return [field.alias or name for name, field in found.model_fields.items()]


def _record_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _record_in(inner)
        if found is not None:
            return found
    return None


def _known_place(place: Place, values: Any) -> Place:
    """Drop what pydantic adds for unions: keep the parts that lead somewhere, and a last missing
    one.
    """
    known: list[int | str] = []
    for part in place:
        if isinstance(values, dict) and isinstance(part, str):
            if part not in values and part is not place[-1]:
                continue
            values = values.get(part)
        elif isinstance(values, (list, tuple)) and isinstance(part, int) and part < len(values):
            values = values[part]
        else:
            continue
        known.append(part)
    return tuple(known)


_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"^\s*([A-Za-z0-9_\-.\"']+)\s*=")


def _line_of_error(message: str) -> int:
    found = re.search(r"at line (\d+)", message)
    return int(found.group(1)) if found else 0


def _parts(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]


def _field_lines(text: str) -> dict[Place, int]:
    """Return the line of each `[table]`, `[[table]]` and `key =` of valid TOML by its place in the
    values.

    A string over several lines hides what stands in it. Fields of inline tables share the line of
    their key.
    """
    lines: dict[Place, int] = {}
    counts: dict[Place, int] = {}
    table: Place = ()
    inside = ""
    for number, line in enumerate(text.splitlines(), 1):
        if inside:
            inside = "" if inside in line else inside
            continue
        header = _HEADER.match(line)
        key = _KEY.match(line)
        if header:
            table = ()
            parts = _parts(header.group(2))
            for depth, part in enumerate(parts, 1):
                table = (*table, part)
                if depth == len(parts) and header.group(1) == "[[":
                    counts[table] = counts.get(table, -1) + 1
                if table in counts:
                    table = (*table, counts[table])
            lines.setdefault(table, number)
        elif key:
            place = (*table, *_parts(key.group(1)))
            lines.setdefault(place, number)
            for quote in ('"""', "'''"):
                if line.count(quote) == 1:
                    inside = quote
    return lines
