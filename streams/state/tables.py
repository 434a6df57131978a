"""The state of one partition: arrays taken at start, filled in place, never grown."""

from typing import NamedTuple

import numpy as np

from streams import schema
from streams.buffers import Array
from streams.limits import PAGE_EVENTS, Limits


class State(NamedTuple):
    """All that a partition remembers. Layouts in `streams/schema.py`; slot arrays are twice their
    rows.
    """

    partition: Array  # PARTITION[1]
    counters: Array  # int64[streams.counters.SIZE]
    applicants: Array  # APPLICANT[applicants]
    applicant_slots: Array  # SLOT[2 * applicants]
    pages: Array  # PAGE[pages]
    entries: Array  # ENTRY[pages, PAGE_EVENTS]
    ids: Array  # ID[ids], open addressing on its own rows
    lines: Array  # LINE[lines]
    line_slots: Array  # SLOT[2 * lines]
    loans: Array  # LOAN[loans]
    loan_slots: Array  # SLOT[2 * loans]
    dues: Array  # DUE[dues]
    offers: Array  # OFFER[offers]
    offer_slots: Array  # SLOT[2 * offers]
    timers: Array  # TIMER[timers], a heap
    leases: Array  # LEASE[institutions * CAPS], row institution * CAPS + cap


def _slots(rows: int) -> Array:
    slots = np.zeros(2 * rows, schema.SLOT)
    slots["row"] = -1
    return slots


def _chained(rows: int, layout: np.dtype[np.void]) -> Array:
    table = np.zeros(rows, layout)
    table["next"] = np.arange(1, rows + 1)
    table["next"][-1] = -1
    return table


def make_state(size: Limits, institutions: int, number: int, count: int, counters: int) -> State:
    """Take the memory of partition `number` of `count`; every table empty, every free list full."""
    size.check()
    partition = np.zeros(1, schema.PARTITION)
    partition["number"], partition["count"] = number, count
    return State(
        partition,
        np.zeros(counters, np.int64),
        _chained(size.applicants, schema.APPLICANT),
        _slots(size.applicants),
        _chained(size.pages, schema.PAGE),
        np.zeros((size.pages, PAGE_EVENTS), schema.ENTRY),
        np.zeros(size.ids, schema.ID),
        _chained(size.lines, schema.LINE),
        _slots(size.lines),
        _chained(size.loans, schema.LOAN),
        _slots(size.loans),
        _chained(size.dues, schema.DUE),
        _chained(size.offers, schema.OFFER),
        _slots(size.offers),
        np.zeros(size.timers, schema.TIMER),
        np.zeros(max(institutions, 1) * schema.CAPS, schema.LEASE),
    )
