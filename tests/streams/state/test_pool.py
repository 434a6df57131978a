"""The event pool against lists: pages, what drops, what comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.limits import APPLICANT_EVENTS_MAX, PAGE_EVENTS
from streams.state.pool import append_event, drop_old_pages, event_has_room
from streams.state.tables import State
from tests.streams.state.build import chain, free_chain, small_state, u64

pytestmark = pytest.mark.kernel

PEOPLE = 2
Entry = tuple[int, int, int, int]  # at, amount, counterparty, kind
_entries = st.tuples(
    st.integers(1, 20), st.integers(0, 10**14), st.sampled_from([0, 1, 2**56 - 1]),
    st.sampled_from([0, 3, 63]),
)  # fmt: skip
_append = st.tuples(st.integers(0, PEOPLE - 1), st.lists(_entries, min_size=1, max_size=40))
_drop = st.tuples(st.integers(0, PEOPLE - 1), st.integers(0, 21))


def _append_all(state: State, person: int, entry: Entry) -> None:
    at, amount, counterparty, kind = entry
    append_event(
        state.partition, state.applicants, state.pages, state.entries, person, at, amount,
        u64(counterparty), kind,
    )  # fmt: skip


def _pages_of(state: State, person: int) -> list[list[Entry]]:
    """Return the applicant's pages, and hold what each says of itself."""
    found = []
    for page in chain(state.pages, state.applicants[person]["first_page"]):
        head, rows = state.pages[page], state.entries[page]
        entries = []
        for row in rows[: int(head["count"])]:
            tag = int(row["tag"])
            entries.append((int(row["at"]), int(row["amount_cents"]), tag >> 8, tag & 0xFF))
        assert head["min_at"] == min(entry[0] for entry in entries)
        assert head["max_at"] == max(entry[0] for entry in entries)
        assert int(head["kinds"]) == sum(1 << kind for kind in {entry[3] for entry in entries})
        found.append(entries)
    return found


@given(st.lists(st.one_of(_append, _drop), max_size=20))
def test_the_pool_is_lists_of_pages(steps: list[tuple[int, list[Entry] | int]]) -> None:
    """Each applicant's entries stand in order of arrival; a page goes when its last event is too
    old; pages that nobody has are free; without a free page only a page begun takes more.
    """
    state = small_state()
    for field in ("first_page", "last_page"):
        state.applicants[field] = -1
    held: list[list[list[Entry]]] = [[] for _ in range(PEOPLE)]
    total = len(state.pages)
    for person, what in steps:
        pages = held[person]
        if isinstance(what, int):
            drop_old_pages(state.partition, state.applicants, state.pages, person, what)
            held[person] = [page for page in pages if max(entry[0] for entry in page) >= what]
        else:
            for entry in what:
                begun = bool(pages) and len(pages[-1]) < PAGE_EVENTS
                room = begun or sum(map(len, held)) < total
                found = event_has_room(state.partition, state.applicants, state.pages, person)
                assert found == room
                if room:
                    _append_all(state, person, entry)
                    pages.append([entry]) if not begun else pages[-1].append(entry)
        for each in range(PEOPLE):
            assert _pages_of(state, each) == held[each]
            row = state.applicants[each]
            assert row["events"] == sum(map(len, held[each]))
            used = chain(state.pages, row["first_page"])
            assert row["last_page"] == (used[-1] if used else -1)
        free = free_chain(state.pages, state.partition[0]["free_page"])
        assert len(free) == total - sum(map(len, held))
    newcomer = event_has_room(state.partition, state.applicants, state.pages, -1)
    assert newcomer == (sum(map(len, held)) < total)


def test_beyond_the_most_events_the_oldest_page_drops() -> None:
    """A history of more than 65,536 events loses its oldest page, and says so."""
    state = small_state(pages=APPLICANT_EVENTS_MAX // PAGE_EVENTS + 2)
    state.applicants["first_page"] = state.applicants["last_page"] = -1
    for at in range(1, APPLICANT_EVENTS_MAX + 1):
        _append_all(state, 0, (at, 0, 0, 0))
    assert state.applicants[0]["events"] == APPLICANT_EVENTS_MAX
    assert state.applicants[0]["truncated"] == 0
    _append_all(state, 0, (1, 0, 0, 0))
    assert state.applicants[0]["events"] == APPLICANT_EVENTS_MAX + 1 - PAGE_EVENTS
    assert state.applicants[0]["truncated"] == 1
    assert state.pages[state.applicants[0]["first_page"]]["min_at"] == PAGE_EVENTS + 1
