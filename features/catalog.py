"""The catalog: an ordered table, one row a feature, one column of the vector.

1. Kinds, attributes, signals and default rows of both sides stand here as data.
2. `load_catalog` adds a deployment's own from TOML, validates all, compiles it to arrays.

Rows are append-only while a model refers to them: a model finds its columns by name and definition
hash, a row of evidence by position. Every attribute is a column by being declared, every signal two
(value and age).
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from features.additions import Additions, read_additions
from features.definitions import (
    ANY_KIND,
    Attribute,
    Feature,
    Monotone,
    Signal,
    attribute_feature,
    definition_hash,
    signal_features,
)
from features.errors import CatalogError
from features.tables import AGGREGATES, FACTS, CatalogTables, make_tables
from streams.limits import ATTRIBUTES_MAX, DAY_MS, KINDS_MAX, SIGNALS_MAX
from streams.wire import FLOAT_FIELDS, INT_FIELDS, SPAN_FIELDS

HOUR_MS = 3_600_000

KINDS = (
    "order",
    "refund",
    "login",
    "bill_paid",
    "top_up",
    "transfer_in",
    "transfer_out",
    "invoice_in",
    "invoice_out",
    "invoice_in_credit",
    "invoice_out_credit",
    "device_change",
)

_REGIONS = ("north", "east", "south", "west", "centre")
_EDUCATIONS = ("none", "primary", "secondary", "vocational", "bachelor", "master")
_INDUSTRIES = (
    "retail", "wholesale", "manufacturing", "services", "construction", "transport",
    "agriculture", "technology",
)  # fmt: skip

ATTRIBUTES = (
    Attribute(name="income_cents", unit="cents a month", monotone=-1),
    Attribute(name="age_years", unit="years"),
    Attribute(name="employment_months", unit="months", monotone=-1),
    Attribute(name="dependents", unit="persons"),
    Attribute(name="existing_debt_cents", unit="cents", monotone=1),
    Attribute(name="region", unit="code", type="category", values=_REGIONS),
    Attribute(name="education", unit="code", type="category", values=_EDUCATIONS),
    Attribute(name="firm_age_months", unit="months", monotone=-1),
    Attribute(name="employees", unit="persons"),
    Attribute(name="revenue_cents", unit="cents a year", monotone=-1),
    Attribute(name="industry", unit="code", type="category", values=_INDUSTRIES),
)

SIGNALS = (
    Signal(source="bureau", name="score", ttl_ms=90 * DAY_MS, unit="points", monotone=-1),
    Signal(source="bureau", name="open_loans", ttl_ms=90 * DAY_MS, unit="loans", monotone=1),
    Signal(source="bureau", name="worst_dpd_days", ttl_ms=90 * DAY_MS, unit="days", monotone=1),
    Signal(source="telco", name="tenure_months", ttl_ms=180 * DAY_MS, unit="months", monotone=-1),
    Signal(source="tax", name="grade", ttl_ms=400 * DAY_MS, unit="grade"),
    Signal(source="device", name="risk", ttl_ms=30 * DAY_MS, unit="points", monotone=1,
           readers=("platform",)),
)  # fmt: skip


def _fact(
    name: str, unit: str, source: str, aggregate: str = "", monotone: Monotone = 0
) -> Feature:
    return Feature.model_validate(
        {
            "name": name,
            "unit": unit,
            "source": source,
            "aggregate": aggregate or name,
            "monotone": monotone,
        }
    )


def _window(
    name: str, aggregate: str, kinds: str, window_ms: int, monotone: Monotone = 0
) -> Feature:
    units = {"count": "events", "distinct": "counterparties", "first": "days", "last": "days"}
    return Feature(
        name=name,
        unit=units.get(aggregate, "cents"),
        source="window",
        aggregate=aggregate,
        kinds=tuple(kinds.split()),
        window_ms=window_ms,
        monotone=monotone,
    )


def _ratio(name: str, numerator: str, denominator: str, monotone: Monotone = 0) -> Feature:
    return Feature(
        name=name,
        unit="ratio",
        source="ratio",
        numerator=numerator,
        denominator=denominator,
        monotone=monotone,
    )


_REQUEST = (
    _fact("request_amount_cents", "cents", "request", "amount_cents"),
    _fact("request_tenor_days", "days", "request", "tenor_days"),
    _fact("request_is_drawdown", "0 or 1", "request", "is_drawdown"),
    _fact("request_hour", "hour of the day, UTC", "request", "hour"),
    _fact("request_weekday", "0 Monday to 6 Sunday, UTC", "request", "weekday"),
)

_APPLICANT = (
    _fact("open_offers", "offers", "applicant"),
    _fact("reserved_cents", "cents", "applicant"),
    _fact("history_truncated", "0 or 1", "applicant"),
)

_CONSUMER_WINDOWS = (
    _window("login_count_1h", "count", "login", HOUR_MS),
    _window("login_count_24h", "count", "login", DAY_MS),
    _window("device_change_count_30d", "count", "device_change", 30 * DAY_MS, 1),
    _window("order_count_1d", "count", "order", DAY_MS),
    _window("order_count_7d", "count", "order", 7 * DAY_MS),
    _window("order_count_30d", "count", "order", 30 * DAY_MS),
    _window("order_count_90d", "count", "order", 90 * DAY_MS),
    _window("order_count_365d", "count", "order", 365 * DAY_MS),
    _window("order_cents_sum_1d", "sum", "order", DAY_MS),
    _window("order_cents_sum_30d", "sum", "order", 30 * DAY_MS),
    _window("order_cents_sum_90d", "sum", "order", 90 * DAY_MS),
    _window("order_cents_sum_365d", "sum", "order", 365 * DAY_MS),
    _window("order_cents_mean_90d", "mean", "order", 90 * DAY_MS),
    _window("order_cents_min_90d", "min", "order", 90 * DAY_MS),
    _window("order_cents_max_90d", "max", "order", 90 * DAY_MS),
    _window("order_cents_std_90d", "std", "order", 90 * DAY_MS),
    _window("order_merchants_90d", "distinct", "order", 90 * DAY_MS),
    _window("order_days_since_first_365d", "first", "order", 365 * DAY_MS),
    _window("order_days_since_last_365d", "last", "order", 365 * DAY_MS),
    _window("refund_count_90d", "count", "refund", 90 * DAY_MS),
    _window("refund_cents_sum_90d", "sum", "refund", 90 * DAY_MS),
    _window("bill_paid_count_90d", "count", "bill_paid", 90 * DAY_MS, -1),
    _window("top_up_count_30d", "count", "top_up", 30 * DAY_MS),
    _window("transfer_in_cents_sum_90d", "sum", "transfer_in", 90 * DAY_MS, -1),
    _window("transfer_out_cents_sum_90d", "sum", "transfer_out", 90 * DAY_MS),
    _window("activity_count_30d", "count", ANY_KIND, 30 * DAY_MS),
    _window("activity_days_since_first_365d", "first", ANY_KIND, 365 * DAY_MS, -1),
    _window("activity_days_since_last_365d", "last", ANY_KIND, 365 * DAY_MS),
)

_BUSINESS_WINDOWS = (
    _window("invoice_out_count_30d", "count", "invoice_out", 30 * DAY_MS),
    _window("invoice_out_count_90d", "count", "invoice_out", 90 * DAY_MS),
    _window("invoice_out_count_365d", "count", "invoice_out", 365 * DAY_MS),
    _window("invoice_out_cents_sum_30d", "sum", "invoice_out", 30 * DAY_MS),
    _window("invoice_out_cents_sum_90d", "sum", "invoice_out", 90 * DAY_MS),
    _window("invoice_out_cents_sum_365d", "sum", "invoice_out", 365 * DAY_MS, -1),
    _window("invoice_out_cents_mean_365d", "mean", "invoice_out", 365 * DAY_MS),
    _window("invoice_out_cents_max_365d", "max", "invoice_out", 365 * DAY_MS),
    _window("invoice_out_cents_std_365d", "std", "invoice_out", 365 * DAY_MS),
    _window("invoice_out_buyers_365d", "distinct", "invoice_out", 365 * DAY_MS),
    _window("invoice_out_days_since_first_365d", "first", "invoice_out", 365 * DAY_MS),
    _window("invoice_out_days_since_last_365d", "last", "invoice_out", 365 * DAY_MS),
    _window("invoice_in_cents_sum_30d", "sum", "invoice_in", 30 * DAY_MS),
    _window("invoice_in_cents_sum_90d", "sum", "invoice_in", 90 * DAY_MS),
    _window("invoice_in_cents_sum_365d", "sum", "invoice_in", 365 * DAY_MS),
    _window("invoice_in_count_365d", "count", "invoice_in", 365 * DAY_MS),
    _window("invoice_in_suppliers_365d", "distinct", "invoice_in", 365 * DAY_MS),
    _window("invoice_out_credit_cents_sum_365d", "sum", "invoice_out_credit", 365 * DAY_MS),
    _window("invoice_in_credit_cents_sum_365d", "sum", "invoice_in_credit", 365 * DAY_MS),
)

_LOANS = (
    _fact("loans_disbursed", "loans", "loans"),
    _fact("loans_open", "loans", "loans"),
    _fact("loans_open_other_lenders", "loans", "loans"),
    _fact("loans_written_off", "loans", "loans", monotone=1),
    _fact("loans_closed_on_time", "loans", "loans", monotone=-1),
    _fact("loans_outstanding_cents", "cents", "loans"),
    _fact("overdue_cents", "cents", "loans", monotone=1),
    _fact("current_dpd_days", "days", "loans", monotone=1),
    _fact("worst_dpd_days", "days", "loans", monotone=1),
    _fact("dues_late_share", "ratio", "loans", monotone=1),
    _fact("dues_days_late_mean", "days, negative: early", "loans", monotone=1),
    _fact("last_due_days_late", "days, negative: early", "loans", monotone=1),
    _fact("days_since_last_loan_closed", "days", "loans"),
    _fact("days_since_last_loan_disbursed", "days", "loans"),
    _fact("days_since_first_loan_disbursed", "days", "loans"),
    _fact("last_loan_principal_cents", "cents", "loans"),
)

_LINES = (
    _fact("lines_active", "lines", "lines"),
    _fact("lines_limit_cents", "cents", "lines"),
    _fact("lines_utilisation", "ratio", "lines", monotone=1),
    _fact("line_limit_cents", "cents", "lines"),
    _fact("line_available_cents", "cents", "lines"),
    _fact("line_utilisation", "ratio", "lines", monotone=1),
    _fact("line_age_days", "days", "lines"),
)

_RATIOS = (
    _ratio("debt_to_income", "existing_debt_cents", "income_cents", 1),
    _ratio("request_to_income", "request_amount_cents", "income_cents", 1),
    _ratio("request_to_revenue", "request_amount_cents", "revenue_cents", 1),
    _ratio("request_to_last_loan", "request_amount_cents", "last_loan_principal_cents"),
    _ratio("request_to_line_available", "request_amount_cents", "line_available_cents"),
    _ratio("refund_to_order_count_90d", "refund_count_90d", "order_count_90d"),
    _ratio("refund_to_order_cents_90d", "refund_cents_sum_90d", "order_cents_sum_90d"),
    _ratio("order_cents_30d_to_365d", "order_cents_sum_30d", "order_cents_sum_365d"),
    _ratio("transfer_out_to_in_90d", "transfer_out_cents_sum_90d", "transfer_in_cents_sum_90d"),
    _ratio("request_to_invoice_out_90d", "request_amount_cents", "invoice_out_cents_sum_90d", 1),
    _ratio("invoice_out_90d_to_365d", "invoice_out_cents_sum_90d", "invoice_out_cents_sum_365d"),
    _ratio("invoice_in_to_out_365d", "invoice_in_cents_sum_365d", "invoice_out_cents_sum_365d"),
    _ratio("credit_note_share_out_365d", "invoice_out_credit_cents_sum_365d",
           "invoice_out_cents_sum_365d", 1),
    _ratio("credit_note_share_in_365d", "invoice_in_credit_cents_sum_365d",
           "invoice_in_cents_sum_365d"),
)  # fmt: skip

FEATURES = (
    *_REQUEST,
    *_APPLICANT,
    *_CONSUMER_WINDOWS,
    *_BUSINESS_WINDOWS,
    *_LOANS,
    *_LINES,
    *_RATIOS,
)


@dataclass(frozen=True)
class Catalog:
    """The columns of a deployment; `columns` and `definition_hashes` by name, in column order.

    `kinds`, `attributes`, `signals` and `window_ms_max` (the longest window: older events may leave
    the state) are those of all declared rows, also where `features` were narrowed: what the state
    keeps does not depend on who reads it.
    """

    kinds: tuple[str, ...]
    attributes: tuple[Attribute, ...]
    signals: tuple[Signal, ...]
    features: tuple[Feature, ...]
    columns: Mapping[str, int]
    definition_hashes: Mapping[str, str]
    window_ms_max: int
    sha256: str
    tables: CatalogTables


def load_catalog(path: Path | None) -> Catalog:
    """Return the default catalog with the additions of the TOML file at `path` (None: none).

    Raises `CatalogError`: one sentence with file, line or row, and remedy.
    """
    added = Additions((), (), (), ()) if path is None else read_additions(path)
    where = "the default catalog" if path is None else str(path)
    return make_catalog(
        KINDS + added.kinds,
        (ATTRIBUTES if added.defaults else ()) + added.attributes,
        (SIGNALS if added.defaults else ()) + added.signals,
        added.features,
        where,
        defaults=added.defaults,
    )


def make_catalog(
    kinds: tuple[str, ...],
    attributes: tuple[Attribute, ...],
    signals: tuple[Signal, ...],
    added: tuple[Feature, ...],
    where: str,
    *,
    defaults: bool = True,
) -> Catalog:
    """Validate and compile; `added` rows follow the default ones, errors name `where`.

    Without `defaults` no default attribute or signal stands among those given, and the default rows
    that need one are left out.

    Columns: default attributes, signals and rows, then added attributes, signals and rows.
    """
    rows: tuple[Feature, ...] = FEATURES
    first, second = len(ATTRIBUTES), len(SIGNALS)
    if not defaults:
        first = second = 0
        rows = _without_defaults({a.name for a in attributes} | {s.column for s in signals})
    features = (
        *(attribute_feature(attribute) for attribute in attributes[:first]),
        *(column for signal in signals[:second] for column in signal_features(signal)),
        *rows,
        *(attribute_feature(attribute) for attribute in attributes[first:]),
        *(column for signal in signals[second:] for column in signal_features(signal)),
        *added,
    )
    _check_names(kinds, attributes, signals, features, where)
    _check_attributes(attributes, where)
    hashes: dict[str, str] = {}
    by_name = {attribute.name: attribute for attribute in attributes}
    by_column = {signal.column: signal for signal in signals}
    for feature in features:
        _check_feature(feature, kinds, set(by_name), set(by_column), set(hashes), where)
        hashes[feature.name] = definition_hash(feature, by_name, by_column, hashes)
    return _compile(
        kinds,
        attributes,
        signals,
        features,
        hashes,
        max((feature.window_ms for feature in features), default=0),
    )


def narrow(catalog: Catalog, names: Iterable[str]) -> Catalog:
    """Return `catalog` with the columns `names` alone and those that their ratios divide, in order.

    Every name is one of `catalog.columns`. A column's value and definition hash stay the same.
    """
    wanted = set(names)
    assert wanted <= catalog.columns.keys()
    for feature in reversed(catalog.features):  # a ratio divides earlier columns
        if feature.name in wanted and feature.source == "ratio":
            wanted |= {feature.numerator, feature.denominator}
    return _compile(
        catalog.kinds,
        catalog.attributes,
        catalog.signals,
        tuple(feature for feature in catalog.features if feature.name in wanted),
        {name: hex for name, hex in catalog.definition_hashes.items() if name in wanted},
        catalog.window_ms_max,
    )


def _compile(
    kinds: tuple[str, ...],
    attributes: tuple[Attribute, ...],
    signals: tuple[Signal, ...],
    features: tuple[Feature, ...],
    hashes: Mapping[str, str],
    window_ms_max: int,
) -> Catalog:
    whole = [
        list(kinds),
        [a.name for a in attributes],
        [s.column for s in signals],
        list(hashes.values()),
    ]
    return Catalog(
        kinds=kinds,
        attributes=attributes,
        signals=signals,
        features=features,
        columns={feature.name: column for column, feature in enumerate(features)},
        definition_hashes=hashes,
        window_ms_max=window_ms_max,
        sha256=hashlib.sha256(orjson.dumps(whole)).hexdigest(),
        tables=make_tables(features, kinds, attributes, signals),
    )


def _without_defaults(known: set[str]) -> tuple[Feature, ...]:
    """Return the default rows that need no default attribute or signal; ratios look back only."""
    stands = set(known)
    kept = []
    for feature in FEATURES:
        if feature.source != "ratio" or {feature.numerator, feature.denominator} <= stands:
            stands.add(feature.name)
            kept.append(feature)
    return tuple(kept)


def _check_names(
    kinds: tuple[str, ...],
    attributes: tuple[Attribute, ...],
    signals: tuple[Signal, ...],
    features: tuple[Feature, ...],
    where: str,
) -> None:
    for what, names, most in (
        ("kinds", kinds, KINDS_MAX),
        ("attributes", [attribute.name for attribute in attributes], ATTRIBUTES_MAX),
        ("signals", [signal.column for signal in signals], SIGNALS_MAX),
        ("columns", [feature.name for feature in features], None),
    ):
        if most is not None and len(names) > most:
            raise CatalogError(
                f"{where}: {len(names)} {what} with the default ones, at most {most}; declare fewer"
            )
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise CatalogError(f"{where}: {what} name {twice[0]} twice; rename one of them")


def _check_attributes(attributes: tuple[Attribute, ...], where: str) -> None:
    for attribute in attributes:
        if attribute.name in SPAN_FIELDS + INT_FIELDS + FLOAT_FIELDS:
            raise CatalogError(
                f"{where}: attribute {attribute.name} bears the name of a field of events"
                "; choose another"
            )


def _check_feature(
    feature: Feature,
    kinds: tuple[str, ...],
    attributes: set[str],
    signals: set[str],
    earlier: set[str],
    where: str,
) -> None:
    """Refuse a row that names what is not there, or that carries what its source does not use."""
    at = f"{where}: feature {feature.name}"
    _check_unused(feature, at)
    if feature.source == "window":
        if feature.aggregate not in AGGREGATES:
            raise CatalogError(
                f"{at}: aggregate {feature.aggregate!r} is none of {', '.join(AGGREGATES)};"
                " choose one"
            )
        if feature.window_ms <= 0:
            raise CatalogError(f"{at}: a window needs a positive length; give window_days")
        unknown = [kind for kind in feature.kinds if kind not in kinds and kind != ANY_KIND]
        if unknown or not feature.kinds:
            raise CatalogError(
                f"{at}: kind {unknown[0] if unknown else ''!r} is not declared;"
                " add it to kinds or correct it"
            )
    elif feature.source == "ratio":
        for part in (feature.numerator, feature.denominator):
            if part not in earlier:
                raise CatalogError(f"{at}: no column {part!r} before it; name an earlier row")
    elif feature.source == "attribute":
        if feature.of not in attributes:
            raise CatalogError(f"{at}: attribute {feature.of!r} is not declared; declare it first")
    elif feature.source == "signal":
        if feature.of not in signals or feature.aggregate not in {"value", "age_days"}:
            raise CatalogError(
                f"{at}: signal {feature.of!r} with aggregate {feature.aggregate!r} is not declared;"
                " name a declared signal and value or age_days"
            )
    elif feature.aggregate not in FACTS[feature.source]:
        raise CatalogError(
            f"{at}: aggregate {feature.aggregate!r} is none of {', '.join(FACTS[feature.source])};"
            " choose one"
        )


def _check_unused(feature: Feature, at: str) -> None:
    used = {
        "window": {"aggregate", "kinds", "window_ms"},
        "ratio": {"numerator", "denominator"},
        "attribute": {"of"},
        "signal": {"of", "aggregate"},
    }.get(feature.source, {"aggregate"})
    for field in ("aggregate", "of", "kinds", "window_ms", "numerator", "denominator"):
        if getattr(feature, field) and field not in used:
            raise CatalogError(
                f"{at}: {field} means nothing with source {feature.source}; remove it"
            )
