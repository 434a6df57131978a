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
# One set of kinds with its cells, narrow to wide; `distinct` is its number in the set of
# counterparties.
GROUP = np.dtype([("squares", "i4"), ("distinct", "i4")], align=True)


class CatalogTables(NamedTuple):
    """What `derive` walks; G groups (sets of kinds), W windows, C cells (group and window)."""

    columns: Array  # COLUMN[columns]
    windows: Array  # int64[W], milliseconds, narrow to wide; the last bounds the walk
    kind_mask: Array  # uint64[1], one bit for each kind that any group takes
    kind_start: (
        Array  # int32[KINDS_MAX + 1]: groups of kind k are kind_groups[start[k] : start[k + 1]]
    )
    kind_groups: Array  # int32[...]
    groups: Array  # GROUP[G]
    group_cell: (
        Array  # int32[G, W]: the group's narrowest cell that holds an event of that window, -1
    )
    wider: Array  # int32[C]: the group's next wider cell, -1
    readings: Array  # READING[...]
    attributes: Array  # int32[1]: how many attributes the catalog declares
    signal_ttl_ms: Array  # int64[signals]


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
    """Compile a catalog that has been validated."""
    plan = _plan_windows(features)
    columns = np.zeros(len(features), COLUMN)
    position = {feature.name: column for column, feature in enumerate(features)}
    attribute_fact = {a.name: CATALOG_0 + k for k, a in enumerate(attributes)}
    signals_0 = CATALOG_0 + len(attributes)
    signal_fact = {s.column: signals_0 + 2 * k for k, s in enumerate(signals)}
    windows_0 = signals_0 + 2 * len(signals)
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
    kind_start, kind_groups = _groups_by_kind(plan.groups, kinds)
    mask = sum(1 << k for k in range(len(kinds)) if kind_start[k] < kind_start[k + 1])
    return CatalogTables(
        columns=columns,
        windows=np.array(plan.windows or [0], np.int64),
        kind_mask=np.array([mask], np.uint64),
        kind_start=kind_start,
        kind_groups=kind_groups,
        groups=_group_rows(plan.groups, features),
        group_cell=_narrowest(plan),
        wider=_wider(plan),
        readings=np.array(readings, READING),
        attributes=np.array([len(attributes)], np.int32),
        signal_ttl_ms=np.array([signal.ttl_ms for signal in signals], np.int64),
    )


def make_scratch(tables: CatalogTables) -> FeatureScratch:
    """Take the working memory of `derive` for one catalog, once, at start."""
    signals, attributes = len(tables.signal_ttl_ms), int(tables.attributes[0])
    facts = CATALOG_0 + attributes + 2 * signals + len(tables.readings)
    distinct = int(np.count_nonzero(tables.groups["distinct"] >= 0))
    return FeatureScratch(
        np.full(facts, np.nan),
        np.zeros(LOAN_SUMS, np.int64),
        np.zeros((len(tables.wider), CELL_SIZE), np.int64),
        np.zeros(1, np.int64),
        np.zeros((SEEN_SLOTS, SEEN_CELL + distinct), np.int64),
    )


Group = frozenset[str]


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


def _groups_by_kind(groups: list[Group], kinds: tuple[str, ...]) -> tuple[Array, Array]:
    start, flat = np.zeros(KINDS_MAX + 1, np.int32), []
    for code in range(KINDS_MAX):
        if code < len(kinds):
            flat += [g for g, group in enumerate(groups) if group & {kinds[code], ANY_KIND}]
        start[code + 1] = len(flat)
    return start, np.array(flat, np.int32)


def _group_rows(groups: list[Group], features: tuple[Feature, ...]) -> Array:
    rows = np.zeros(len(groups), GROUP)
    distinct = 0
    for g, group in enumerate(groups):
        taken = {f.aggregate for f in features if f.source == "window" and _group(f) == group}
        rows[g] = ("std" in taken, distinct if "distinct" in taken else -1)
        distinct += "distinct" in taken
    return rows


def _narrowest(plan: _Plan) -> Array:
    table = np.full((len(plan.groups), max(len(plan.windows), 1)), -1, np.int32)
    for g, group in enumerate(plan.groups):
        for w in reversed(range(len(plan.windows))):
            wider = table[g, w + 1] if w + 1 < len(plan.windows) else -1
            table[g, w] = plan.cells.get((group, plan.windows[w]), wider)
    return table


def _wider(plan: _Plan) -> Array:
    owner = [group for group, _ in sorted(plan.cells, key=lambda key: plan.cells[key])]
    same = [owner[c] == owner[c + 1] for c in range(len(owner) - 1)]
    return np.array(
        [c + 1 if c < len(same) and same[c] else -1 for c in range(len(owner))], np.int32
    )
