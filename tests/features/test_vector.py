"""`derive` against its naive twin, on generated states and on the edges of time."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.catalog import KINDS, Catalog, load_catalog
from features.tables import FeatureScratch, make_scratch
from streams.limits import AMOUNT_CENTS_MAX, APPLICANT_EVENTS_MAX, DAY_MS, PAGE_EVENTS
from streams.schema import LineState, LoanState
from streams.state.tables import State
from tests.features import naive
from tests.features.build import (
    APPLICANT,
    Due,
    Event,
    Line,
    Loan,
    Request,
    add_events,
    add_lines,
    add_loans,
    derived,
    small_state,
)
from tests.sizes import sized

pytestmark = pytest.mark.kernel

AS_OF = 20_000 * DAY_MS + 7 * 3_600_000 + 123
CATALOG = load_catalog(None)
SCRATCH = make_scratch(CATALOG.tables)
WINDOWS = sorted({feature.window_ms for feature in CATALOG.features if feature.window_ms})
KEEPS_SCRATCH = settings(max_examples=sized(60), suppress_health_check=[HealthCheck.too_slow])


@dataclass
class World:
    """All that a vector depends on."""

    request: Request = field(default_factory=lambda: Request(AS_OF))
    events: list[Event] = field(default_factory=list)
    loans: list[Loan] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    own_line: int = -1
    attributes: dict[str, float] = field(default_factory=dict)
    signals: dict[str, tuple[float, int]] = field(default_factory=dict)

    def state(self, catalog: Catalog) -> State:
        state = small_state(len(self.events))
        add_events(state, catalog, self.events)
        add_loans(state, self.loans)
        add_lines(state, self.lines)
        person = state.applicants[APPLICANT]
        person["open_offers"], person["reserved_cents"], person["truncated"] = 2, 70, 1
        for k, attribute in enumerate(catalog.attributes):
            person["attributes"][k] = self.attributes.get(attribute.name, math.nan)
        for k, signal in enumerate(catalog.signals):
            value, at = self.signals.get(signal.column, (0.0, 0))
            person["signal_value"][k], person["signal_at"][k] = value, at
        return state

    def check(self, catalog: Catalog = CATALOG, scratch: FeatureScratch = SCRATCH) -> None:
        """Derive, and compare each column with the twin: equal, the deviation within rounding."""
        got = derived(self.state(catalog), catalog, self.request, self.own_line, scratch)
        wanted = naive.vector(
            catalog,
            self.request,
            self.events,
            self.loans,
            self.lines,
            self.lines[self.own_line] if self.own_line >= 0 else None,
            self.attributes,
            self.signals,
        )
        for feature in catalog.features:
            name = feature.name
            if feature.aggregate == "std":
                assert got[name] == pytest.approx(wanted[name], rel=1e-14, nan_ok=True), name
            else:
                assert np.array_equal(got[name], wanted[name], equal_nan=True), (
                    name,
                    got[name],
                    wanted[name],
                )


# Times that sit on the edges of windows, beside them, at the request and after it.
_edges = st.builds(
    lambda window, step: AS_OF - window + step,
    st.sampled_from([0, *WINDOWS]),
    st.sampled_from([-1, 0, 1]),
)
_times = st.one_of(_edges, st.integers(AS_OF - 400 * DAY_MS, AS_OF + DAY_MS))
_amounts = st.one_of(
    st.integers(0, 1_000),
    st.integers(0, AMOUNT_CENTS_MAX),
    st.integers(AMOUNT_CENTS_MAX - 3, AMOUNT_CENTS_MAX),
)
_events = st.lists(
    st.builds(
        Event,
        _times,
        _amounts,
        st.sampled_from(["order", "invoice_out", *KINDS]),
        # Few, any, and some whose low bits, and so their first slots, are the same.
        st.one_of(
            st.integers(0, 5),
            st.integers(0, 2**56 - 1),
            st.integers(1, 5).map(lambda high: high << 40),
        ),
    ),
    max_size=5 * PAGE_EVENTS,
)
_dues = st.builds(
    Due,
    st.integers(AS_OF - 200 * DAY_MS, AS_OF + 40 * DAY_MS),
    st.integers(0, 10**9),
    st.one_of(st.just(0), st.just(AS_OF), st.integers(AS_OF - 200 * DAY_MS, AS_OF + DAY_MS)),
)


@st.composite
def _loans(draw: st.DrawFn) -> list[Loan]:
    loans = []
    for k in range(draw(st.integers(0, 6))):
        state = draw(st.sampled_from([LoanState.OPEN, LoanState.CLOSED, LoanState.WRITTEN_OFF]))
        closed_at = 0
        if state != LoanState.OPEN:
            closed_at = AS_OF + draw(st.sampled_from([-90 * DAY_MS, -5, -1, 0, 1]))
        dues = draw(st.lists(_dues, max_size=4, unique_by=lambda due: due.due_at))
        loans.append(
            Loan(
                # Times are distinct, so that "the latest loan" is one loan.
                AS_OF - draw(st.integers(-5, 300)) * DAY_MS - k,
                draw(st.integers(0, 10**12)),
                draw(st.integers(0, 10**12)),
                closed_at,
                int(state),
                draw(st.integers(-1, 2)),
                tuple(dues),
            )
        )
    return loans


_lines = st.lists(
    st.builds(
        Line,
        st.integers(AS_OF - 90 * DAY_MS, AS_OF + 2),
        st.integers(0, 10**9),
        st.integers(0, 10**9),
        st.sampled_from([int(LineState.ACTIVE), int(LineState.FROZEN), int(LineState.CLOSED)]),
    ),
    max_size=4,
)
_signals = st.dictionaries(
    st.sampled_from([signal.column for signal in CATALOG.signals]),
    st.tuples(
        st.floats(-1e6, 1e6),
        st.builds(
            lambda days, step: AS_OF - days * DAY_MS + step,
            st.sampled_from([0, 1, 30, 90, 180, 400]),
            st.sampled_from([-1, 0, 1]),
        ),
    ),
)


@KEEPS_SCRATCH
@given(_events)
def test_windows_equal_the_twin(events: list[Event]) -> None:
    """Every window feature is exact, whatever the order of arrival and however close to an edge."""
    World(events=events).check()


@KEEPS_SCRATCH
@given(_loans())
def test_loans_equal_the_twin(loans: list[Loan]) -> None:
    """Loans count as they stood at the request's time; days past due follow from dues and that
    time.
    """
    ties = {due.due_at for loan in loans for due in loan.dues}
    if len(ties) == sum(len(loan.dues) for loan in loans):
        World(loans=loans).check()


@KEEPS_SCRATCH
@given(
    _lines,
    _signals,
    st.dictionaries(
        st.sampled_from([attribute.name for attribute in CATALOG.attributes]),
        st.one_of(st.just(0.0), st.floats(-1e12, 1e12)),
    ),
    st.builds(
        Request,
        st.integers(AS_OF - 2, AS_OF + 8 * DAY_MS),
        st.integers(0, AMOUNT_CENTS_MAX),
        st.integers(1, 36_500),
        st.booleans(),
    ),
    st.data(),
)
def test_lines_signals_attributes_and_request_equal_the_twin(
    lines: list[Line],
    signals: dict[str, tuple[float, int]],
    attributes: dict[str, float],
    request: Request,
    data: st.DataObject,
) -> None:
    """Facts that need no history: lines, the line drawn on, signals with age, attributes, the
    clock.
    """
    own = data.draw(st.integers(-1, len(lines) - 1))
    World(request, [], [], lines, own, attributes, signals).check()


@KEEPS_SCRATCH
@given(_events, st.lists(st.integers(0, 90 * DAY_MS), max_size=40), st.randoms())
def test_what_is_dated_at_the_request_or_later_never_counts(
    events: list[Event], later: list[int], random: Random
) -> None:
    """Events at or after the request's time, wherever they stand in the log, leave the vector as it
    is.
    """
    before = [event for event in events if event.at < AS_OF]
    mixed = before + [Event(AS_OF + ahead, 5, "order", 9) for ahead in later]
    random.shuffle(mixed)
    alone = derived(World(events=before).state(CATALOG), CATALOG, Request(AS_OF), -1, SCRATCH)
    among = derived(World(events=mixed).state(CATALOG), CATALOG, Request(AS_OF), -1, SCRATCH)
    assert np.array_equal(list(alone.values()), list(among.values()), equal_nan=True)


def test_due_and_closing_at_the_request_have_not_happened() -> None:
    """A payment, a close or a due dated exactly at the request's time is not known yet."""
    due = Due(AS_OF - 10 * DAY_MS, 500, 0)
    open_loan = Loan(AS_OF - 60 * DAY_MS, dues=(due, Due(AS_OF, 500, 0)))
    settled = open_loan._replace(
        closed_at=AS_OF, state=int(LoanState.CLOSED), dues=(due._replace(covered_at=AS_OF),)
    )
    for loan in (open_loan, settled):
        got = derived(World(loans=[loan]).state(CATALOG), CATALOG, Request(AS_OF), -1, SCRATCH)
        assert (got["current_dpd_days"], got["overdue_cents"], got["loans_open"]) == (10, 500, 1)


def test_a_due_covered_as_its_loan_closes_was_met() -> None:
    """A last payment that bears the time of the close counts, also where it came before its due."""
    paid_at = AS_OF - 20 * DAY_MS
    loan = Loan(
        AS_OF - 60 * DAY_MS,
        closed_at=paid_at,
        state=int(LoanState.CLOSED),
        dues=(Due(paid_at + 5 * DAY_MS, 500, paid_at),),
    )
    got = derived(World(loans=[loan]).state(CATALOG), CATALOG, Request(AS_OF), -1, SCRATCH)
    assert (got["dues_days_late_mean"], got["last_due_days_late"]) == (-5, -5)
    assert (got["dues_late_share"], got["loans_closed_on_time"]) == (0, 1)


def test_days_past_due_are_whole_days() -> None:
    """A due is not late before a whole day has passed, and a day later it is one day late."""
    for late_ms, days in ((1, 0), (DAY_MS - 1, 0), (DAY_MS, 1), (2 * DAY_MS - 1, 1)):
        loan = Loan(AS_OF - 60 * DAY_MS, dues=(Due(AS_OF - late_ms, 500, 0),))
        got = derived(World(loans=[loan]).state(CATALOG), CATALOG, Request(AS_OF), -1, SCRATCH)
        assert (got["worst_dpd_days"], got["dues_late_share"]) == (days, float(days > 0))


def test_nothing_known_is_missing_not_zero() -> None:
    """An applicant without history has counts of 0 and no mean, share, age or ratio."""
    got = derived(World().state(CATALOG), CATALOG, Request(AS_OF), -1, SCRATCH)
    assert got["order_count_90d"] == 0
    for name in (
        "order_cents_mean_90d",
        "dues_late_share",
        "bureau_score",
        "refund_to_order_cents_90d",
    ):
        assert math.isnan(got[name]), name


def test_a_full_history_is_exact() -> None:
    """65,536 events of the largest amounts and as many counterparties fill all windows exactly."""
    count = sized(APPLICANT_EVENTS_MAX)
    generator = np.random.default_rng(7)
    ages = generator.integers(1, 500 * DAY_MS, count)
    amounts = AMOUNT_CENTS_MAX - generator.integers(0, 1000, count)
    World(
        events=[
            Event(AS_OF - int(age), int(amount), "invoice_out" if k % 4 else "order", k + 1)
            for k, (age, amount) in enumerate(zip(ages, amounts, strict=True))
        ]
    ).check()


def test_a_full_history_in_one_window_is_exact() -> None:
    """65,536 counterparties, and the sum and squares of as many largest amounts, have room."""
    count = sized(APPLICANT_EVENTS_MAX)
    World(
        events=[
            Event(AS_OF - 1 - k, AMOUNT_CENTS_MAX - (k & 1), "invoice_out", 2**56 - 1 - k)
            for k in range(count)
        ]
    ).check()


def test_pages_out_of_reach_are_not_read() -> None:
    """A page whose times or kinds no feature wants is skipped: what stands in it cannot matter."""
    old = [Event(AS_OF - 400 * DAY_MS, 7, "order", 1)] * PAGE_EVENTS
    world = World(events=[*old, Event(AS_OF - DAY_MS, 5, "order", 2)])
    state = world.state(CATALOG)
    first = int(state.applicants[APPLICANT]["first_page"])
    # Against its page's own header: a reader of the page would count it.
    state.entries[first, 0]["at"] = AS_OF - DAY_MS
    assert derived(state, CATALOG, Request(AS_OF), -1, SCRATCH)["order_count_30d"] == 1


def test_missing_value_of_a_row_stands_in_and_feeds_its_ratios(tmp_path: Path) -> None:
    """What a row says stands for missing is never NaN, and a ratio over the row divides by it."""
    path = tmp_path / "catalog.toml"
    path.write_text(
        """
        kinds = ["subscription"]

        [[attributes]]
        name = "pets"
        unit = "pets"

        [[features]]
        name = "subscription_cents_mean_14d"
        unit = "cents"
        source = "window"
        aggregate = "mean"
        kinds = ["subscription", "bill_paid"]
        window_days = 14
        missing = 4

        [[features]]
        name = "request_to_subscription"
        unit = "ratio"
        source = "ratio"
        numerator = "request_amount_cents"
        denominator = "subscription_cents_mean_14d"
        """
    )
    catalog = load_catalog(path)
    scratch = make_scratch(catalog.tables)
    request = Request(AS_OF, amount_cents=10)
    got = derived(World().state(catalog), catalog, request, -1, scratch)
    assert got["subscription_cents_mean_14d"] == 4
    assert got["request_to_subscription"] == 2.5
    World(
        request,
        [Event(AS_OF - 14 * DAY_MS, 8, "bill_paid", 0), Event(AS_OF - 1, 12, "subscription", 0)],
        attributes={"pets": 3.0},
    ).check(catalog, scratch)
