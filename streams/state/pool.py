"""The event pool: each applicant's recent activity as a chain of pages from one preallocated pool.

Nothing is summed up here: windows are computed from the events themselves, so they are exact at any
time asked.
"""

import numpy as np

from streams.buffers import Array
from streams.compile import i64, kernel
from streams.limits import APPLICANT_EVENTS_MAX, PAGE_EVENTS
from streams.state.free import chain_free, free_after


@kernel
def free_page(partition: Array, pages: Array, page: int) -> None:
    """Give one page back to the pool."""
    pages[page]["count"] = 0
    chain_free(pages["next"], page, partition[0]["free_page"])
    partition[0]["free_page"] = page
    partition[0]["pages_used"] -= 1


@kernel
def event_has_room(partition: Array, applicants: Array, pages: Array, row: int) -> bool:
    """Say whether one more activity of the applicant fits; `row` -1: it has none yet."""
    if partition[0]["free_page"] >= 0:
        return True
    if row < 0 or applicants[row]["last_page"] < 0:
        return False
    return bool(pages[applicants[row]["last_page"]]["count"] < PAGE_EVENTS)


@kernel
def append_event(
    partition: Array,
    applicants: Array,
    pages: Array,
    entries: Array,
    row: int,
    at: int,
    amount_cents: int,
    counterparty: int,
    kind: int,
) -> None:
    """Append one activity to the applicant's chain. The caller knows that there is room.

    Beyond APPLICANT_EVENTS_MAX the oldest page, in order of arrival, is dropped and `truncated`
    says so.
    """
    last = i64(applicants[row]["last_page"])
    if last < 0 or pages[last]["count"] == PAGE_EVENTS:
        page = i64(partition[0]["free_page"])
        assert page >= 0
        partition[0]["free_page"] = free_after(pages["next"], page)
        partition[0]["pages_used"] += 1
        pages[page]["next"] = -1
        pages[page]["count"] = 0
        pages[page]["kinds"] = np.uint64(0)
        pages[page]["min_at"] = at
        pages[page]["max_at"] = at
        if last < 0:
            applicants[row]["first_page"] = page
        else:
            pages[last]["next"] = page
        applicants[row]["last_page"] = page
        last = page
    k = pages[last]["count"]
    entries[last, k]["at"] = at
    entries[last, k]["amount_cents"] = amount_cents
    entries[last, k]["tag"] = (np.uint64(counterparty) << np.uint64(8)) | np.uint64(kind)
    pages[last]["count"] = k + 1
    pages[last]["min_at"] = min(pages[last]["min_at"], at)
    pages[last]["max_at"] = max(pages[last]["max_at"], at)
    pages[last]["kinds"] |= np.uint64(1) << np.uint64(kind)
    applicants[row]["events"] += 1
    if applicants[row]["events"] > APPLICANT_EVENTS_MAX:
        first = i64(applicants[row]["first_page"])
        applicants[row]["first_page"] = pages[first]["next"]
        applicants[row]["events"] -= pages[first]["count"]
        applicants[row]["truncated"] = 1
        free_page(partition, pages, first)


@kernel
def drop_old_pages(
    partition: Array, applicants: Array, pages: Array, row: int, horizon: int
) -> None:
    """Give back each page of the applicant whose latest event lies before `horizon`."""
    before = i64(-1)
    page = i64(applicants[row]["first_page"])
    while page >= 0:
        after = i64(pages[page]["next"])
        if pages[page]["max_at"] < horizon:
            applicants[row]["events"] -= pages[page]["count"]
            if before < 0:
                applicants[row]["first_page"] = after
            else:
                pages[before]["next"] = after
            if after < 0:
                applicants[row]["last_page"] = before
            free_page(partition, pages, page)
        else:
            before = page
        page = after
