"""Lists of tokens as CSV: whom, or which device, phone, document or account, a rule may ask for.

Columns: `kind` (applicant, device, phone, id_doc, bank_account), `token` (as it stands in events)
and, where wanted, `expires` (the first day, UTC, on which the entry counts no more, as 2027-03-31;
blank: never) and `note` (for people). An entry counts for a request by the request's own `at`.

A list decides nothing by itself: rules ask it, `request on blocked`, `applicant not on staff`.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.policy.documents import suggestion
from models.policy.errors import fault
from models.policy.sheet import read_records
from models.policy.tokens import TOKENS, hash_texts
from streams.buffers import Array
from streams.compile import i64, kernel
from streams.limits import DAY_MS, ID_BYTES_MAX, TOKEN_BYTES_MAX

NEVER = 2**62  # epoch ms at which an entry without `expires` ends
ENTRIES_MAX = 4_000_000  # of one list: 40 bytes each, twice over in the table
_APPLICANT = TOKENS.index("applicant")
_COLUMNS = ("kind", "token", "expires", "note")
_OPTIONAL = frozenset({"expires", "note"})
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio: lists do not share a run

# A slot of the table of all lists, open addressing; `list` -1: empty.
LISTED = np.dtype(
    [("lo", "u8"), ("hi", "u8"), ("until", "i8"), ("list", "i4"), ("kind", "i4")], align=True
)


class Entry(NamedTuple):
    """One entry: place of its kind in `TOKENS`, its token, when it ends (epoch ms, excluded)."""

    kind: int
    token: bytes
    until: int


def read_list(path: Path, data: bytes) -> tuple[Entry, ...]:
    """Read a list from the bytes of `path`; PolicyError where it is wrong. It may have no entry."""
    needed = "the header kind,token,expires,note"
    header, rows = read_records(path, data, needed, _COLUMNS, _OPTIONAL)
    if len(rows) > ENTRIES_MAX:
        raise fault(path, rows[ENTRIES_MAX].number, "", f"has over {ENTRIES_MAX} entries; split it")
    lines: dict[tuple[int, bytes], int] = {}
    entries = []
    for line, cells in rows:
        row = dict(zip(header.cells, cells, strict=True))
        if row["kind"] not in TOKENS:
            what = f"unknown kind {row['kind'] or 'blank'}; {suggestion(row['kind'], TOKENS)}"
            raise fault(path, line, "kind", what)
        kind, token = TOKENS.index(row["kind"]), row["token"].encode()
        longest = ID_BYTES_MAX if kind == _APPLICANT else TOKEN_BYTES_MAX
        if not 0 < len(token) <= longest:
            what = f"has {len(token)} bytes, 1 to {longest} can stand in an event; correct it"
            raise fault(path, line, "token", what)
        first = lines.setdefault((kind, token), line)
        if first != line:
            raise fault(path, line, "token", f"stands on line {first}, too; remove one")
        entries.append(Entry(kind, token, _until(path, line, row.get("expires", ""))))
    return tuple(entries)


class Lists:
    """The lists of a deployment in order of first use, each file read once."""

    def __init__(self) -> None:
        self.rows: dict[Path, int] = {}
        self.entries: list[tuple[Entry, ...]] = []

    def rows_of(self, files: Mapping[str, Path]) -> dict[str, int]:
        """Return the row of each list; PolicyError where a file is wrong."""
        for path in files.values():
            if path not in self.rows:
                self.entries.append(read_list(path, path.read_bytes()))
                self.rows[path] = len(self.rows)
        return {name: self.rows[path] for name, path in files.items()}


def _until(path: Path, line: int, cell: str) -> int:
    if not cell:
        return NEVER
    try:
        day = dt.date.fromisoformat(cell)
    except ValueError:
        raise fault(path, line, "expires", f"{cell!r} is no day; write it as 2027-03-31") from None
    return (day - dt.date(1970, 1, 1)).days * DAY_MS


@kernel
def _first_slot(lo: np.uint64, list_row: int, slots: int) -> int:
    return i64((lo ^ (np.uint64(list_row) * _SPREAD)) & np.uint64(slots - 1))


@kernel
def _insert(listed: Array, tokens: Array, entries: Array) -> None:
    """Put entries (LISTED without hashes) into the table, each with the hash of its token."""
    for row in range(entries.shape[0]):
        lo = tokens[row]["lo"]
        slot = _first_slot(lo, entries[row]["list"], listed.shape[0])
        while listed[slot]["list"] >= 0:
            slot = (slot + 1) & (listed.shape[0] - 1)
        listed[slot]["lo"] = lo
        listed[slot]["hi"] = tokens[row]["hi"]
        listed[slot]["until"] = entries[row]["until"]
        listed[slot]["list"] = entries[row]["list"]
        listed[slot]["kind"] = entries[row]["kind"]


@kernel
def is_listed(
    listed: Array, list_row: int, kind: int, lo: np.uint64, hi: np.uint64, at: int
) -> bool:
    """Return whether a token of this kind stands on a list and its entry counts at `at`, epoch ms.

    Reads LISTED[power of two, one slot empty].
    """
    slot = _first_slot(lo, list_row, listed.shape[0])
    while listed[slot]["list"] >= 0:
        same = listed[slot]["lo"] == lo and listed[slot]["hi"] == hi
        if same and listed[slot]["list"] == list_row and listed[slot]["kind"] == kind:
            return bool(at < listed[slot]["until"])
        slot = (slot + 1) & (listed.shape[0] - 1)
    return False


def build_listed(lists: Sequence[Sequence[Entry]], key: Array) -> Array:
    """Return the table of all lists, at most half full; no slot where there is no list."""
    if not lists:
        return np.zeros(0, LISTED)
    flat = [(row, entry) for row, entries in enumerate(lists) for entry in entries]
    listed = np.zeros(1 << max(1, (2 * len(flat)).bit_length()), LISTED)
    listed["list"] = -1
    entries = np.array(
        [(0, 0, entry.until, row, entry.kind) for row, entry in flat], LISTED
    ).reshape(-1)
    _insert(listed, hash_texts(key, [entry.token for _, entry in flat]), entries)
    return listed
