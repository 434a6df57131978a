"""Stage 5, derive: rows of state and one request become a feature vector.

1. Each source writes its facts: request, applicant, loans, lines, attributes, signals, windows.
2. Each column takes its fact, or the ratio of two earlier columns, or its missing value.

The vector is a function of the state as the log has left it and of the request's own time; it
writes nothing but `scratch` and its column of `vectors`.
"""

import math

from features.lines import line_facts
from features.loans import loan_facts
from features.tables import APPLICANT_0, CATALOG_0, REQUEST_0, CatalogTables, FeatureScratch
from features.windows import read_cells, walk
from streams.buffers import Array
from streams.compile import kernel
from streams.limits import DAY_MS
from streams.schema import EventType
from streams.state.tables import State

_NAN = math.nan
_DRAWDOWN = int(EventType.DRAWDOWN)
_HOUR_MS = DAY_MS // 24
_EPOCH_WEEKDAY = 3  # 1 January 1970 was a Thursday; Monday is 0


@kernel
def derive(
    state: State,
    catalog: CatalogTables,
    scratch: FeatureScratch,
    events: Array,
    row: int,
    applicant: int,
    line: int,
    vectors: Array,
    column: int,
) -> None:
    """Write the features of request `events[row]` to `vectors[:columns, column]`, NaN for missing.

    Reads EVENT[row], the applicant's row with its pages, loans, dues and lines, and the row of the
    line drawn on (-1: none). `vectors` is float64[columns, BLOCK], feature-major. Called when the
    attributes that came with an application stand in its applicant's row, and before the request
    changes any other state.
    """
    assert applicant >= 0
    facts = scratch.facts
    as_of = events[row]["at"]
    person = state.applicants[applicant]
    _request_facts(events, row, facts)
    facts[APPLICANT_0] = person["open_offers"]
    facts[APPLICANT_0 + 1] = person["reserved_cents"]
    facts[APPLICANT_0 + 2] = person["truncated"]
    if catalog.sources[0]:
        loan_facts(state.loans, state.dues, person["first_loan"], as_of, scratch.loan_sums, facts)
    if catalog.sources[1]:
        line_facts(state.lines, person["first_line"], line, as_of, facts)
    windows_0 = _catalog_facts(state.applicants, applicant, as_of, catalog, facts)
    walk(
        state.pages, state.entries, person["first_page"], person["events"], as_of, catalog, scratch
    )
    read_cells(catalog.readings, scratch.cells, as_of, facts, windows_0)
    _fill(catalog.columns, facts, vectors, column)


@kernel
def _request_facts(events: Array, row: int, facts: Array) -> None:
    """Write the facts of source "request"; hour and weekday are UTC, by integer arithmetic."""
    at = events[row]["at"]
    facts[REQUEST_0] = events[row]["amount_cents"]
    facts[REQUEST_0 + 1] = events[row]["tenor_days"]
    facts[REQUEST_0 + 2] = events[row]["type"] == _DRAWDOWN
    facts[REQUEST_0 + 3] = at // _HOUR_MS % 24
    facts[REQUEST_0 + 4] = (at // DAY_MS + _EPOCH_WEEKDAY) % 7


@kernel
def _catalog_facts(
    applicants: Array, applicant: int, as_of: int, catalog: CatalogTables, facts: Array
) -> int:
    """Write attributes, then value and age in days of each signal; return where the windows begin.

    A signal counts from the moment after its own time until it is older than its time to live.
    """
    fact = CATALOG_0
    for k in range(catalog.attributes.shape[0]):
        facts[fact] = applicants[applicant]["attributes"][catalog.attributes[k]]
        fact += 1
    for k in range(catalog.signals.shape[0]):
        signal = catalog.signals[k]
        at = applicants[applicant]["signal_at"][signal]
        facts[fact], facts[fact + 1] = _NAN, _NAN
        if 0 < at < as_of and as_of - at <= catalog.signal_ttl_ms[k]:
            facts[fact] = applicants[applicant]["signal_value"][signal]
            facts[fact + 1] = float(as_of - at) / DAY_MS
        fact += 2
    return fact


@kernel
def _fill(columns: Array, facts: Array, vectors: Array, column: int) -> None:
    """Write each of COLUMN[columns] to `vectors[:, column]`; a ratio over 0 is missing."""
    for c in range(columns.shape[0]):
        if columns[c]["fact"] >= 0:
            value = facts[columns[c]["fact"]]
        else:
            below = vectors[columns[c]["denominator"], column]
            value = _NAN
            if below != 0.0:
                value = vectors[columns[c]["numerator"], column] / below
        if math.isnan(value):
            value = columns[c]["missing"]
        vectors[c, column] = value
