"""The decide stage in plain Python: walks the plans and the trees of rules, never the tables."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from models.policy.arms import CHALLENGER
from models.policy.build import CeilingPlan, PolicyPlan, ProductPlan, SectionPlan
from models.policy.expression import (
    FEATURE,
    PD,
    And,
    Between,
    Column,
    Compare,
    In,
    Listed,
    Missing,
    Node,
    Not,
    Op,
    Or,
)
from models.policy.lists import Entry
from models.policy.matrix import REFUSED, Matrix
from models.policy.price import PART, apr_bps, instalment_parts
from models.policy.reasons import REASONS
from models.policy.tokens import TOKENS
from streams.limits import AMOUNT_CENTS_MAX

_COMPARE = {
    Op.LT: lambda a, b: a < b,
    Op.LE: lambda a, b: a <= b,
    Op.GT: lambda a, b: a > b,
    Op.GE: lambda a, b: a >= b,
    Op.EQ: lambda a, b: a == b,
    Op.NE: lambda a, b: a != b,
}


class Request:
    """What is asked, with everything known of it."""

    def __init__(
        self, amount_cents: int, tenor_days: int, at: int, *, preset: set[str], available: int
    ) -> None:
        self.amount_cents = amount_cents
        self.tenor_days = tenor_days
        self.at = at
        self.preset = preset
        self.available = available
        self.features: dict[int, float] = {}
        self.raw: dict[int, float] = {}
        self.pd: dict[int, int] = {}
        self.tokens: dict[int, bytes] = {}
        self.lists: Sequence[Sequence[Entry]] = ()
        self.applicant = 0  # keyed hash

    def is_on(self, token: int, row: int) -> bool:
        """Return whether one of its tokens stands on a list and the entry still counts."""
        kinds = range(len(TOKENS)) if token == len(TOKENS) else [token]
        return any(
            entry.kind in kinds
            and self.tokens.get(entry.kind) == entry.token
            and self.at < entry.until
            for entry in self.lists[row]
        )

    def value(self, column: Column) -> float | None:
        """Return a column's value, None where it is missing."""
        if column.space == PD:
            pd = self.pd.get(column.row, -1)
            return None if pd < 0 else float(pd)
        known = self.features if column.space == FEATURE else self.raw
        value = known.get(column.row, math.nan)
        return None if math.isnan(value) else value


def holds(node: Node, request: Request) -> bool:
    """Return whether a rule's tree is true for a request."""
    match node:
        case And(left, right):
            return holds(left, request) and holds(right, request)
        case Or(left, right):
            return holds(left, request) or holds(right, request)
        case Not(operand):
            return not holds(operand, request)
        case Listed(token, row, negated):
            given = token == len(TOKENS) or token in request.tokens
            return given and request.is_on(token, row) != negated
        case Missing(column, negated):
            return (request.value(column) is None) != negated
        case In(column, values, negated):
            known = request.value(column)
            return known is not None and (known in values) != negated
        case Between(column, low, high, negated):
            known = request.value(column)
            return known is not None and (low <= known <= high) != negated
        case Compare(column, op, constant, other):
            left_value = request.value(column)
            against = constant
            if other is not None:
                factor = request.value(other)
                if factor is None:
                    return False
                against = constant * factor
            return left_value is not None and bool(_COMPARE[op](left_value, against))
    raise AssertionError(node)


def find_class(matrix: Matrix, request: Request) -> int | None:
    """Return what stands where the bands of both values cross."""
    places = []
    for side in (matrix.rows, matrix.columns):
        value = request.value(side.column)
        ends = [-math.inf, *side.edges, math.inf]
        held = [n for n in range(len(ends) - 1) if value is not None and ends[n] <= value]
        places.append(-1 if value is None else held[-1])
    cell = matrix.cells[places[0]][places[1]]
    return None if cell == REFUSED else cell


def find_band(section: SectionPlan, pd: int, request: Request) -> int | None:
    """Return what the matrix gives, or the first band that reaches up to `pd`."""
    if section.matrix is not None:
        return find_class(section.matrix, request)
    if section.model < 0:
        return 0
    holding = [n for n, each in enumerate(section.bands) if 0 <= pd <= each.pd_ppm_max]
    return holding[0] if holding else None


def price(
    section: SectionPlan, band: int | None, ceiling: int | None, request: Request, reasons: set[str]
) -> tuple[int, int]:
    """Return rate and yearly cost; add why the price cannot be offered."""
    if request.tenor_days not in section.tenors_days:
        reasons.add("tenor_not_offered")
        return 0, 0
    if band is None:
        return 0, 0
    row = section.bands[band]
    apr = apr_bps(section.method, request.tenor_days, row.rate_bps, row.fee_bps)
    if request.tenor_days > row.tenor_days_max:
        reasons.add("tenor_above_band")
    if ceiling is not None and apr > ceiling:
        reasons.add("apr_above_ceiling")
    return row.rate_bps, apr


def payable(section: SectionPlan, rate_bps: int, request: Request) -> int | None:
    """Return the largest amount whose payment fits beside the burden; None: unknown."""
    service = section.service
    if service is None or request.tenor_days not in section.tenors_days:
        return AMOUNT_CENTS_MAX
    columns = [service.income] if service.burden < 0 else [service.income, service.burden]
    known = [request.features.get(column, math.nan) for column in columns]
    if any(math.isnan(value) for value in known):
        return AMOUNT_CENTS_MAX if service.optional else None
    income, burden = [int(min(max(value, 0), AMOUNT_CENTS_MAX)) for value in [*known, 0.0]][:2]
    room = income * service.share_bps // 10_000 - burden
    parts = Fraction(instalment_parts(section.method, request.tenor_days, rate_bps), PART)
    return max(0, min(AMOUNT_CENTS_MAX, math.floor(room / parts)))


def size(section: SectionPlan, band: int | None, request: Request, reasons: set[str]) -> int:
    """Return the amount; add why it cannot be offered."""
    amount = request.amount_cents
    if amount < section.amount_cents_min:
        reasons.add("amount_below_min")
    if amount > section.amount_cents_max:
        amount = section.amount_cents_max
        if not section.partial:
            reasons.add("amount_above_max")
    if request.available >= 0 and amount > request.available:
        amount = request.available
        if not section.partial or amount < section.amount_cents_min:
            reasons.add("line_exceeded")
    if band is None:
        return amount
    limit = section.bands[band].limit_cents
    share = section.bands[band].limit_income_bps
    if share >= 0:
        basis = request.features.get(section.basis, math.nan)
        if math.isnan(basis):
            reasons.add("limit_basis_missing")
            return amount
        limit = min(limit, int(min(max(basis, 0), AMOUNT_CENTS_MAX)) * share // 10_000)
    affordable = payable(section, section.bands[band].rate_bps, request)
    if affordable is None:
        reasons.add("limit_basis_missing")
        return amount
    limit = min(limit, affordable)
    if limit < section.amount_cents_min:
        reasons.add("limit_below_min")
    elif amount > limit:
        amount = limit
        if not section.partial:
            reasons.add("amount_above_limit")
    return amount


def decide(
    section: SectionPlan, side: int, ceilings: list[CeilingPlan], request: Request
) -> dict[str, Any]:
    """Return one verdict as a dict of names."""
    reasons = set(request.preset)
    codes = [reason.code for reason in REASONS]
    fired = [number for number, rule in enumerate(section.rules) if holds(rule.node, request)]
    reasons |= {codes[section.rules[number].reason] for number in fired}
    pd = request.pd.get(section.model, -1) if section.model >= 0 else -1
    if section.model >= 0 and pd < 0:
        reasons.add("score_missing")
    if pd > section.cut_off_pd_ppm:
        reasons.add("score_above_cut_off")
    in_force = [c for c in ceilings if c.side == side and c.from_at <= request.at]
    ceiling = max(in_force, key=lambda c: c.from_at).apr_bps if in_force else None
    band = find_band(section, pd, request)
    rate, apr = price(section, band, ceiling, request, reasons)
    amount = size(section, band, request, reasons)
    first = next((reason for reason in REASONS if reason.code in reasons), None)
    chance = bucket(request.applicant, section.random_salt) < section.random_ppm
    let_in = reasons == {"score_above_cut_off"} and chance and band is not None
    approved = first is None or let_in
    row = section.bands[band or 0]
    parts = instalment_parts(section.method, request.tenor_days, row.rate_bps) if approved else 0
    return {
        "outcome": 0 if first is None or approved else int(first.outcome),
        "band": -1 if band is None else band,
        "rate_bps": rate,
        "apr_bps": apr,
        "tenor_days": request.tenor_days,
        "method": section.method,
        "cap": section.cap if approved else -1,
        "rank": -1,
        "reasons": sum(1 << codes.index(code) for code in reasons),
        "pd_ppm": pd,
        "amount_cents": amount if approved else 0,
        "fee_cents": amount * row.fee_bps // 10_000 if approved else 0,
        "instalment_cents": math.ceil(Fraction(amount * parts, PART)) if approved else 0,
        "offer_ms": section.offer_ms if approved else 0,
        "fired": fired,
    }


def judge(
    products: list[ProductPlan],
    ceilings: list[CeilingPlan],
    plans: list[PolicyPlan],
    where: tuple[int, int, int, int],
    request: Request,
) -> list[dict[str, Any]]:
    """Return a verdict per policy that fits; `where`: section, product, channel, institution."""
    which, product, channel, institution = where
    verdicts = []
    for row, plan in enumerate(plans):
        section = plan.sections[which]
        if plan.product != product or section is None:
            continue
        if institution not in (-1, plan.institution):
            continue
        if channel != -1 and not plan.channels >> channel & 1:
            continue
        inside = bucket(request.applicant, plan.salt) < plan.share_ppm
        if plan.salt and inside != (plan.arm == CHALLENGER):
            continue
        verdict = decide(section, products[product].side, ceilings, request)
        verdicts.append({**verdict, "policy": row, "institution": plan.institution})
    return verdicts


def bucket(applicant: int, salt: int) -> int:
    """Return the bucket of an applicant in an experiment, by splitmix64 in unbounded integers."""
    bits, low = applicant ^ salt, 2**64 - 1
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & low
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & low
    bits ^= bits >> 31
    return (bits >> 40) * 1_000_000 // 2**24


def rank(ranking: int, verdicts: list[dict[str, Any]]) -> list[int]:
    """Return the rows of the offers, best first."""
    offers = [row for row, verdict in enumerate(verdicts) if verdict["outcome"] == 0]

    def place(row: int) -> tuple[int, int, int]:
        verdict = verdicts[row]
        amount = -verdict["amount_cents"] if ranking == 1 else 0
        return amount, verdict["apr_bps"], verdict["institution"]

    return sorted(offers, key=place)
