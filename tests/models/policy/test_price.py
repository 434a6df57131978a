"""The all-in yearly cost against closed forms and an independent root finder."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from models.policy.price import (
    APR_BPS_MAX,
    BULLET,
    EQUAL_INSTALMENT,
    PART,
    apr_bps,
    due_days,
    instalment_parts,
    instalment_share,
)

_methods = st.sampled_from([BULLET, EQUAL_INSTALMENT])


@given(st.integers(1, 3_650), st.integers(0, 10_000), st.integers(0, 3_000))
def test_bullet_has_a_closed_form(tenor: int, rate: int, fee: int) -> None:
    """One payment: (payment ÷ paid out) to the power 365 ÷ days, less one."""
    growth = (1 + rate / 10_000 * tenor / 365) / (1 - fee / 10_000)
    exact = 10_000 * math.expm1(math.log(growth) * 365 / tenor)
    if exact > APR_BPS_MAX / 2:
        assert apr_bps(BULLET, tenor, rate, fee) >= APR_BPS_MAX / 4
    else:
        assert apr_bps(BULLET, tenor, rate, fee) == pytest.approx(exact, abs=0.51, rel=1e-9)


@given(st.integers(1, 24), st.integers(0, 6_000))
def test_without_fee_the_rate_compounds(parts: int, rate: int) -> None:
    """Equal parts of 30 days without a fee cost the nominal rate, compounded every 30 days."""
    exact = 10_000 * ((1 + rate / 10_000 * 30 / 365) ** (365 / 30) - 1)
    assert apr_bps(EQUAL_INSTALMENT, 30 * parts, rate, 0) == pytest.approx(exact, abs=0.51)


@given(_methods, st.integers(5, 1_500), st.integers(0, 6_000), st.integers(0, 1_000))
def test_discounted_payments_equal_what_was_paid_out(
    method: int, tenor: int, rate: int, fee: int
) -> None:
    """A root finder on the yearly rate comes to the same basis point."""
    days = due_days(method, tenor)
    share = instalment_share(method, tenor, rate)

    def excess(log_growth: float) -> float:
        paid = sum(share * math.exp(-log_growth * day / 365) for day in days)
        return paid - (1 - fee / 10_000)

    exact = 10_000 * math.expm1(brentq(excess, -1e-9, 60.0, xtol=1e-14))
    found = apr_bps(method, tenor, rate, fee)
    assert found == pytest.approx(min(exact, APR_BPS_MAX), abs=0.51, rel=1e-8)


@given(_methods, st.integers(1, 1_500), st.integers(0, 10_000))
def test_instalments_repay_the_amount(method: int, tenor: int, rate: int) -> None:
    """Paying the instalment on each due day, with interest in between, leaves nothing owed."""
    owed, before = 1.0, 0
    for day in due_days(method, tenor):
        owed = owed * (1 + rate / 10_000 * (day - before) / 365)
        owed -= instalment_share(method, tenor, rate)
        before = day
    assert owed == pytest.approx(0, abs=1e-9)
    parts = instalment_parts(method, tenor, rate)
    assert parts / PART == pytest.approx(instalment_share(method, tenor, rate), abs=1e-9)


# method, tenor, due days
DUE_DAYS = [
    (BULLET, 90, (90,)),
    (EQUAL_INSTALMENT, 10, (10,)),
    (EQUAL_INSTALMENT, 44, (44,)),
    (EQUAL_INSTALMENT, 45, (22, 45)),
    (EQUAL_INSTALMENT, 90, (30, 60, 90)),
    (EQUAL_INSTALMENT, 100, (33, 66, 100)),
]


@pytest.mark.parametrize(("method", "tenor", "days"), DUE_DAYS)
def test_due_days(method: int, tenor: int, days: tuple[int, ...]) -> None:
    """Payments fall due every thirty days or so, the last one at the end of the term."""
    assert due_days(method, tenor) == days


# method, tenor, rate, fee, cost: worked by hand or with a spreadsheet's XIRR
KNOWN = [
    (BULLET, 365, 2_400, 0, 2_400),
    (BULLET, 365, 0, 1_000, 1_111),
    (BULLET, 30, 0, 0, 0),
    (EQUAL_INSTALMENT, 30, 1_200, 0, 1_268),
    (EQUAL_INSTALMENT, 360, 800, 50, 933),
    (BULLET, 1, 0, 5_000, APR_BPS_MAX),
]


@pytest.mark.parametrize(("method", "tenor", "rate", "fee", "cost"), KNOWN)
def test_known_costs(method: int, tenor: int, rate: int, fee: int, cost: int) -> None:
    """Costs that anyone can check."""
    assert apr_bps(method, tenor, rate, fee) == cost
