"""The two logs that systems are compared on, with the answers that are expected of each.

A log is made of sections: the first is short enough for the slowest system, each further one
reaches further. All systems decide the first section, and must give the same answers on it; each is
also held to what is expected of as much as it read.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import orjson

from streams.bench.digest import Digest
from streams.bench.prepare import make_step, run, signing_key
from streams.bench.traffic import Record
from streams.bench.workload import Cohort, opening
from streams.codec.hashing import partition_of_key
from streams.deployment import Deployment
from streams.topology import OUT_DECISION

THIN_KEYS = 1_000
_THIN_VALUE_MAX = 1_000
_THIN_BLOCK = 100_000


class Share(NamedTuple):
    """The log up to the end of a section: records and expected outputs by partition, their hash."""

    records: list[int]
    outputs: list[int]
    sha256: str


class Log(Protocol):
    """A log that can be made once, in order; `shares` fills while it is made."""

    partitions: int
    shares: list[Share]
    first: list[list[Record]]  # the records of the first section, by partition

    def parts(self) -> Iterator[tuple[int, list[Record]]]:
        """Yield (partition, records that come next there)."""


class ThinLog:
    """Records `{"k":...,"v":...}` with the key as key; expected is a running sum after each.

    `sections` are numbers of records, counted from the start, rising.
    """

    def __init__(self, partitions: int, sections: Sequence[int]) -> None:
        self.partitions = partitions
        self.shares: list[Share] = []
        self.first: list[list[Record]] = [[] for _ in range(partitions)]
        self._sections = sections

    def parts(self) -> Iterator[tuple[int, list[Record]]]:
        """Yield the records of 1,000 keys in even mixture."""
        rng = np.random.default_rng(7)
        names = [f"a{number:03d}" for number in range(THIN_KEYS)]
        keys = [name.encode() for name in names]
        heads = [b'{"k":"%s","v":' % key for key in keys]
        answers = [b'{"k":"%s","sum":' % key for key in keys]
        places = [partition_of_key(key, self.partitions) for key in keys]
        sums, counts, digest = [0] * THIN_KEYS, [0] * self.partitions, Digest()
        done = 0
        for end in self._sections:
            while done < end:
                size = min(_THIN_BLOCK, end - done)
                picks = rng.integers(THIN_KEYS, size=size).tolist()
                values = rng.integers(1, _THIN_VALUE_MAX, size=size).tolist()
                parts: list[list[Record]] = [[] for _ in range(self.partitions)]
                expected = []
                for pick, value in zip(picks, values, strict=True):
                    sums[pick] += value
                    parts[places[pick]].append((keys[pick], b"%s%d}" % (heads[pick], value)))
                    expected.append(b"%s%d}" % (answers[pick], sums[pick]))
                digest.add(expected)
                for partition, records in enumerate(parts):
                    counts[partition] += len(records)
                    if not self.shares:
                        self.first[partition] += records
                    yield partition, records
                done += size
            self.shares.append(Share(list(counts), list(counts), digest.hex))


class FullLog:
    """Cohorts of `streams.bench.workload`; expected is what the step decides, without Kafka.

    `sections` are numbers of cohorts, counted from the start, rising.
    """

    def __init__(self, deployment: Deployment, partitions: int, sections: Sequence[int]) -> None:
        self.partitions = partitions
        self.shares: list[Share] = []
        self.first: list[list[Record]] = [[] for _ in range(partitions)]
        self._deployment = deployment
        self._sections = sections

    def parts(self) -> Iterator[tuple[int, list[Record]]]:
        """Yield grants and a tick, then cohort after cohort."""
        deployment, partitions = self._deployment, self.partitions
        steps = [make_step(deployment, number, partitions) for number in range(partitions)]
        records, outputs, digest = [0] * partitions, [0] * partitions, Digest()
        first = opening(signing_key(deployment), deployment.caps, partitions)
        done = 0
        waiting: list[list[Record]] = [[(None, value) for value in part] for part in first]
        for end in self._sections:
            while done < end:
                cohort = Cohort(done, deployment.platform.decision_key).by_partition(partitions)
                for partition, mine in enumerate(cohort):
                    rows = waiting[partition] + mine
                    found = run(steps[partition], rows, records[partition], OUT_DECISION)
                    records[partition] += len(rows)
                    outputs[partition] += len(found)
                    digest.add(found)
                    if not self.shares:
                        self.first[partition] += rows
                    yield partition, rows
                waiting = [[] for _ in range(partitions)]
                done += 1
            self.shares.append(Share(list(records), list(outputs), digest.hex))


def source_offset(decision: bytes) -> int:
    """Return the offset of the request that a decision answers."""
    return int(orjson.loads(decision)["offset"])
