"""Every reason code of the platform, once, in order of precedence.

A decision's reasons are a 64-bit mask, bit i for the i-th row here, so the order of this list is
the order in which reasons are reported: the first one gives a declined request its outcome class,
and at most four are told. Classes follow the order of `streams.schema.Outcome`. Rows are
append-only within a class in spirit, but their bits are no interface: outside of a process a reason
is its code.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.limits import REASON_CODES_MAX, REASONS_MAX
from streams.schema import Outcome

BY_RULE = "rule"  # a policy's rules may name it
BY_JUDGE = "judge"  # the decide stage itself: price, amount, tenor, score
BY_CORE = "core"  # stages around it: lines, room, leases, offers


class Reason(NamedTuple):
    """One reason: its code, the outcome class that it leads to, who sets it, and what the applicant
    is told.
    """

    code: str
    outcome: Outcome
    set_by: str
    told: str


# Fraud detail is never disclosed: whoever tests the defences learns nothing from the answer.
_UNDISCLOSED = "We could not verify the application."

_E, _F, _C, _D = Outcome.ELIGIBILITY, Outcome.FRAUD, Outcome.CREDIT, Outcome.DATA

REASONS: tuple[Reason, ...] = (
    Reason("line_unknown", _E, BY_CORE, "There is no such credit line of yours."),
    Reason("line_not_active", _E, BY_CORE, "The credit line is not active."),
    Reason("institution_paused", _E, BY_CORE, "The lender takes no new business now."),
    Reason("line_exceeded", _E, BY_JUDGE, "The amount is above what is left of the credit line."),
    Reason("no_institution", _E, BY_CORE, "No institution offers this product here."),
    Reason("tenor_not_offered", _E, BY_JUDGE, "The lender does not offer this term."),
    Reason("amount_below_min", _E, BY_JUDGE, "The amount is below the lender's minimum."),
    Reason("amount_above_max", _E, BY_JUDGE, "The amount is above the lender's maximum."),
    Reason("age_out_of_range", _E, BY_RULE, "The lender does not serve this age."),
    Reason("region_not_served", _E, BY_RULE, "The lender does not serve this region."),
    Reason("industry_not_served", _E, BY_RULE, "The lender does not serve this industry."),
    Reason("firm_too_young", _E, BY_RULE, "The firm has not existed long enough."),
    Reason("firm_too_small", _E, BY_RULE, "The firm is below the lender's smallest size."),
    Reason("employment_too_short", _E, BY_RULE, "Length of employment."),
    Reason("customers_only", _E, BY_RULE, "The lender serves known customers only."),
    Reason("line_already_open", _E, BY_RULE, "A credit line of this kind is already open."),
    Reason("purpose_not_served", _E, BY_RULE, "The lender does not serve this use."),
    Reason("device_risk", _F, BY_RULE, _UNDISCLOSED),
    Reason("device_changed", _F, BY_RULE, _UNDISCLOSED),
    Reason("velocity", _F, BY_RULE, _UNDISCLOSED),
    Reason("identity_mismatch", _F, BY_RULE, _UNDISCLOSED),
    Reason("activity_unusual", _F, BY_RULE, _UNDISCLOSED),
    Reason("circular_trade", _F, BY_RULE, _UNDISCLOSED),
    Reason("refund_abuse", _F, BY_RULE, _UNDISCLOSED),
    Reason("worst_dpd", _C, BY_RULE, "Past or present payments were late."),
    Reason("recent_delinquency", _C, BY_RULE, "Payments were late recently."),
    Reason("late_share_high", _C, BY_RULE, "Too many payments were late."),
    Reason("written_off", _C, BY_RULE, "An earlier loan was written off."),
    Reason("over_indebted", _C, BY_RULE, "Debts are too high for the income."),
    Reason("too_many_open_loans", _C, BY_RULE, "Too many loans are open."),
    Reason("utilisation_high", _C, BY_RULE, "Credit lines are used too far."),
    Reason("income_too_low", _C, BY_RULE, "The income is too low for the request."),
    Reason("revenue_too_low", _C, BY_RULE, "The revenue is too low for the request."),
    Reason("revenue_falling", _C, BY_RULE, "The revenue is falling."),
    Reason("turnover_too_low", _C, BY_RULE, "The trade of the last months is too low."),
    Reason("concentration_high", _C, BY_RULE, "Too much of the trade is with one partner."),
    Reason("invoices_disputed", _C, BY_RULE, "Too many invoices were credited or disputed."),
    Reason("bureau_score_low", _C, BY_RULE, "The credit bureau's score is too low."),
    Reason("bureau_delinquency", _C, BY_RULE, "The credit bureau reports late payments."),
    Reason("tax_grade_low", _C, BY_RULE, "The tax grade is too low."),
    Reason("history_too_short", _C, BY_RULE, "The credit history is too short."),
    Reason("score_above_cut_off", _C, BY_JUDGE, "The risk of default is too high."),
    Reason("amount_above_limit", _C, BY_JUDGE, "The amount is above the limit for this risk."),
    Reason("limit_below_min", _C, BY_JUDGE, "The limit for this risk is below the minimum."),
    Reason("tenor_above_band", _C, BY_JUDGE, "The term is too long for this risk."),
    Reason("score_missing", _D, BY_JUDGE, "There is no score for this applicant."),
    Reason("limit_basis_missing", _D, BY_JUDGE, "The income or revenue is not known."),
    Reason("income_unverified", _D, BY_RULE, "The income could not be verified."),
    Reason("bureau_missing", _D, BY_RULE, "There is no credit bureau record."),
    Reason("data_stale", _D, BY_RULE, "The data held is too old."),
    Reason("data_incomplete", _D, BY_RULE, "Data needed for the decision is missing."),
    Reason("no_room", _D, BY_CORE, "The platform cannot take the request now."),
    Reason(
        "apr_above_ceiling", Outcome.PRICE_CAP, BY_JUDGE, "The price would be above the legal cap."
    ),
    Reason("capacity", Outcome.CAPACITY, BY_CORE, "No lender has funds left for this now."),
    Reason("expired", Outcome.EXPIRED, BY_CORE, "The offer has expired."),
)

BIT: dict[str, int] = {reason.code: bit for bit, reason in enumerate(REASONS)}

assert len(REASONS) <= REASON_CODES_MAX
assert len(BIT) == len(REASONS), "a reason code stands twice"
assert [r.outcome for r in REASONS] == sorted(r.outcome for r in REASONS), "classes out of order"

# Bits that kernels set; plain module integers, since Numba takes those as constants.
LINE_UNKNOWN = BIT["line_unknown"]
LINE_NOT_ACTIVE = BIT["line_not_active"]
INSTITUTION_PAUSED = BIT["institution_paused"]
LINE_EXCEEDED = BIT["line_exceeded"]
NO_INSTITUTION = BIT["no_institution"]
TENOR_NOT_OFFERED = BIT["tenor_not_offered"]
AMOUNT_BELOW_MIN = BIT["amount_below_min"]
AMOUNT_ABOVE_MAX = BIT["amount_above_max"]
SCORE_ABOVE_CUT_OFF = BIT["score_above_cut_off"]
AMOUNT_ABOVE_LIMIT = BIT["amount_above_limit"]
LIMIT_BELOW_MIN = BIT["limit_below_min"]
TENOR_ABOVE_BAND = BIT["tenor_above_band"]
SCORE_MISSING = BIT["score_missing"]
LIMIT_BASIS_MISSING = BIT["limit_basis_missing"]
NO_ROOM = BIT["no_room"]
APR_ABOVE_CEILING = BIT["apr_above_ceiling"]
CAPACITY = BIT["capacity"]
EXPIRED = BIT["expired"]


def outcome_by_bit() -> NDArray[np.int32]:
    """Return int32[REASON_CODES_MAX]: the outcome class of each bit; unused bits are 0."""
    classes = np.zeros(REASON_CODES_MAX, np.int32)
    classes[: len(REASONS)] = [int(reason.outcome) for reason in REASONS]
    return classes


def mask_of(codes: list[str] | tuple[str, ...]) -> int:
    """Return the mask of reason codes."""
    return sum(1 << BIT[code] for code in set(codes))


def codes_of(mask: int, count_max: int = len(REASONS)) -> tuple[str, ...]:
    """Return the codes of a mask in order of precedence, at most `count_max`."""
    return tuple(r.code for bit, r in enumerate(REASONS) if mask >> bit & 1)[:count_max]


def told_reasons(mask: int) -> tuple[Reason, ...]:
    """Return what an applicant is told: the first four in order, each sentence once."""
    told: dict[str, Reason] = {}
    for bit, reason in enumerate(REASONS):
        if mask >> bit & 1:
            told.setdefault(reason.told, reason)
    return tuple(told.values())[:REASONS_MAX]
