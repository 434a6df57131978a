"""The catalog compiled to arrays that the kernels walk, and the memory they work in.

Every source first writes *facts*, float64 in one array with NaN for missing; a column is then one
fact, or the ratio of two earlier columns. So a new row costs a fact and a column, and no kernel
knows any row.
"""

from typing import NamedTuple

import numpy as np

from features.definitions import ANY_KIND, Attribute, Feature, Signal
from streams.buffers import Array
from streams.limits import APPLICANT_EVENTS_MAX, KINDS_MAX

AGGREGATES = ("count", "sum", "mean", "min", "max", "std", "distinct", "first", "last")
COUNT, SUM, MEAN, MIN, MAX, STD, DISTINCT, FIRST, LAST = range(len(AGGREGATES))

# Facts by source, in the order that the kernels write them.
FACTS: dict[str, tuple[str, ...]] = {
    "request": ("amount_cents", "tenor_days", "is_drawdown", "hour", "weekday"),
    "applicant": ("open_offers", "reserved_cents", "history_truncated"),
    "loans": (
        "loans_disbursed",
        "loans_open",
        "loans_open_other_lenders",
        "loans_written_off",
        "loans_closed_on_time",
        "loans_outstanding_cents",
        "overdue_cents",
        "current_dpd_days",
        "worst_dpd_days",
        "dues_late_share",
        "dues_days_late_mean",
        "last_due_days_late",
        "days_since_last_loan_closed",
        "days_since_last_loan_disbursed",
        "days_since_first_loan_disbursed",
        "last_loan_principal_cents",
    ),
    "lines": (
        "lines_active",
        "lines_limit_cents",
        "lines_utilisation",
        "line_limit_cents",
        "line_available_cents",
        "line_utilisation",
        "line_age_days",
    ),
}

REQUEST_0 = 0
APPLICANT_0 = REQUEST_0 + len(FACTS["request"])
LOANS_0 = APPLICANT_0 + len(FACTS["applicant"])
LINES_0 = LOANS_0 + len(FACTS["loans"])
CATALOG_0 = LINES_0 + len(FACTS["lines"])  # attributes, signals and windows follow
_STARTS = {"request": REQUEST_0, "applicant": APPLICANT_0, "loans": LOANS_0, "lines": LINES_0}

# A cell holds what one set of kinds had in one window. Sums of squares stand in three parts that
# fit int64: amount = high * 2**24 + low with low in [-2**23, 2**23).
(
    CELL_COUNT, CELL_SUM, CELL_MIN, CELL_MAX, CELL_FIRST_AT, CELL_LAST_AT, CELL_HIGH_HIGH,
    CELL_HIGH_LOW, CELL_LOW_LOW, CELL_DISTINCT,
) = range(10)  # fmt: skip
CELL_SIZE = 10

LOAN_SUMS = 18
"""Running integers over an applicant's loans; their places stand in `features/loans.py`."""

SEEN_SLOTS = 2 * APPLICANT_EVENTS_MAX
"""Slots of the set of counterparties: at most half full with one applicant's longest history."""

SEEN_GENERATION, SEEN_COUNTERPARTY, SEEN_CELL = range(3)

# One fact that is read off a cell when the walk is done.
READING = np.dtype([("cell", "i4"), ("aggregate", "i4")], align=True)
# One column: a fact, or (fact -1) the ratio of two earlier columns.
COLUMN = np.dtype(
    [("fact", "i4"), ("numerator", "i4"), ("denominator", "i4"), ("missing", "f8")], align=True
)
# Where an event of one kind and age is counted; `whole` is 0 where nobody asks its group for more
# than _PLAIN, and then no more is counted; `distinct` is the group's number in the set of
# counterparties, -1 where nobody asks for those.
TAKE = np.dtype([("cell", "i4"), ("whole", "i4"), ("distinct", "i4")], align=True)
_PLAIN = frozenset({"count", "sum", "mean", "first", "last"})

WINDOWS_A_STEP = 8
"""Windows are compared with so many at a time: the table is filled up with windows without end."""


class CatalogTables(NamedTuple):
    """What `derive` walks; G groups (sets of kinds), W windows, C cells (group and window)."""

    columns: Array  # COLUMN[columns]
    windows: Array  # int64[...], W in milliseconds, narrow to wide, then windows without end
    widest: Array  # int64[2]: the longest window, which bounds the walk, and W
    kind_mask: Array  # uint64[1], one bit for each kind that any group takes
    take_start: Array  # int32[KINDS_MAX * W + 1]: first of `takes` of kind k in window w, k * W + w
    takes: Array  # TAKE[...]: of each group of the kind the narrowest cell that holds the event
    wider: Array  # int32[C]: the group's next wider cell, -1
    readings: Array  # READING[...]
    attributes: Array  # int32[...]: places of the attributes that a column takes
    signals: Array  # int32[...]: places of the signals that a column takes
    signal_ttl_ms: Array  # int64[...], of those
    sources: Array  # int32[2]: 1 where a column takes a fact of loans, of lines


class FeatureScratch(NamedTuple):
    """Working memory of `derive`, overwritten by each call; one a thread."""

    facts: Array  # float64[facts]
    loan_sums: Array  # int64[LOAN_SUMS]
    cells: Array  # int64[C, CELL_SIZE]
    generation: (
        Array  # int64[1]: of the walk under way; slots of the set with an older one are empty
    )
    # int64[SEEN_SLOTS, SEEN_CELL + distinct groups], together since each slot is a cache miss:
    # generation, counterparty, then for each distinct group the narrowest cell it was seen in.
    seen: Array


def make_tables(
    features: tuple[Feature, ...],
    kinds: tuple[str, ...],
    attributes: tuple[Attribute, ...],
    signals: tuple[Signal, ...],
) -> CatalogTables:
    """Compile the columns `features` of a catalog that has been validated.

    `attributes` and `signals` are all that the catalog declares, since their places are those of
    the applicant's row; what no column takes costs nothing.
    """
    plan = _plan_windows(features)
    columns = np.zeros(len(features), COLUMN)
    position = {feature.name: column for column, feature in enumerate(features)}
    taken = {(feature.source, feature.of) for feature in features}
    attributes_taken = [k for k, a in enumerate(attributes) if ("attribute", a.name) in taken]
    signals_taken = [k for k, s in enumerate(signals) if ("signal", s.column) in taken]
    attribute_fact = {attributes[a].name: CATALOG_0 + k for k, a in enumerate(attributes_taken)}
    signals_0 = CATALOG_0 + len(attributes_taken)
    signal_fact = {signals[s].column: signals_0 + 2 * k for k, s in enumerate(signals_taken)}
    windows_0 = signals_0 + 2 * len(signals_taken)
    readings: list[tuple[int, int]] = []
    for column, feature in enumerate(features):
        fact, numerator, denominator = -1, -1, -1
        if feature.source == "ratio":
            numerator, denominator = position[feature.numerator], position[feature.denominator]
        elif feature.source == "attribute":
            fact = attribute_fact[feature.of]
        elif feature.source == "signal":
            fact = signal_fact[feature.of] + (feature.aggregate == "age_days")
        elif feature.source == "window":
            fact = windows_0 + len(readings)
            cell = plan.cells[_group(feature), feature.window_ms]
            readings.append((cell, AGGREGATES.index(feature.aggregate)))
        else:
            fact = _STARTS[feature.source] + FACTS[feature.source].index(feature.aggregate)
        columns[column] = (fact, numerator, denominator, feature.missing)
    take_start, takes = _takes(plan, kinds, features)
    any_taken = [any(group & {kind, ANY_KIND} for group in plan.groups) for kind in kinds]
    endless = [_ENDLESS_MS] * (-len(plan.windows) % WINDOWS_A_STEP)
    return CatalogTables(
        columns=columns,
        windows=np.array(plan.windows + endless, np.int64),
        widest=np.array([max(plan.windows, default=0), len(plan.windows)], np.int64),
        kind_mask=np.array([sum(1 << k for k, is_ in enumerate(any_taken) if is_)], np.uint64),
        take_start=take_start,
        takes=takes,
        wider=_wider(plan),
        readings=np.array(readings, READING),
        attributes=np.array(attributes_taken, np.int32),
        signals=np.array(signals_taken, np.int32),
        signal_ttl_ms=np.array([signals[k].ttl_ms for k in signals_taken], np.int64),
        sources=np.array([(source, "") in taken for source in ("loans", "lines")], np.int32),
    )


def make_scratch(tables: CatalogTables) -> FeatureScratch:
    """Take the working memory of `derive` for one catalog, once, at start."""
    facts = CATALOG_0 + len(tables.attributes) + 2 * len(tables.signals) + len(tables.readings)
    distinct = 1 + int(tables.takes["distinct"].max(initial=-1))
    return FeatureScratch(
        np.full(facts, np.nan),
        np.zeros(LOAN_SUMS, np.int64),
        np.zeros((len(tables.wider), CELL_SIZE), np.int64),
        np.zeros(1, np.int64),
        np.zeros((SEEN_SLOTS, SEEN_CELL + distinct), np.int64),
    )


Group = frozenset[str]
_ENDLESS_MS = 2**63 - 1


class _Plan(NamedTuple):
    groups: list[Group]
    windows: list[int]
    cells: dict[tuple[Group, int], int]  # a group's cells stand together, narrow to wide


def _group(feature: Feature) -> Group:
    return frozenset({ANY_KIND} if ANY_KIND in feature.kinds else feature.kinds)


def _plan_windows(features: tuple[Feature, ...]) -> _Plan:
    wanted = [feature for feature in features if feature.source == "window"]
    groups = list(dict.fromkeys(map(_group, wanted)))
    pairs = sorted(
        {(groups.index(_group(feature)), feature.window_ms) for feature in wanted},
    )
    cells = {(groups[group], window): cell for cell, (group, window) in enumerate(pairs)}
    return _Plan(groups, sorted({window for _, window in pairs}), cells)


def _takes(
    plan: _Plan, kinds: tuple[str, ...], features: tuple[Feature, ...]
) -> tuple[Array, Array]:
    """Return where a kind is counted in a window: starts, and TAKE rows by kind, then window."""
    wanted = [feature for feature in features if feature.source == "window"]
    asked = {_group(feature) for feature in wanted if feature.aggregate == "distinct"}
    whole = {_group(feature) for feature in wanted if feature.aggregate not in _PLAIN}
    counted = [group for group in plan.groups if group in asked]
    start, rows = [0], []
    for code in range(KINDS_MAX):
        kind = {kinds[code], ANY_KIND} if code < len(kinds) else set()
        for place in range(len(plan.windows)):
            for group in plan.groups:
                holding = [w for w in plan.windows[place:] if (group, w) in plan.cells]
                if group & kind and holding:
                    distinct = counted.index(group) if group in asked else -1
                    rows.append((plan.cells[group, holding[0]], group in whole, distinct))
            start.append(len(rows))
    return np.array(start, np.int32), np.array(rows, TAKE)


def _wider(plan: _Plan) -> Array:
    owner = [group for group, _ in sorted(plan.cells, key=lambda key: plan.cells[key])]
    same = [owner[c] == owner[c + 1] for c in range(len(owner) - 1)]
    return np.array(
        [c + 1 if c < len(same) and same[c] else -1 for c in range(len(owner))], np.int32
    )
