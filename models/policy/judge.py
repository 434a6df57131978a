"""Stage 7, decide: a verdict of every policy that fits a request, then the offers in order.

The kernels compare, add, multiply and divide integers; float64 only compares features with
constants. They read nothing but their arguments and write nothing but `verdicts`, `rule_masks`,
`order` and scratch.
"""

import math

import numpy as np
from numpy.typing import NDArray

from models.policy import reasons as r
from models.policy.arms import let_in, takes_part
from models.policy.expression import FEATURE, RAW
from models.policy.price import PART
from models.policy.rules import fire_rules
from models.policy.tables import RANK_AMOUNT, PolicyScratch, PolicyTables
from streams.buffers import Array
from streams.compile import kernel
from streams.limits import AMOUNT_CENTS_MAX, BPS
from streams.schema import Outcome

_APPROVED = int(Outcome.APPROVED)

_LINE_EXCEEDED = r.LINE_EXCEEDED
_TENOR_NOT_OFFERED = r.TENOR_NOT_OFFERED
_AMOUNT_BELOW_MIN = r.AMOUNT_BELOW_MIN
_AMOUNT_ABOVE_MAX = r.AMOUNT_ABOVE_MAX
_SCORE_ABOVE_CUT_OFF = r.SCORE_ABOVE_CUT_OFF
_AMOUNT_ABOVE_LIMIT = r.AMOUNT_ABOVE_LIMIT
_LIMIT_BELOW_MIN = r.LIMIT_BELOW_MIN
_TENOR_ABOVE_BAND = r.TENOR_ABOVE_BAND
_SCORE_MISSING = r.SCORE_MISSING
_LIMIT_BASIS_MISSING = r.LIMIT_BASIS_MISSING
_APR_ABOVE_CEILING = r.APR_ABOVE_CEILING


@kernel
def reason_bit(bit: int) -> np.uint64:
    """Return the mask of one reason."""
    return np.uint64(1) << np.uint64(bit)


@kernel
def _copy_mask(
    policies: PolicyTables,
    scratch: PolicyScratch,
    section_row: int,
    column: int,
    mask: NDArray[np.uint64],
) -> None:
    """Write to `mask` which rules of a section fired for one request."""
    first = policies.sections[section_row]["word_start"]
    words = policies.sections[section_row]["word_stop"] - first
    assert words <= mask.shape[0]
    for word in range(mask.shape[0]):
        mask[word] = scratch.masks[column, first + word] if word < words else np.uint64(0)


@kernel
def share_of(amount: int, share: int, whole: int) -> int:
    """Return amount × share ÷ whole rounded down, without leaving int64; none is negative, whole ≥
    1.
    """
    return amount // whole * share + amount % whole * share // whole


@kernel
def _ceiling_bps(policies: PolicyTables, side: int, at: int) -> int:
    """Return the legal ceiling on the yearly cost in force at `at`, -1 where there is none."""
    ceiling = -1
    for row in range(policies.ceilings.shape[0]):
        if policies.ceilings[row]["side"] == side and policies.ceilings[row]["from_at"] <= at:
            ceiling = policies.ceilings[row]["apr_bps"]
    return ceiling


@kernel
def _find_place(
    policies: PolicyTables,
    start: int,
    stop: int,
    space: int,
    index: int,
    vectors: NDArray[np.float64],
    raw: NDArray[np.float64],
    pd_ppm: NDArray[np.int64],
    column: int,
) -> int:
    """Return the band of a matrix's side that holds its value: how many edges are not above it, one
    more than there are bands where it is missing.
    """
    if space == FEATURE:
        value = vectors[index, column]
    elif space == RAW:
        value = raw[index, column]
    else:
        value = math.nan if pd_ppm[index, column] < 0 else float(pd_ppm[index, column])
    if math.isnan(value):
        return stop - start + 1
    place = start
    while place < stop and policies.edges[place] <= value:
        place += 1
    return place - start


@kernel
def _find_class(
    policies: PolicyTables,
    matrix: int,
    vectors: NDArray[np.float64],
    raw: NDArray[np.float64],
    pd_ppm: NDArray[np.int64],
    column: int,
) -> int:
    """Return the band that a matrix gives request `column`, -1: it refuses."""
    table = policies.matrices[matrix]
    i = _find_place(
        policies, table["row_start"], table["row_stop"], table["row_space"], table["row_index"],
        vectors, raw, pd_ppm, column,
    )  # fmt: skip
    j = _find_place(
        policies, table["column_start"], table["column_stop"], table["column_space"],
        table["column_index"], vectors, raw, pd_ppm, column,
    )  # fmt: skip
    width = table["column_stop"] - table["column_start"] + 2
    return policies.cells[table["cell_start"] + i * width + j]


@kernel
def _find_band(
    policies: PolicyTables,
    section_row: int,
    pd: int,
    vectors: NDArray[np.float64],
    raw: NDArray[np.float64],
    pd_ppm: NDArray[np.int64],
    column: int,
) -> int:
    """Return the band (from 0 in its section) that its matrix gives, or that holds `pd`; -1: there
    is none, or no score.
    """
    start = policies.sections[section_row]["band_start"]
    stop = policies.sections[section_row]["band_stop"]
    if policies.sections[section_row]["matrix"] >= 0:
        return _find_class(
            policies, policies.sections[section_row]["matrix"], vectors, raw, pd_ppm, column
        )
    if policies.sections[section_row]["model"] < 0:
        return 0
    if pd < 0:
        return -1
    for band in range(start, stop):
        if pd <= policies.bands[band]["pd_ppm_max"]:
            return band - start
    return -1


@kernel
def _find_tenor(policies: PolicyTables, section_row: int, tenor_days: int) -> int:
    """Return the place of the tenor among those that the section offers, -1 where it does not."""
    start = policies.sections[section_row]["tenor_start"]
    stop = policies.sections[section_row]["tenor_stop"]
    for place in range(start, stop):
        if policies.tenors[place] == tenor_days:
            return place - start
    return -1


@kernel
def _price(
    policies: PolicyTables, section_row: int, side: int, at: int, verdict: Array
) -> np.uint64:
    """Write the price of the verdict's band and tenor; return why it may not be offered.

    Reads `band` and `tenor_days` of the one-row `verdict`, writes `rate_bps`, `apr_bps`.
    """
    band = verdict[0]["band"]
    place = _find_tenor(policies, section_row, verdict[0]["tenor_days"])
    if place < 0:
        return reason_bit(_TENOR_NOT_OFFERED)
    if band < 0:
        return np.uint64(0)
    section = policies.sections[section_row]
    row = section["band_start"] + band
    price = section["price_start"] + band * (section["tenor_stop"] - section["tenor_start"]) + place
    verdict[0]["rate_bps"] = policies.bands[row]["rate_bps"]
    verdict[0]["apr_bps"] = policies.prices[price]["apr_bps"]
    reasons = np.uint64(0)
    if verdict[0]["tenor_days"] > policies.bands[row]["tenor_days_max"]:
        reasons |= reason_bit(_TENOR_ABOVE_BAND)
    ceiling = _ceiling_bps(policies, side, at)
    if ceiling >= 0 and verdict[0]["apr_bps"] > ceiling:
        reasons |= reason_bit(_APR_ABOVE_CEILING)
    return reasons


@kernel
def _cents(value: float) -> int:
    """Return a known value of a column as cents within what an amount can be."""
    return int(min(max(value, 0.0), float(AMOUNT_CENTS_MAX)))


@kernel
def _affordable(
    policies: PolicyTables,
    section_row: int,
    band: int,
    tenor_days: int,
    vectors: NDArray[np.float64],
    column: int,
) -> int:
    """Return the largest amount whose payments leave the burden within its share of the income; -1:
    one of them is missing and needed.
    """
    section = policies.sections[section_row]
    if section["service_income"] < 0:
        return AMOUNT_CENTS_MAX
    place = _find_tenor(policies, section_row, tenor_days)
    if place < 0:
        return AMOUNT_CENTS_MAX
    income = vectors[section["service_income"], column]
    burden = 0.0
    if section["service_burden"] >= 0:
        burden = vectors[section["service_burden"], column]
    if math.isnan(income) or math.isnan(burden):
        return AMOUNT_CENTS_MAX if section["service_optional"] == 1 else -1
    room = share_of(_cents(income), section["service_share_bps"], BPS) - _cents(burden)
    if room <= 0:
        return 0
    price = section["price_start"] + band * (section["tenor_stop"] - section["tenor_start"]) + place
    # A payment is rounded up to a whole cent: it fits where amount × parts ÷ PART does.
    return min(AMOUNT_CENTS_MAX, share_of(room, PART, policies.prices[price]["instalment_parts"]))


@kernel
def _band_limit(
    policies: PolicyTables, section_row: int, band: int, vectors: NDArray[np.float64], column: int
) -> int:
    """Return the most that a band lends: its limit, or a share of the basis; -1: the basis is
    missing.
    """
    row = policies.sections[section_row]["band_start"] + band
    limit = policies.bands[row]["limit_cents"]
    share = policies.bands[row]["limit_bps"]
    if share < 0:
        return limit
    basis = vectors[policies.sections[section_row]["basis"], column]
    if math.isnan(basis):
        return -1
    return min(limit, share_of(_cents(basis), share, BPS))


@kernel
def _size(
    policies: PolicyTables,
    section_row: int,
    amount_cents: int,
    available_cents: int,
    vectors: NDArray[np.float64],
    column: int,
    verdict: Array,
) -> np.uint64:
    """Write the amount that could be offered; return why none can.

    Reads `band`, writes `amount_cents`: what was asked or, where the section may offer less, the
    least of that, the section's maximum, what is available, the band's limit and what can be paid.
    """
    section = policies.sections[section_row]
    least = section["amount_cents_min"]
    partial = section["partial"] == 1
    reasons = np.uint64(0)
    amount = amount_cents
    if amount < least:
        reasons |= reason_bit(_AMOUNT_BELOW_MIN)
    if amount > section["amount_cents_max"]:
        amount = section["amount_cents_max"]
        if not partial:
            reasons |= reason_bit(_AMOUNT_ABOVE_MAX)
    if available_cents >= 0 and amount > available_cents:
        amount = available_cents
        if not partial or amount < least:
            reasons |= reason_bit(_LINE_EXCEEDED)
    band = verdict[0]["band"]
    if band >= 0:
        limit = _band_limit(policies, section_row, band, vectors, column)
        tenor = verdict[0]["tenor_days"]
        limit = min(limit, _affordable(policies, section_row, band, tenor, vectors, column))
        if limit < 0:
            reasons |= reason_bit(_LIMIT_BASIS_MISSING)
        elif limit < least:
            reasons |= reason_bit(_LIMIT_BELOW_MIN)
        elif amount > limit:
            amount = limit
            if not partial:
                reasons |= reason_bit(_AMOUNT_ABOVE_LIMIT)
    verdict[0]["amount_cents"] = amount
    return reasons


@kernel
def _conclude(policies: PolicyTables, section_row: int, reasons: np.uint64, verdict: Array) -> None:
    """Write outcome and reasons; an approval gets its fee and instalment, a refusal loses its
    amount.
    """
    verdict[0]["reasons"] = reasons
    verdict[0]["fee_cents"] = 0
    verdict[0]["instalment_cents"] = 0
    if reasons != np.uint64(0):
        bit = 0
        while reasons & reason_bit(bit) == np.uint64(0):
            bit += 1
        verdict[0]["outcome"] = policies.outcome[bit]
        verdict[0]["amount_cents"] = 0
        verdict[0]["offer_ms"] = 0
        verdict[0]["cap"] = -1
        return
    section = policies.sections[section_row]
    band = verdict[0]["band"]
    place = _find_tenor(policies, section_row, verdict[0]["tenor_days"])
    assert band >= 0
    assert place >= 0
    price = section["price_start"] + band * (section["tenor_stop"] - section["tenor_start"]) + place
    amount = verdict[0]["amount_cents"]
    parts = policies.prices[price]["instalment_parts"]
    verdict[0]["outcome"] = _APPROVED
    verdict[0]["fee_cents"] = share_of(
        amount, policies.bands[section["band_start"] + band]["fee_bps"], BPS
    )
    # Rounded up to a whole cent; the last payment is what is then left.
    verdict[0]["instalment_cents"] = (
        amount // PART * parts + (amount % PART * parts + (PART - 1)) // PART
    )
    verdict[0]["offer_ms"] = section["offer_ms"]
    verdict[0]["cap"] = section["cap"]


@kernel
def judge(
    policies: PolicyTables,
    scratch: PolicyScratch,
    section: int,
    product: int,
    channel: int,
    institution: int,
    amount_cents: int,
    tenor_days: int,
    at: int,
    preset_reasons: np.uint64,
    available_cents: int,
    vectors: NDArray[np.float64],
    raw: NDArray[np.float64],
    pd_ppm: NDArray[np.int64],
    column: int,
    verdicts: Array,
    rule_masks: NDArray[np.uint64],
) -> int:
    """Write one verdict per policy that fits; return how many, in the order of policies
    (institution id).

    A policy fits when it is of `product` (code), has `section` (0 application, 1 drawdown), serves
    `channel` (code, -1: any), is of `institution` (code, -1: any) and, in an experiment, of the arm
    of the applicant (`scratch.who`). `amount_cents` ≥ 1 and
    `tenor_days` ≥ 1 are what was asked, `at` the request's time in epoch ms, `preset_reasons` a
    mask that every verdict bears, `available_cents` what is left of the line (-1: no bound).
    `scratch` knows the block (`rules.begin_block`), whose rules run for the first request of a
    product. Request `column` of `vectors` float64[columns, BLOCK] (NaN missing), `raw`
    float64[models, BLOCK] and `pd_ppm` int64[models, BLOCK] (-1 missing) is read.

    Writes rows 0 to n - 1 of `verdicts` (schema.VERDICT) and of `rule_masks` uint64[rows, words]:
    bit i is the i-th rule of the section. Every rule runs and every reason is set, also after a
    refusal. A declined verdict keeps its PD, band and price, its money fields are 0. One that was
    approved at random keeps the reason for which it would have been declined. `rank` is -1
    until `rank` sets it.
    """
    if product < 0 or product >= policies.products.shape[0]:
        return 0
    count = 0
    side = policies.products[product]["side"]
    for row in range(
        policies.products[product]["policy_start"], policies.products[product]["policy_stop"]
    ):
        policy = policies.policies[row]
        section_row = policy["section"][section]
        if section_row < 0 or (institution >= 0 and policy["institution"] != institution):
            continue
        if channel >= 0 and policy["channels"] & reason_bit(channel) == np.uint64(0):
            continue
        if policy["salt"] != np.uint64(0) and not takes_part(policies, scratch, row):
            continue
        if count == 0:
            fire_rules(policies, scratch, product, section, vectors, raw, pd_ppm)
        assert count < verdicts.shape[0]
        verdict = verdicts[count : count + 1]
        model = policies.sections[section_row]["model"]
        pd = -1
        if model >= 0:
            pd = int(pd_ppm[model, column])
        reasons = np.uint64(preset_reasons) | scratch.reasons[column, section_row]
        _copy_mask(policies, scratch, section_row, column, rule_masks[count])
        if model >= 0 and pd < 0:
            reasons |= reason_bit(_SCORE_MISSING)
        if pd > policies.sections[section_row]["cut_off_pd_ppm"]:
            reasons |= reason_bit(_SCORE_ABOVE_CUT_OFF)
        verdict[0]["policy"] = row
        verdict[0]["institution"] = policy["institution"]
        verdict[0]["band"] = _find_band(policies, section_row, pd, vectors, raw, pd_ppm, column)
        verdict[0]["rate_bps"] = 0
        verdict[0]["apr_bps"] = 0
        verdict[0]["tenor_days"] = tenor_days
        verdict[0]["method"] = policies.sections[section_row]["method"]
        verdict[0]["rank"] = -1
        verdict[0]["pd_ppm"] = pd
        reasons |= _price(policies, section_row, side, at, verdict)
        reasons |= _size(
            policies, section_row, amount_cents, available_cents, vectors, column, verdict
        )
        if verdict[0]["band"] >= 0 and let_in(policies, scratch, section_row, reasons):
            _conclude(policies, section_row, np.uint64(0), verdict)
            verdict[0]["reasons"] = reasons
        else:
            _conclude(policies, section_row, reasons, verdict)
        count += 1
    return count


@kernel
def _goes_before(ranking: int, verdicts: Array, a: int, b: int) -> bool:
    """Return whether offer `a` ranks before `b`."""
    if ranking == RANK_AMOUNT and verdicts[a]["amount_cents"] != verdicts[b]["amount_cents"]:
        return verdicts[a]["amount_cents"] > verdicts[b]["amount_cents"]
    if verdicts[a]["apr_bps"] != verdicts[b]["apr_bps"]:
        return verdicts[a]["apr_bps"] < verdicts[b]["apr_bps"]
    return verdicts[a]["institution"] < verdicts[b]["institution"]


@kernel
def rank(
    policies: PolicyTables, product: int, verdicts: Array, n: int, order: NDArray[np.int32]
) -> int:
    """Order the approved among the first `n` verdicts by the product's rule; return how many they
    are.

    Writes their rows to `order` int32[≥ n], best first, and their place to `rank`. Rule `cost`: the
    lowest all-in yearly cost, then the institution's code (codes follow ids); `amount`: the largest
    amount, then as before.
    """
    offers = 0
    if n == 0:
        return 0
    ranking = policies.products[product]["ranking"]
    for row in range(n):
        if verdicts[row]["outcome"] != _APPROVED:
            continue
        place = offers
        while place > 0 and _goes_before(ranking, verdicts, row, order[place - 1]):
            order[place] = order[place - 1]
            place -= 1
        order[place] = row
        offers += 1
    for place in range(offers):
        verdicts[order[place]]["rank"] = place
    return offers
