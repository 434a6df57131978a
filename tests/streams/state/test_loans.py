"""Loans, their dues, and what the sweep retires, against lists."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.limits import CLOSED_LOAN_MS, IDLE_MS, LATE_MS_MAX, LOAN_DUES_MAX
from streams.schema import LineState, LoanState
from streams.state.applicants import take_applicant
from streams.state.index import find_pair
from streams.state.loans import (
    add_due,
    dues_have_room,
    find_line,
    free_loan,
    settle_dues,
    take_line,
    take_loan,
)
from streams.state.pool import append_event
from streams.state.sweep import sweep
from streams.state.tables import State
from tests.naive.books import Loan
from tests.streams.state.build import chain, free_chain, person_event, small_state, u64

pytestmark = pytest.mark.kernel


def _take(state: State, applicant: int, key: int, institution: int = -1) -> int:
    row = take_loan(
        state.partition, state.applicants, state.loans, state.loan_slots, applicant, u64(key),
        u64(0), institution, 5, 100,
    )  # fmt: skip
    return int(row)


def _free(state: State, row: int) -> None:
    free_loan(state.partition, state.applicants, state.loans, state.loan_slots, state.dues, row)


def _dues(state: State, row: int) -> list[tuple[int, int, int]]:
    found = []
    for due in chain(state.dues, state.loans[row]["first_due"]):
        each = state.dues[due]
        found.append((int(each["due_at"]), int(each["amount_cents"]), int(each["covered_at"])))
    return found


_due = st.tuples(st.just("due"), st.integers(1, 5), st.integers(0, 9))
_paid = st.tuples(st.just("paid"), st.integers(-20, 20), st.just(0))


@given(st.lists(st.one_of(_due, _paid), max_size=30))
def test_dues_are_settled_oldest_first(steps: list[tuple[str, int, int]]) -> None:
    """Dues stand by date, of one date as they came; payments reach the oldest first, a reversal
    takes the cover of the youngest; a due keeps the time at which it was first reached.
    """
    state = small_state()
    state.applicants["first_loan"] = -1
    row, twin = _take(state, 0, 7), Loan(b"", -1, 100, 100, 5)
    for now, (what, first, second) in enumerate(steps, 1):
        if what == "due":
            room = len(twin.dues) < len(state.dues)
            assert dues_have_room(state.partition, state.loans, row) == room
            if not room:
                continue
            add_due(state.partition, state.loans, state.dues, row, first, second)
            twin.add_due(first, second)
        else:
            twin.paid = max(twin.paid + first, 0)
            state.loans[row]["paid_cents"] = twin.paid
        settle_dues(state.loans, state.dues, row, now)
        twin.settle(now)
        assert _dues(state, row) == [(d.due_at, d.amount, d.covered_at) for d in twin.dues]
        assert state.loans[row]["dues"] == len(twin.dues)


def test_a_loan_has_so_many_dues_at_most() -> None:
    """One loan takes LOAN_DUES_MAX instalments, whatever the table could hold."""
    state = small_state(dues=LOAN_DUES_MAX + 8)
    state.applicants["first_loan"] = -1
    row = _take(state, 0, 7)
    for due_at in range(LOAN_DUES_MAX):
        assert dues_have_room(state.partition, state.loans, row)
        add_due(state.partition, state.loans, state.dues, row, due_at, 1)
    assert not dues_have_room(state.partition, state.loans, row)
    assert dues_have_room(state.partition, state.loans, _take(state, 0, 8))


@given(st.lists(st.integers(0, 11), max_size=40))
def test_loans_come_and_go(steps: list[int]) -> None:
    """Each applicant's loans stand newest first; one that is freed leaves its chain, the table and
    its dues, and its row's next loan is of another generation.
    """
    state = small_state()
    state.applicants["first_loan"] = -1
    known: dict[int, int] = {}  # key: row, oldest first
    generations: list[int] = []
    for key in steps:
        if key in known:
            row = known.pop(key)
            _free(state, row)
            assert state.loans[row]["generation"] == -1
        elif len(known) < len(state.loans):
            known[key] = row = _take(state, key % 2, key)
            generations.append(int(state.loans[row]["generation"]))
            if dues_have_room(state.partition, state.loans, row):
                add_due(state.partition, state.loans, state.dues, row, 1, 1)
        for applicant in range(2):
            rows = [row for each, row in known.items() if each % 2 == applicant]
            assert chain(state.loans, state.applicants[applicant]["first_loan"]) == rows[::-1]
        for each in range(12):
            found = find_pair(state.loan_slots, state.loans, u64(each), u64(0))
            assert found == known.get(each, -1)
        free = free_chain(state.loans, state.partition[0]["free_loan"])
        assert sorted([*free, *known.values()]) == list(range(len(state.loans)))
        with_dues = [row for row in known.values() if state.loans[row]["dues"]]
        free_dues = free_chain(state.dues, state.partition[0]["free_due"])
        assert len(free_dues) == len(state.dues) - len(with_dues)
    assert len(set(generations)) == len(generations)


def test_a_line_opens_under_its_offer_s_id() -> None:
    """A line takes over what its offer grants, and its commitment where the offer reserved one."""
    state = small_state()
    state.applicants["first_line"] = -1
    for row, cap in ((2, 1), (3, -1)):
        offer = state.offers[row]
        offer["lo"], offer["hi"], offer["applicant"], offer["cap"] = 10 + row, 20, 4, cap
        offer["institution"], offer["amount_cents"] = 1, 900
        line = take_line(state.partition, state.applicants, state.lines, state.offers, row)
        first = state.applicants[4]["first_line"]
        assert find_line(state.lines, first, u64(10 + row), u64(20)) == line
        assert find_line(state.lines, first, u64(10 + row), u64(21)) == -1
        assert find_line(state.lines, first, u64(20 + row), u64(20)) == -1
        opened = state.lines[line]
        assert opened["limit_cents"] == opened["available_cents"] == 900
        assert opened["committed_cents"] == (900 if cap >= 0 else 0)
    assert chain(state.lines, state.applicants[4]["first_line"]) == [1, 0]


# --- what retires
NOW = 10 * IDLE_MS
WINDOW = 1_000_000
KEPT_LOAN = NOW - CLOSED_LOAN_MS - LATE_MS_MAX


class Person(NamedTuple):
    last_at: int
    activity_at: int | None
    loan: tuple[LoanState, int] | None  # state, closed at
    line: tuple[LineState, int] | None  # state, closed at
    open_offers: int


_people = st.builds(
    Person,
    st.sampled_from([NOW - IDLE_MS - 1, NOW - IDLE_MS, NOW]),
    st.sampled_from([None, NOW - WINDOW - LATE_MS_MAX - 1, NOW - WINDOW - LATE_MS_MAX]),
    st.sampled_from(
        [None, (LoanState.OPEN, 0), (LoanState.WRITTEN_OFF, 1), (LoanState.CLOSED, KEPT_LOAN),
         (LoanState.CLOSED, KEPT_LOAN - 1)]
    ),
    st.sampled_from(
        [None, (LineState.ACTIVE, 0), (LineState.FROZEN, 1), (LineState.CLOSED, KEPT_LOAN),
         (LineState.CLOSED, KEPT_LOAN - 1)]
    ),
    st.integers(0, 1),
)  # fmt: skip


def _settle_in(state: State, number: int, person: Person) -> None:
    data, event = person_event(b"p%d" % number, number)
    row = take_applicant(state.partition, state.applicant_slots, state.applicants, data, event, 0)
    state.applicants[row]["last_at"] = person.last_at
    state.applicants[row]["open_offers"] = person.open_offers
    if person.line is not None:
        offer = state.offers[number]
        offer["lo"], offer["applicant"], offer["cap"], offer["amount_cents"] = number, row, 1, 900
        line = take_line(state.partition, state.applicants, state.lines, state.offers, number)
        state.lines[line]["state"], state.lines[line]["closed_at"] = person.line
    if person.activity_at is not None:
        append_event(
            state.partition, state.applicants, state.pages, state.entries, row,
            person.activity_at, 0, u64(0), 0,
        )  # fmt: skip
    if person.loan is not None:
        loan = _take(state, row, number)
        state.loans[loan]["state"], state.loans[loan]["closed_at"] = person.loan


@given(st.lists(_people, min_size=1, max_size=6), st.integers(1, 8))
def test_the_sweep_retires_what_nobody_looks_at(people: list[Person], rows: int) -> None:
    """Pages go when no window reaches them, closed loans and lines after two years; an applicant
    retires with nothing left and no event for two years. It looks at so many rows at a time.
    """
    state = small_state()
    state.partition[0]["time"] = NOW
    for number, person in enumerate(people):
        _settle_in(state, number, person)
    for _ in range(-(-len(state.applicants) // rows)):
        sweep(state, rows, WINDOW)
    for row, person in enumerate(people):
        keeps_page = person.activity_at == NOW - WINDOW - LATE_MS_MAX
        keeps_loan = person.loan is not None and person.loan != (LoanState.CLOSED, KEPT_LOAN - 1)
        found = find_pair(state.loan_slots, state.loans, u64(row), u64(0)) >= 0
        assert found == keeps_loan
        keeps_line = person.line is not None and person.line != (LineState.CLOSED, KEPT_LOAN - 1)
        holds = keeps_page or keeps_loan or keeps_line or person.open_offers > 0
        stays = holds or person.last_at >= NOW - IDLE_MS
        assert bool(state.applicants[row]["used"]) == stays
        if stays:
            assert (state.applicants[row]["first_page"] >= 0) == keeps_page
            assert (state.applicants[row]["first_line"] >= 0) == keeps_line
    assert (state.applicant_slots["row"] >= 0).sum() == state.applicants["used"].sum()
