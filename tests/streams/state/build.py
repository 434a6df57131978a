"""Small tables of a partition, and readers of their chains, for the tests of state kernels."""

from typing import Any

import numpy as np

from streams import schema
from streams.buffers import Array
from streams.limits import Limits
from streams.state.tables import State, make_state

SMALL = Limits(
    applicants=8, pages=6, ids=16, lines=8, loans=8, dues=12, offers=8, timers=32,
    expiries_per_tick=8,
)  # fmt: skip


def small_state(**limits: int) -> State:
    """Return empty tables of a few rows."""
    return make_state(SMALL._replace(**limits), 2, 0, 1, 8)


def chain(rows: Array, first: int) -> list[int]:
    """Return the rows of a chain along `next`; fail where it is a circle."""
    found: list[int] = []
    row = int(first)
    while row >= 0:
        found.append(row)
        assert len(found) <= len(rows), "a circle"
        row = int(rows[row]["next"])
    return found


def free_chain(rows: Array, first: int) -> list[int]:
    """Return the free rows from `first` (-1: none) on: the `next` of each says how many are passed
    over, and the last one leads behind the table.
    """
    found: list[int] = []
    row = int(first) if first >= 0 else len(rows)
    while row < len(rows):
        assert row >= 0
        found.append(row)
        assert len(found) <= len(rows), "a circle"
        row += 1 + int(rows[row]["next"])
    assert row == len(rows)
    return found


def person_event(name: bytes, hash: int) -> tuple[Array, Array]:
    """Return the bytes of a batch and EVENT[1] of an applicant."""
    data = np.frombuffer(b"--" + name + b"--", np.uint8).copy()
    event = np.zeros(1, schema.EVENT)
    event["applicant_start"], event["applicant_len"] = 2, len(name)
    event["applicant_hash"] = hash
    return data, event


def u64(value: int) -> Any:
    """Return an unsigned 64-bit integer, as keys of tables are."""
    return np.uint64(value)
