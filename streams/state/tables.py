"""The state of one partition: arrays taken at start, filled in place, never grown."""

from typing import NamedTuple

import numpy as np

from streams import schema
from streams.buffers import Array
from streams.limits import PAGE_EVENTS, VERSIONS_MAX, Limits
from streams.state.segments import SEGMENT

_LINE_BYTES = 64  # of a cache


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
    lines: Array  # LINE[lines], found by their applicant
    loans: Array  # LOAN[loans]
    loan_slots: Array  # SLOT[2 * loans]
    dues: Array  # DUE[dues]
    offers: Array  # OFFER[offers]
    offer_slots: Array  # SLOT[2 * offers]
    timers: Array  # TIMER[timers], a heap
    leases: Array  # LEASE[institutions * CAPS], row institution * CAPS + cap
    institutions: Array  # INSTITUTION[institutions]
    versions: Array  # VERSION[VERSIONS_MAX]
    segments: Array  # SEGMENT[caps by day and segment], by institution


def empty_rows(layout: np.dtype[np.void], rows: int) -> Array:
    """Return so many rows of an empty table: slots without a row, or zeros, which are free rows
    chained in order (`streams/state/free.py`). A snapshot leaves out what is still so.
    """
    part = np.zeros(rows, layout)
    _mark_empty(part)
    return part


def _mark_empty(part: Array) -> None:
    """Make zeros an empty part of a table."""
    if "row" in (part.dtype.names or ()):
        part["row"] = -1


def _zeros(rows: int, layout: np.dtype[np.void]) -> Array:
    """Return zeros that begin with a cache line: a row then lies on as few of them as it can."""
    size = rows * layout.itemsize
    memory = np.zeros(size + _LINE_BYTES, np.uint8)
    start = -memory.ctypes.data % _LINE_BYTES
    return memory[start : start + size].view(layout)


def _empty(rows: int, layout: np.dtype[np.void]) -> Array:
    table = _zeros(rows, layout)
    _mark_empty(table)
    return table


def make_state(
    size: Limits, institutions: int, number: int, count: int, counters: int, segments: int = 0
) -> State:
    """Take the memory of partition `number` of `count`; every table empty, every free list full."""
    size.check()
    partition = np.zeros(1, schema.PARTITION)
    partition["number"], partition["count"] = number, count
    partition["next_version"] = 1
    return State(
        partition,
        np.zeros(counters, np.int64),
        _empty(size.applicants, schema.APPLICANT),
        _empty(2 * size.applicants, schema.SLOT),
        _empty(size.pages, schema.PAGE),
        _zeros(size.pages * PAGE_EVENTS, schema.ENTRY).reshape(size.pages, PAGE_EVENTS),
        _zeros(size.ids, schema.ID),
        _empty(size.lines, schema.LINE),
        _empty(size.loans, schema.LOAN),
        _empty(2 * size.loans, schema.SLOT),
        _empty(size.dues, schema.DUE),
        _empty(size.offers, schema.OFFER),
        _empty(2 * size.offers, schema.SLOT),
        np.zeros(size.timers, schema.TIMER),
        np.zeros(max(institutions, 1) * schema.CAPS, schema.LEASE),
        np.zeros(max(institutions, 1), schema.INSTITUTION),
        np.zeros(VERSIONS_MAX, schema.VERSION),
        np.zeros(max(segments, 1), SEGMENT),
    )
