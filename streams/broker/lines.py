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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

import orjson

from streams.blocks import PAD_BYTES
from streams.clock import read_tick
from streams.control.records import Command, read_command
from streams.errors import DipperError

STDIN = Path("-")
PIECE_BYTES = 1024 * 1024
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error)

_Read = TypeVar("_Read")


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
        issuer = record.get("issuer") if record.get("type") in ("loan", "line") else ""
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
        return self._read(self._lines)

    def pieces(self) -> Iterator[bytearray]:
        """Yield the bytes of the file in pieces that end where a line ends, each in memory of its
        own with `PAD_BYTES` behind; blank lines too.
        """
        return self._read(self._pieces)

    def _read(self, read: Callable[[IO[bytes]], Iterator[_Read]]) -> Iterator[_Read]:
        if self.path == STDIN:
            yield from read(sys.stdin.buffer)
            return
        try:
            with self.path.open("rb") as raw:
                self._raw = raw
                yield from read(raw)
                self.size_bytes = raw.tell()
        except OSError as error:
            message = f"{self.path}: {error.strerror or error}; name a file of JSON Lines"
            raise DipperError(message) from error
        finally:
            self._raw = None

    def _lines(self, raw: IO[bytes]) -> Iterator[Line]:
        number = 0
        try:
            for number, text in enumerate(self._stream(raw), 1):
                value = text.strip(b" \t\r\n")
                if value:
                    yield read_line(number, value)
        except _DAMAGED as error:
            raise self._damaged(number + 1, error) from error

    def _pieces(self, raw: IO[bytes]) -> Iterator[bytearray]:
        stream, rest, lines = self._stream(raw), b"", 0
        try:
            while True:
                # A line longer than a piece makes the next one larger, so no byte is moved often.
                memory = bytearray(2 * len(rest) + PIECE_BYTES)
                memory[: len(rest)] = rest
                end = _fill(stream, memory, len(rest))
                if end == len(rest):
                    break
                cut = memory.rfind(b"\n", 0, end) + 1
                rest = bytes(memory[cut:end])
                if cut:
                    if stream is not raw:
                        lines += memory.count(b"\n", 0, cut)  # only damage asks for it
                    memory[cut:] = bytes(PAD_BYTES)
                    yield memory
        except _DAMAGED as error:
            raise self._damaged(lines + 1, error) from error
        if rest:
            yield bytearray(rest + bytes(PAD_BYTES))

    def _stream(self, raw: IO[bytes]) -> IO[bytes]:
        if self.path.suffix != ".gz":
            return raw
        return io.BufferedReader(gzip.GzipFile(fileobj=raw), PIECE_BYTES)

    def _damaged(self, number: int, error: Exception) -> DipperError:
        return DipperError(f"{self.path}:{number}: damaged gzip data ({error}); compress it again")


def _fill(stream: IO[bytes], memory: bytearray, start: int) -> int:
    """Read into `memory` from `start` on until it is full or nothing comes; return the end."""
    with memoryview(memory) as view:
        while start < len(memory):
            count = stream.readinto(view[start:])  # type: ignore[attr-defined]
            if not count:
                break
            start += count
    return start
