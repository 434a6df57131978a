"""Records that no fold may take: the signed skip list of a deployment, `skips.jsonl`.

Where the step fails an assertion on a record, its partition is halted: no worker can go on. Once
the fault is understood, `dipper partition skip` adds the record to this list; live, recovery and
replay then treat it as refused, `skipped`, and its bytes become a dead letter. A line is a record
as control's own, signed by its key: whoever may edit policies cannot make a payment disappear.
"""

from collections.abc import Mapping
from pathlib import Path

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streams.control.keys import load_trusted, verifier
from streams.control.records import signed
from streams.errors import DipperError

SKIPS_FILE = "skips.jsonl"

Skips = Mapping[int, tuple[int, ...]]
"""Offsets to skip in `dipper.events`, in order, by partition."""


def load_skips(folder: Path) -> Skips:
    """Return the skip list of a config folder; `DipperError` with the line that is not signed."""
    path = folder / SKIPS_FILE
    if not path.exists():
        return {}
    verify = verifier(load_trusted(folder))
    found: dict[int, set[int]] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        match _read(line):
            case {"type": "skip", "partition": int(partition), "offset": int(offset)} if verify(
                partition, line, offset
            ):
                found.setdefault(partition, set()).add(offset)
            case _:
                raise DipperError(
                    f"{path}:{number} bears no good signature; take the line out, or write it with "
                    "dipper partition skip"
                )
    return {partition: tuple(sorted(offsets)) for partition, offsets in found.items()}


def add_skip(folder: Path, key: Ed25519PrivateKey, partition: int, offset: int, why: str) -> bool:
    """Add a record to the list, signed; False where it stands there already."""
    if offset in load_skips(folder).get(partition, ()):
        return False
    record = orjson.dumps({"type": "skip", "partition": partition, "offset": offset, "why": why})
    with (folder / SKIPS_FILE).open("ab") as file:
        file.write(signed(record, key.sign) + b"\n")
    return True


def _read(line: bytes) -> object:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
