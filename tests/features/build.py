"""Fill a State with one applicant, row by row and without kernels, for the tests of features."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from features.catalog import Catalog
from features.tables import FeatureScratch, make_scratch
from features.vector import derive
from streams import schema
from streams.buffers import Array
from streams.limits import BLOCK, PAGE_EVENTS, Limits
from streams.state.tables import State, make_state

APPLICANT = 3  # any row but the first, so that a kernel that forgets the row is found out


class Event(NamedTuple):
    """One activity, in the order of the log; counterparty 0 is none."""

    at: int
    amount_cents: int
    kind: str
    counterparty: int


class Due(NamedTuple):
    due_at: int
    amount_cents: int
    covered_at: int  # 0: never


class Loan(NamedTuple):
    disbursed_at: int
    principal_cents: int = 100
    outstanding_cents: int = 0
    closed_at: int = 0
    state: int = int(schema.LoanState.OPEN)
    institution: int = -1
    dues: tuple[Due, ...] = ()


class Line(NamedTuple):
    opened_at: int
    limit_cents: int
    available_cents: int
    state: int = int(schema.LineState.ACTIVE)


class Request(NamedTuple):
    at: int
    amount_cents: int = 1
    tenor_days: int = 30
    drawdown: bool = False


def small_state(events: int = 0) -> State:
    """Return an empty state with room for one applicant and `events` activities."""
    pages = events // PAGE_EVENTS + 8
    size = Limits(
        applicants=8, pages=pages + (pages % 7 == 0), ids=8, lines=8, loans=32, dues=128,
        offers=8, timers=32, expiries_per_tick=8,
    )  # fmt: skip
    state = make_state(size, 1, 0, 1, 1)
    person = state.applicants[APPLICANT]
    for field in ("first_page", "last_page", "first_line", "first_loan"):
        person[field] = -1
    person["used"] = 1
    person["attributes"] = np.nan
    return state


def add_events(state: State, catalog: Catalog, events: Sequence[Event]) -> None:
    """Give the applicant these activities, in this order; it had none."""
    codes = {kind: code for code, kind in enumerate(catalog.kinds)}
    rows = np.zeros(len(events), schema.ENTRY)
    for k, event in enumerate(events):
        tag = event.counterparty << 8 | codes[event.kind]
        rows[k] = (event.at, event.amount_cents, tag)
    fill_pages(state, rows)


def fill_pages(state: State, rows: Array) -> None:
    """Chain ENTRY[...] into the applicant's pages, scattered as a pool in use would have them."""
    person = state.applicants[APPLICANT]
    person["events"], person["first_page"], person["last_page"] = len(rows), -1, -1
    count = -(-len(rows) // PAGE_EVENTS)
    pages = [k * 7 % len(state.pages) for k in range(len(state.pages))][:count]
    assert len(set(pages)) == count, "the number of pages must not be a multiple of 7"
    for k, page in enumerate(pages):
        held = rows[k * PAGE_EVENTS : (k + 1) * PAGE_EVENTS]
        state.entries[page, : len(held)] = held
        kinds = np.bitwise_or.reduce(np.uint64(1) << (held["tag"] & np.uint64(0xFF)))
        following = pages[k + 1] if k + 1 < count else -1
        state.pages[page] = (following, len(held), held["at"].min(), held["at"].max(), kinds)
        person["first_page"], person["last_page"] = pages[0], page


def add_loans(state: State, loans: Sequence[Loan]) -> None:
    """Chain loans, newest in the log first, with their dues by time."""
    person = state.applicants[APPLICANT]
    due_row = 0
    for row, loan in enumerate(loans):
        record = state.loans[row]
        for field in loan._fields[:-1]:
            record[field] = getattr(loan, field)
        record["applicant"] = APPLICANT
        record["first_due"], record["dues"] = -1, len(loan.dues)
        for due in sorted(loan.dues, reverse=True):
            state.dues[due_row] = (*due, record["first_due"])
            record["first_due"] = due_row
            due_row += 1
        record["next"] = person["first_loan"]
        person["first_loan"] = row


def add_lines(state: State, lines: Sequence[Line]) -> None:
    """Chain lines, newest in the log first; line k stands in row k."""
    person = state.applicants[APPLICANT]
    for row, line in enumerate(lines):
        record = state.lines[row]
        for field in line._fields:
            record[field] = getattr(line, field)
        record["applicant"] = APPLICANT
        record["next"] = person["first_line"]
        person["first_line"] = row


def event_rows(request: Request) -> Array:
    """Return EVENT[2] with the request in row 1."""
    rows = np.zeros(2, schema.EVENT)
    row = rows[1]
    row["type"] = schema.EventType.DRAWDOWN if request.drawdown else schema.EventType.APPLICATION
    row["at"], row["amount_cents"] = request.at, request.amount_cents
    row["tenor_days"] = request.tenor_days
    return rows


def derived(
    state: State,
    catalog: Catalog,
    request: Request,
    line: int = -1,
    scratch: FeatureScratch | None = None,
) -> dict[str, float]:
    """Return the vector of the applicant's request by column name."""
    scratch = scratch or make_scratch(catalog.tables)
    vectors = np.full((len(catalog.columns), BLOCK), -7.0)
    column = 5
    derive(state, catalog.tables, scratch, event_rows(request), 1, APPLICANT, line, vectors, column)
    others = np.delete(vectors, column, axis=1)
    assert (others == -7.0).all(), "derive wrote outside its column"
    return {name: float(vectors[c, column]) for name, c in catalog.columns.items()}
