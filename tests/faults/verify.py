"""Recompute every output record from the log, and compare with what stands, record by record."""

import struct
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from streams.deployment import Deployment
from streams.dump import dump_path, dump_topics
from streams.replay import replay
from streams.topology import OUT_DECISION, STEP_OUTPUTS
from tests.faults.ledger import Ledger

_NULL = 0xFFFFFFFF


class Verdict(NamedTuple):
    """Records of all output topics: how many were recomputed, how many differ from what stands."""

    records: int
    differing: int
    unstable: int  # decisions that the reader saw during the faults and that stand otherwise after


async def recompute(
    bootstrap: str, deployment: Deployment, partitions: int, folder: Path, ledger: Ledger
) -> Verdict:
    """Read all output topics again, replay the log, compare; and hold the reader's view to it."""
    await dump_topics(bootstrap, folder / "live", partitions)
    replay(f"kafka://{bootstrap}", deployment, dump=folder / "again")
    records = wrong = unstable = 0
    for partition in range(partitions):
        for topic in range(len(STEP_OUTPUTS)):
            live = list(_records(dump_path(folder / "live", topic, partition)))
            again = list(_records(dump_path(folder / "again", topic, partition)))
            records += len(again)
            wrong += differing(live, again)
            if topic == OUT_DECISION:
                stands = [_value(record) for record in live]
                saw = [value for _, value in ledger.seen[partition]]
                unstable += differing(stands, saw)
    return Verdict(records, wrong, unstable)


def differing(one: Sequence[bytes], other: Sequence[bytes]) -> int:
    """Return at how many places two sequences do not hold the same."""
    return sum(left != right for left, right in zip_longest(one, other))


def _records(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    at = 0
    while at < len(data):
        begin = at
        at = _behind(data, _behind(data, at))
        (headers,) = struct.unpack_from("<I", data, at)
        at += 4
        for _ in range(2 * headers):
            at = _behind(data, at)
        yield data[begin:at]


def _behind(data: bytes, at: int) -> int:
    (length,) = struct.unpack_from("<I", data, at)
    return at + 4 + (0 if length == _NULL else length)


def _value(record: bytes) -> bytes:
    at = _behind(record, 0)
    return record[at + 4 : _behind(record, at)]
