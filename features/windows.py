"""Exact sliding windows: one walk over an applicant's events fills every cell of the catalog.

1. A window `w` at time `t` holds the events with `t - w <= at < t`, in whatever order they came.
2. The walk drops each event into the narrowest cell that holds it, one for each group of kinds.
3. Cells are then merged narrow to wide, so that an event costs the same under one window or seven.

All sums are int64 and exact, squares included, so the order of arrival never shows in a bit.
"""

import math

import numpy as np

from features.tables import (
    CELL_COUNT,
    CELL_DISTINCT,
    CELL_FIRST_AT,
    CELL_HIGH_HIGH,
    CELL_HIGH_LOW,
    CELL_LAST_AT,
    CELL_LOW_LOW,
    CELL_MAX,
    CELL_MIN,
    CELL_SIZE,
    CELL_SUM,
    COUNT,
    DISTINCT,
    FIRST,
    LAST,
    MAX,
    MEAN,
    MIN,
    SEEN_CELL,
    SEEN_COUNTERPARTY,
    SEEN_GENERATION,
    SEEN_SLOTS,
    SUM,
    WINDOWS_A_STEP,
    CatalogTables,
    FeatureScratch,
)
from streams.buffers import Array
from streams.compile import kernel
from streams.limits import DAY_MS

_NAN = math.nan
_INT64_MAX = 2**63 - 1
_WINDOWS_A_STEP = WINDOWS_A_STEP
_KIND_BITS = np.uint64(8)  # of an entry's tag; the rest is its counterparty
_KIND_MASK = np.uint64(0xFF)
_SEEN_SLOTS_MIN = 256  # of few counterparties hardly two meet, and all stay in the first cache
_LIMB_BITS = 24
_LIMB = (1 << _LIMB_BITS) - 1
_HALF_LIMB = 1 << (_LIMB_BITS - 1)
_TWO_24 = float(1 << _LIMB_BITS)
_TWO_72 = float(1 << (3 * _LIMB_BITS))


@kernel
def walk(
    pages: Array,
    entries: Array,
    first_page: int,
    events: int,
    as_of: int,
    catalog: CatalogTables,
    scratch: FeatureScratch,
) -> None:
    """Fill `scratch.cells` from the chain of pages that begins at `first_page` (-1: none).

    Reads PAGE[pages], ENTRY[pages, PAGE_EVENTS]; `events` is how many the chain holds, `as_of` is
    in milliseconds. Pages outside the longest window, or without a kind that a feature takes, are
    skipped.
    """
    # Arrays by themselves: a bundle of them handed on for each event costs more than the event.
    cells, seen = scratch.cells, scratch.seen
    windows, takes, take_start = catalog.windows, catalog.takes, catalog.take_start
    _clear(cells)
    scratch.generation[0] += 1
    generation = scratch.generation[0]
    seen_mask = _SEEN_SLOTS_MIN
    while seen_mask < 2 * events:
        seen_mask *= 2
    assert seen_mask <= SEEN_SLOTS
    seen_mask -= 1
    widest, kind_mask, count_windows = catalog.widest[0], catalog.kind_mask[0], catalog.widest[1]
    walked = 0
    page = first_page
    while page >= 0:
        count = pages[page]["count"]
        walked += count
        assert walked <= events
        if (
            pages[page]["min_at"] < as_of
            and pages[page]["max_at"] >= as_of - widest
            and pages[page]["kinds"] & kind_mask != 0
        ):
            for k in range(count):
                age_ms = as_of - entries[page, k]["at"]
                tag = entries[page, k]["tag"]
                window = np.int64(0)
                for eight in range(0, windows.shape[0], _WINDOWS_A_STEP):
                    for w in range(_WINDOWS_A_STEP):  # no early way out: it would be mispredicted
                        window += age_ms > windows[eight + w]
                if age_ms <= 0 or window == count_windows:
                    continue
                place = np.int64(tag & _KIND_MASK) * count_windows + window
                for i in range(take_start[place], take_start[place + 1]):
                    cell = takes[i]["cell"]
                    amount = entries[page, k]["amount_cents"]
                    _count(cells, cell, amount, as_of - age_ms)
                    if takes[i]["whole"] == 0:
                        continue
                    _count_whole(cells, cell, amount)
                    distinct = takes[i]["distinct"]
                    if distinct >= 0:
                        counterparty = np.int64(tag >> _KIND_BITS)
                        _see(counterparty, distinct, cell, seen_mask, generation, seen, cells)
        page = pages[page]["next"]
    _merge(catalog.wider, cells)


@kernel
def _clear(cells: Array) -> None:
    """Empty every cell: nothing counted, and bounds that the first event replaces."""
    for cell in range(cells.shape[0]):
        for k in range(CELL_SIZE):
            cells[cell, k] = 0
        cells[cell, CELL_MIN] = _INT64_MAX
        cells[cell, CELL_MAX] = -1
        cells[cell, CELL_FIRST_AT] = _INT64_MAX
        cells[cell, CELL_LAST_AT] = -1


@kernel
def _count(cells: Array, cell: int, amount: int, at: int) -> None:
    """Count one event in one cell: what most groups are asked for."""
    cells[cell, CELL_COUNT] += 1
    cells[cell, CELL_SUM] += amount
    cells[cell, CELL_FIRST_AT] = min(cells[cell, CELL_FIRST_AT], at)
    cells[cell, CELL_LAST_AT] = max(cells[cell, CELL_LAST_AT], at)


@kernel
def _count_whole(cells: Array, cell: int, amount: int) -> None:
    """Add bounds and squares of one event's amount to one cell."""
    high = (amount + _HALF_LIMB) >> _LIMB_BITS
    low = amount - (high << _LIMB_BITS)
    cells[cell, CELL_MIN] = min(cells[cell, CELL_MIN], amount)
    cells[cell, CELL_MAX] = max(cells[cell, CELL_MAX], amount)
    cells[cell, CELL_HIGH_HIGH] += high * high
    cells[cell, CELL_HIGH_LOW] += high * low
    cells[cell, CELL_LOW_LOW] += low * low


@kernel
def _see(
    counterparty: np.int64,
    distinct: int,
    cell: int,
    seen_mask: int,
    generation: int,
    seen: Array,
    cells: Array,
) -> None:
    """Count a counterparty (0: none) once for each group, in the narrowest cell it was seen in.

    Open addressing over the first `seen_mask + 1` slots, never more than half full; slots of an
    older generation are empty. The counterparty is a keyed hash already, so its low bits spread it.
    """
    if counterparty == 0:
        return
    slot = counterparty & seen_mask
    while seen[slot, SEEN_GENERATION] == generation:
        if seen[slot, SEEN_COUNTERPARTY] == counterparty:
            break
        slot = (slot + 1) & seen_mask
    if seen[slot, SEEN_GENERATION] != generation:
        seen[slot, SEEN_GENERATION] = generation
        seen[slot, SEEN_COUNTERPARTY] = counterparty
        for k in range(SEEN_CELL, seen.shape[1]):
            seen[slot, k] = -1
    before = seen[slot, SEEN_CELL + distinct]
    if before >= 0 and before <= cell:
        return
    if before >= 0:
        cells[before, CELL_DISTINCT] -= 1
    cells[cell, CELL_DISTINCT] += 1
    seen[slot, SEEN_CELL + distinct] = cell


@kernel
def _merge(wider: Array, cells: Array) -> None:
    """Add each cell to the next wider one of its group; cells of a group stand narrow to wide."""
    for cell in range(wider.shape[0]):
        into = wider[cell]
        if into < 0 or cells[cell, CELL_COUNT] == 0:
            continue
        cells[into, CELL_COUNT] += cells[cell, CELL_COUNT]
        cells[into, CELL_SUM] += cells[cell, CELL_SUM]
        cells[into, CELL_MIN] = min(cells[into, CELL_MIN], cells[cell, CELL_MIN])
        cells[into, CELL_MAX] = max(cells[into, CELL_MAX], cells[cell, CELL_MAX])
        cells[into, CELL_FIRST_AT] = min(cells[into, CELL_FIRST_AT], cells[cell, CELL_FIRST_AT])
        cells[into, CELL_LAST_AT] = max(cells[into, CELL_LAST_AT], cells[cell, CELL_LAST_AT])
        cells[into, CELL_HIGH_HIGH] += cells[cell, CELL_HIGH_HIGH]
        cells[into, CELL_HIGH_LOW] += cells[cell, CELL_HIGH_LOW]
        cells[into, CELL_LOW_LOW] += cells[cell, CELL_LOW_LOW]
        cells[into, CELL_DISTINCT] += cells[cell, CELL_DISTINCT]


@kernel
def read_cells(readings: Array, cells: Array, as_of: int, facts: Array, start: int) -> None:
    """Write one fact for each of READING[...], from `facts[start]` on; NaN is missing."""
    for i in range(readings.shape[0]):
        facts[start + i] = _read(readings[i]["aggregate"], cells, readings[i]["cell"], as_of)


@kernel
def _read(aggregate: int, cells: Array, cell: int, as_of: int) -> float:
    """Return one aggregate of one cell: events, cents, days or counterparties as float64.

    Count, sum and distinct of nothing are 0; the rest is missing. `std` is that of a sample and
    needs two.
    """
    count = cells[cell, CELL_COUNT]
    if aggregate == COUNT:
        return float(count)
    if aggregate == SUM:
        return float(cells[cell, CELL_SUM])
    if aggregate == DISTINCT:
        return float(cells[cell, CELL_DISTINCT])
    if count == 0:
        return _NAN
    if aggregate == MEAN:
        return float(cells[cell, CELL_SUM]) / float(count)
    if aggregate == MIN:
        return float(cells[cell, CELL_MIN])
    if aggregate == MAX:
        return float(cells[cell, CELL_MAX])
    if aggregate == FIRST:
        return float(as_of - cells[cell, CELL_FIRST_AT]) / DAY_MS
    if aggregate == LAST:
        return float(as_of - cells[cell, CELL_LAST_AT]) / DAY_MS
    return _deviation(cells, cell)


@kernel
def _deviation(cells: Array, cell: int) -> float:
    """Return the standard deviation of a sample, `sqrt((n Σx² - (Σx)²) / (n (n - 1)))`.

    The numerator has up to 126 bits; it is formed exactly in limbs of 24 bits, since in float64 it
    would cancel (amounts of 10**12 that differ by single cents).
    """
    n = cells[cell, CELL_COUNT]
    if n < 2:
        return _NAN
    low = cells[cell, CELL_LOW_LOW]
    middle = 2 * cells[cell, CELL_HIGH_LOW] + (low >> _LIMB_BITS)
    high = cells[cell, CELL_HIGH_HIGH] + (middle >> _LIMB_BITS)
    total = cells[cell, CELL_SUM]
    s0 = total & _LIMB
    s1 = (total >> _LIMB_BITS) & _LIMB
    s2 = total >> (2 * _LIMB_BITS)
    d0 = n * (low & _LIMB) - s0 * s0
    d1 = n * (middle & _LIMB) - 2 * s0 * s1 + (d0 >> _LIMB_BITS)
    d2 = n * (high & _LIMB) - 2 * s0 * s2 - s1 * s1 + (d1 >> _LIMB_BITS)
    d3 = n * (high >> _LIMB_BITS) - 2 * s1 * s2 + (d2 >> _LIMB_BITS)
    top = (d3 >> _LIMB_BITS) - s2 * s2
    upper = float((top << _LIMB_BITS) + (d3 & _LIMB)) * _TWO_72
    lower = float(((d2 & _LIMB) << _LIMB_BITS) + (d1 & _LIMB)) * _TWO_24 + float(d0 & _LIMB)
    return math.sqrt((upper + lower) / float(n * (n - 1)))
