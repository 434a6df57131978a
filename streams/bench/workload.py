"""The log that systems are measured on side by side: alike from its first cohort to its last.

A cohort is a number of applicants who bring everything along: 20 activities each over 90 days, a
bureau score, every second one a loan of another lender, a line asked for and accepted, then mixed
traffic. Of its events one in ten is a request. So a slow system may be measured on the first
cohorts and a fast one on many: what an event costs does not change on the way, and the decisions on
the first cohorts must be the same bytes for all.
"""

from collections.abc import Iterator

import numpy as np
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streams.bench.traffic import START_MS, Record, Traffic
from streams.buffers import Array
from streams.codec.hashing import partition_of_key, request_key
from streams.control.records import Caps, ControlLog, Position

# The first cohorts are small, for systems that are slow; the others hold as many applicants as keep
# a hot one rare.
SMALL_COHORTS = 40
SMALL_APPLICANTS = 50
APPLICANTS = 2_000
HISTORY = 20
MIXED_PER_APPLICANT = 12
# With the line that each asks for, one event in ten of a cohort is a request.
MIXED_REQUEST_SHARE = 0.225
EVENTS_PER_APPLICANT = HISTORY + 1 + 2 + 1 + 1 + MIXED_PER_APPLICANT


class Population:
    """Applicants `first` to `first + applicants`, with a history and a line each."""

    def __init__(self, applicants: int, first: int = 0, seed: int = 1) -> None:
        self.applicants = applicants
        self._traffic = Traffic(applicants, seed, first)
        self._lines: dict[bytes, bytes] = {}

    def setting(self, decision_key: bytes) -> Iterator[Record]:
        """Yield their history, applications for lines and accepts.

        Decision ids are those of a deployment with that `decision_key`.
        """
        traffic = self._traffic
        key = np.array(np.frombuffer(decision_key, "<u8"), np.uint64)
        yield from traffic.history(HISTORY)
        for applicant, value in traffic.line_requests():
            assert applicant is not None
            request = orjson.loads(value)["id"].encode()
            self._lines[applicant] = _decision_id(key, applicant, request)
            yield applicant, value
        yield from traffic.accepts(self._lines)

    def traffic(self, count: int, request_share: float = 0.1) -> Iterator[Record]:
        """Yield `count` events of mixed traffic; call it after `setting`."""
        return self._traffic.mixed(count, self._lines, request_share)


class Cohort:
    """Cohort `number`, in a deployment whose decision ids are hashed with `decision_key`."""

    def __init__(self, number: int, decision_key: bytes) -> None:
        self._key = decision_key
        small = min(number, SMALL_COHORTS) * SMALL_APPLICANTS
        first = small + max(0, number - SMALL_COHORTS) * APPLICANTS
        self.applicants = SMALL_APPLICANTS if number < SMALL_COHORTS else APPLICANTS
        self._people = Population(self.applicants, first, number + 1)

    def records(self) -> Iterator[Record]:
        """Yield its records in log order, `EVENTS_PER_APPLICANT` of them for each."""
        yield from self._people.setting(self._key)
        count = MIXED_PER_APPLICANT * self.applicants
        yield from self._people.traffic(count, MIXED_REQUEST_SHARE)

    def by_partition(self, partitions: int) -> list[list[Record]]:
        """Return its records by the partition that they belong to."""
        places: dict[bytes, int] = {}
        found: list[list[Record]] = [[] for _ in range(partitions)]
        for key, value in self.records():
            assert key is not None
            place = places.get(key)
            if place is None:
                place = places[key] = partition_of_key(key, partitions)
            found[place].append((key, value))
        return found


def _decision_id(key: Array, applicant: bytes, request: bytes) -> bytes:
    text = np.frombuffer(applicant + request, np.uint8)
    low, high = request_key(key, text, 0, len(applicant), len(applicant), len(request))
    return b"%016x%016x" % (int(high), int(low))


def cohorts_for(events: int) -> int:
    """Return how many of the first cohorts hold at least so many events."""
    small = SMALL_APPLICANTS * EVENTS_PER_APPLICANT
    if events <= SMALL_COHORTS * small:
        return max(1, -(-events // small))
    return SMALL_COHORTS + -(
        -(events - SMALL_COHORTS * small) // (APPLICANTS * EVENTS_PER_APPLICANT)
    )


def opening(key: Ed25519PrivateKey, caps: Caps, partitions: int) -> list[list[bytes]]:
    """Return the control events that each partition begins with: grants, then the first tick."""
    log = ControlLog(key.sign, caps, [Position()] * partitions)
    found: list[list[bytes]] = [[] for _ in range(partitions)]
    for entry in [*log.grants(), *log.ticks(START_MS)]:
        found[entry.partition].append(entry.value)
    return found


def is_request(value: bytes) -> bool:
    """Say whether a record of a cohort asks for a decision."""
    return value.startswith((b'{"type":"drawdown"', b'{"type":"application"'))
