"""Ask for the memory of the rows to come, so that it is there when their turn comes.

State is far larger than any cache, and a request touches some thirty lines of it in chains: slot,
applicant, page, event. One at a time each would be waited for. Here row `r + 12` has its slots
asked for, row `r + 8` its applicant, which those slots name, row `r + 4` its pages, lines and
loans, row `r + 2` its dues. Nothing but hints is done, and a guess may be wrong: no answer depends
on it.
"""

import numpy as np

from streams.buffers import Array, Batch
from streams.compile import i64, kernel
from streams.intrinsics import prefetch
from streams.limits import PAGE_EVENTS
from streams.schema import APPLICANT, ENTRY, LINE, LOAN, EventType, Refusal
from streams.state.tables import State

SLOTS_AHEAD, ROWS_AHEAD, PAGES_AHEAD, DUES_AHEAD = 12, 8, 4, 2
RING = 16  # guesses kept: more rows than are ever ahead, a power of two
assert RING > SLOTS_AHEAD

_NONE = int(Refusal.NONE)
_DRAWDOWN = int(EventType.DRAWDOWN)
_ACTIVITY = int(EventType.ACTIVITY)
_TICK = int(EventType.TICK)
_LINE_BYTES = 64  # of a cache
_APPLICANT_BYTES = APPLICANT.itemsize
_RECENT_START = APPLICANT.fields["recent_ids"][1]  # type: ignore[index]  # it has fields
_RECENT_STOP = APPLICANT.fields["attributes"][1]  # type: ignore[index]  # it has fields
assert _RECENT_STOP > _RECENT_START
_LINE_ROW_LAST, _LOAN_ROW_LAST = LINE.itemsize - 1, LOAN.itemsize - 1
_PAGE_BYTES = PAGE_EVENTS * ENTRY.itemsize


@kernel
def _home(slots: Array, key: int) -> int:
    """Return where a key's search begins in a table of a power of two places."""
    return i64(key & np.uint64(slots.shape[0] - 1))


@kernel
def _ask_for_slots(state: State, events: Array, i: int) -> None:
    """Ask for the slots that event `i` will look at."""
    slots = state.applicant_slots
    prefetch(slots, _home(slots, events[i]["applicant_hash"]), 0)
    if events[i]["type"] > _DRAWDOWN:
        return
    key = events[i]["key_lo"]
    prefetch(state.ids, _home(state.ids, key), 0)
    prefetch(state.offer_slots, _home(state.offer_slots, key), 0)


@kernel
def _ask_for_rows(state: State, guesses: Array, events: Array, i: int) -> None:
    """Guess the applicant of event `i` from its slot, and ask for the row: a request does not look
    at recent ids.
    """
    slots = state.applicant_slots
    slot = _home(slots, events[i]["applicant_hash"])
    applicant = i64(slots[slot]["row"])
    guesses[i & (RING - 1)] = applicant
    if applicant < 0:
        return
    from_byte = 0
    if events[i]["type"] <= _DRAWDOWN:
        for byte in range(0, _RECENT_START, _LINE_BYTES):
            prefetch(state.applicants, applicant, byte)
        from_byte = _RECENT_STOP
    for byte in range(from_byte, _APPLICANT_BYTES, _LINE_BYTES):
        prefetch(state.applicants, applicant, byte)
    prefetch(state.applicants, applicant, _APPLICANT_BYTES - 1)  # rows are no whole cache lines


@kernel
def _ask_for_pages(state: State, guesses: Array, events: Array, i: int) -> None:
    """Ask for first and last page of the applicant of event `i`, and its first line and loan."""
    applicant = guesses[i & (RING - 1)]
    if applicant < 0:
        return
    last = i64(state.applicants[applicant]["last_page"])
    if last >= 0:
        prefetch(state.pages, last, 0)
        for byte in range(0, _PAGE_BYTES, _LINE_BYTES):
            prefetch(state.entries, last, byte)
    if events[i]["type"] > _DRAWDOWN:
        return
    first = i64(state.applicants[applicant]["first_page"])
    if first >= 0 and first != last:
        prefetch(state.pages, first, 0)
        for byte in range(0, _PAGE_BYTES, _LINE_BYTES):
            prefetch(state.entries, first, byte)
    loan = i64(state.applicants[applicant]["first_loan"])
    if loan >= 0:
        prefetch(state.loans, loan, 0)
        prefetch(state.loans, loan, _LOAN_ROW_LAST)
    line = i64(state.applicants[applicant]["first_line"])
    if line >= 0:
        prefetch(state.lines, line, 0)
        prefetch(state.lines, line, _LINE_ROW_LAST)


@kernel
def _ask_for_dues(state: State, guesses: Array, i: int) -> None:
    """Ask for the first due of the first loan of the applicant of event `i`."""
    applicant = guesses[i & (RING - 1)]
    if applicant >= 0:
        loan = i64(state.applicants[applicant]["first_loan"])
        if loan >= 0:
            prefetch(state.dues, i64(state.loans[loan]["first_due"]), 0)


@kernel
def look_ahead(state: State, guesses: Array, batch: Batch, row: int, last: int) -> None:
    """Ask for what the rows behind `row`, up to `last` - 1, will touch; writes `guesses[RING]`.

    Called for each row in turn; the first rows of a batch go without.
    """
    events = batch.events
    i = row + SLOTS_AHEAD
    if i < last and events[i]["refusal"] == _NONE and events[i]["type"] < _TICK:
        _ask_for_slots(state, events, i)
    i = row + ROWS_AHEAD
    if i < last:
        guesses[i & (RING - 1)] = -1
        if events[i]["refusal"] == _NONE and events[i]["type"] < _TICK:
            _ask_for_rows(state, guesses, events, i)
    i = row + PAGES_AHEAD
    if i < last and events[i]["type"] <= _ACTIVITY:
        _ask_for_pages(state, guesses, events, i)
    i = row + DUES_AHEAD
    if i < last and events[i]["type"] <= _DRAWDOWN:
        _ask_for_dues(state, guesses, i)
