"""Records of a file of JSON Lines, and where each goes: the same for publishing and for replay.

A line with an `applicant` has that as its key, and the partition of the key. A tick line, exactly
`{"type":"tick","at":<ms>}`, is no record: it is handed to control, which writes a tick into every
partition. Nor is a line that tells control something, as `{"type":"pause","institution":"dawn"}`: a
replay writes it into every partition; live, control takes it signed alone. Any other line has no
key; where it is sent nevertheless, it goes to partition 0.
"""

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import orjson

from streams.clock import read_tick
from streams.control.records import Command, read_command
from streams.errors import DipperError

STDIN = Path("-")


class Line(NamedTuple):
    """One line of a file: a record with its key, or a tick where `tick_at` is a time.

    `fault` says why a line is no event, in a few words; "" where it may be one. `issuer`: of a loan
    event, whose loan it says it is.
    """

    number: int
    key: bytes | None
    value: bytes
    tick_at: int | None = None
    command: Command | None = None
    fault: str = ""
    issuer: str = ""


def read_line(number: int, value: bytes) -> Line:
    """Tell what one line is. It may still be refused by the step: only key and ticks are read
    here.
    """
    try:
        record = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return Line(number, None, value, fault=f"is no JSON ({error.msg} at byte {error.pos})")
    if not isinstance(record, dict):
        return Line(number, None, value, fault="is no JSON object")
    applicant = record.get("applicant")
    if isinstance(applicant, str):
        issuer = record.get("issuer") if record.get("type") == "loan" else ""
        return Line(
            number, applicant.encode(), value, issuer=issuer if isinstance(issuer, str) else ""
        )
    at = read_tick(record)
    if at is not None:
        return Line(number, None, value, at)
    told = read_command(record)
    if told is not None:
        return Line(number, None, value, command=told)
    return Line(number, None, value, fault="has no applicant, and is no tick line")


class LineFile:
    """A file of JSON Lines, plain or .gz, or standard input where the path is `-`.

    Iterating gives a `Line` for each line that is not blank. `size_bytes` (0: not known) and
    `read_bytes` count bytes of the file as it stands, compressed or not, and tell the progress.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        self._raw: IO[bytes] | None = None
        if path != STDIN:
            try:
                self.size_bytes = path.stat().st_size
            except OSError as error:
                raise DipperError(f"{path}: {error.strerror}; name a file of JSON Lines") from error

    @property
    def read_bytes(self) -> int:
        """How many bytes have been read so far."""
        return self._raw.tell() if self._raw is not None and self.size_bytes else 0

    def __iter__(self) -> Iterator[Line]:
        if self.path == STDIN:
            yield from self._lines(sys.stdin.buffer)
            return
        try:
            with self.path.open("rb") as raw:
                self._raw = raw
                yield from self._lines(raw)
                self.size_bytes = raw.tell()
        except OSError as error:
            message = f"{self.path}: {error.strerror or error}; name a file of JSON Lines"
            raise DipperError(message) from error
        finally:
            self._raw = None

    def _lines(self, raw: IO[bytes]) -> Iterator[Line]:
        zipped = self.path.suffix == ".gz"
        stream = io.BufferedReader(gzip.GzipFile(fileobj=raw)) if zipped else raw
        number = 0
        try:
            for number, text in enumerate(stream, 1):
                value = text.strip(b" \t\r\n")
                if value:
                    yield read_line(number, value)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DipperError(
                f"{self.path}:{number + 1}: damaged gzip data ({error}); compress it again"
            ) from error
