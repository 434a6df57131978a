"""The obvious twin of `features.vector.derive`: plain Python over lists, from the docstrings.

Numbers are Python's unbounded integers and fractions until the last step.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from features.catalog import Catalog
from features.definitions import ANY_KIND, Feature
from streams.limits import DAY_MS
from streams.schema import LineState, LoanState
from tests.features.build import Due, Event, Line, Loan, Request


def window_value(feature: Feature, events: Sequence[Event], as_of: int) -> float:
    """Return one window feature over all events that the log holds, NaN for missing."""
    held = [
        event
        for event in events
        if as_of - feature.window_ms <= event.at < as_of
        and (ANY_KIND in feature.kinds or event.kind in feature.kinds)
    ]
    amounts = [event.amount_cents for event in held]
    n = len(held)
    if feature.aggregate == "count":
        return float(n)
    if feature.aggregate == "sum":
        return float(sum(amounts))
    if feature.aggregate == "distinct":
        return float(len({event.counterparty for event in held} - {0}))
    if n == 0:
        return math.nan
    if feature.aggregate == "mean":
        return float(sum(amounts)) / n
    if feature.aggregate == "min":
        return float(min(amounts))
    if feature.aggregate == "max":
        return float(max(amounts))
    if feature.aggregate == "first":
        return (as_of - min(event.at for event in held)) / DAY_MS
    if feature.aggregate == "last":
        return (as_of - max(event.at for event in held)) / DAY_MS
    assert feature.aggregate == "std"
    if n == 1:
        return math.nan
    squares = sum(amount**2 for amount in amounts)
    return math.sqrt(Fraction(n * squares - sum(amounts) ** 2, n * (n - 1)))


def _lateness(loan: Loan, due: Due, as_of: int) -> tuple[int, bool] | None:
    """Return how late a due was at `as_of`, in ms (negative: early), and whether it was paid.

    None: it was neither past nor paid, or the loan was closed before it was due.
    """
    if 0 < due.covered_at < as_of:
        return due.covered_at - due.due_at, True
    end = loan.closed_at if _ended(loan, LoanState.CLOSED, as_of) else as_of
    if due.due_at < end:
        return end - due.due_at, False
    return None


def _ended(loan: Loan, state: LoanState, as_of: int) -> bool:
    return loan.state == state and loan.closed_at < as_of


def loan_values(loans: Sequence[Loan], as_of: int) -> dict[str, float]:
    """Return the facts of source "loans"; `loans` in the order of the log."""
    # Newest first: of two loans, or dues, of one time that of the later loan is the last.
    known = [loan for loan in reversed(loans) if 0 < loan.disbursed_at < as_of]
    closed = [loan for loan in known if _ended(loan, LoanState.CLOSED, as_of)]
    lost = [loan for loan in known if _ended(loan, LoanState.WRITTEN_OFF, as_of)]
    living = [loan for loan in known if loan not in closed and loan not in lost]
    met = [
        (loan, due, *late)
        for loan in known
        for due in loan.dues
        if (late := _lateness(loan, due, as_of)) is not None
    ]
    owed = [(due, ms) for loan, due, ms, paid in met if not paid and loan not in closed]
    days = [max(ms, 0) // DAY_MS for *_, ms, _ in met]
    on_time = [
        loan
        for loan in closed
        if all(max(ms, 0) < DAY_MS for owner, _, ms, _ in met if owner is loan)
    ]
    newest = max(known, key=lambda loan: loan.disbursed_at, default=None)
    last_due = max(met, key=lambda row: row[1].due_at, default=None)
    nan = math.nan
    return {
        "loans_disbursed": len(known),
        "loans_open": len(living),
        "loans_open_other_lenders": sum(loan.institution == -1 for loan in living),
        "loans_written_off": len(lost),
        "loans_closed_on_time": len(on_time),
        "loans_outstanding_cents": sum(loan.outstanding_cents for loan in living),
        "overdue_cents": sum(due.amount_cents for due, _ in owed),
        "current_dpd_days": max((ms // DAY_MS for _, ms in owed), default=0),
        "worst_dpd_days": max(days, default=0),
        "dues_late_share": sum(day > 0 for day in days) / len(met) if met else nan,
        "dues_days_late_mean": sum(ms for *_, ms, _ in met) / len(met) / DAY_MS if met else nan,
        "last_due_days_late": last_due[2] / DAY_MS if last_due else nan,
        "days_since_last_loan_closed": _days_since(max, [x.closed_at for x in closed], as_of),
        "days_since_last_loan_disbursed": _days_since(max, [x.disbursed_at for x in known], as_of),
        "days_since_first_loan_disbursed": _days_since(min, [x.disbursed_at for x in known], as_of),
        "last_loan_principal_cents": newest.principal_cents if newest else nan,
    }


def _days_since(which: object, times: Sequence[int], as_of: int) -> float:
    assert callable(which)
    return (as_of - which(times)) / DAY_MS if times else math.nan


def line_values(lines: Sequence[Line], own: Line | None, as_of: int) -> dict[str, float]:
    """Return the facts of source "lines"; `own` is the line drawn on."""
    active = [line for line in lines if line.state == LineState.ACTIVE and line.opened_at < as_of]
    limit = sum(line.limit_cents for line in active)
    used = limit - sum(line.available_cents for line in active)
    if own is not None and own.opened_at >= as_of:
        own = None
    nan = math.nan
    own_used = nan
    if own and own.limit_cents:
        own_used = (own.limit_cents - own.available_cents) / own.limit_cents
    return {
        "lines_active": len(active),
        "lines_limit_cents": limit,
        "lines_utilisation": used / limit if limit else nan,
        "line_limit_cents": own.limit_cents if own else nan,
        "line_available_cents": max(own.available_cents, 0) if own else nan,
        "line_utilisation": own_used,
        "line_age_days": (as_of - own.opened_at) / DAY_MS if own else nan,
    }


def vector(
    catalog: Catalog,
    request: Request,
    events: Sequence[Event] = (),
    loans: Sequence[Loan] = (),
    lines: Sequence[Line] = (),
    own: Line | None = None,
    attributes: Mapping[str, float] | None = None,
    signals: Mapping[str, tuple[float, int]] | None = None,
    applicant: dict[str, float] | None = None,
) -> dict[str, float]:
    """Return the whole vector by name. Signals: column to (value, at). `applicant`: its facts, by
    default those of the tests beside this file.
    """
    facts: dict[str, dict[str, float]] = {
        "request": {
            "amount_cents": request.amount_cents,
            "tenor_days": request.tenor_days,
            "is_drawdown": request.drawdown,
            # Day 0 of the epoch was a Thursday, 3 counted from Monday.
            "hour": request.at % DAY_MS // (60 * 60 * 1000),
            "weekday": (request.at // DAY_MS + 3) % 7,
        },
        "applicant": applicant or {"open_offers": 2, "reserved_cents": 70, "history_truncated": 1},
        "loans": loan_values(loans, request.at),
        "lines": line_values(lines, own, request.at),
    }
    ttl = {signal.column: signal.ttl_ms for signal in catalog.signals}
    values: dict[str, float] = {}
    for feature in catalog.features:
        value = math.nan
        if feature.source == "window":
            value = window_value(feature, events, request.at)
        elif feature.source == "attribute":
            value = (attributes or {}).get(feature.of, math.nan)
        elif feature.source == "signal":
            sent, at = (signals or {}).get(feature.of, (math.nan, 0))
            if at > 0 and at < request.at <= at + ttl[feature.of]:
                value = sent if feature.aggregate == "value" else (request.at - at) / DAY_MS
        elif feature.source == "ratio":
            below = values[feature.denominator]
            value = values[feature.numerator] / below if below else math.nan
        else:
            value = float(facts[feature.source][feature.aggregate])
        values[feature.name] = feature.missing if math.isnan(value) else value
    return values
