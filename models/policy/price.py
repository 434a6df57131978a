"""What a loan costs: due days, instalments and the all-in yearly cost, computed once at load.

Only + - × ÷ and comparisons of float64 are used, so every machine gets the same basis points.
Kernels then multiply integers. Conventions, stated once:

- Year of 365 days, actual days (ACT/365). `rate_bps` is the yearly nominal rate on what is still
  owed.
- `bullet`: one payment of principal and interest on the last day.
- `equal_instalment`: n = tenor / 30 payments, rounded, at least one; the i-th falls due on day i ×
  tenor ÷ n, rounded down; all are equal, interest of a period is rate × days ÷ 365 of what is owed
  at its start.
- `fee_bps` of the amount is kept back when the money is paid out.
- `apr_bps` is the effective yearly cost: the rate at which the discounted payments equal what was
  paid out (internal rate of return by whole days), to the nearest basis point. It depends on no
  amount: cents that rounding moves are left out.
"""

from functools import lru_cache

from streams.limits import BPS, LOAN_DUES_MAX

BULLET = 0
EQUAL_INSTALMENT = 1
METHODS = ("bullet", "equal_instalment")

PERIOD_DAYS = 30
YEAR_DAYS = 365
PART = 1_000_000_000  # instalments are stored in parts per 1,000,000,000 of the amount
PART_MAX = 9 * PART  # an instalment times a remainder below PART still fits int64
APR_BPS_MAX = 100_000_000  # a cost above a million percent a year is told as that


def instalments(method: int, tenor_days: int) -> int:
    """Return how many payments a loan has."""
    if method == BULLET:
        return 1
    return max(1, (tenor_days + PERIOD_DAYS // 2) // PERIOD_DAYS)


def due_days(method: int, tenor_days: int) -> tuple[int, ...]:
    """Return the days of the payments, counted from the day of disbursement, rising."""
    count = instalments(method, tenor_days)
    assert 1 <= count <= LOAN_DUES_MAX
    return tuple(i * tenor_days // count for i in range(1, count + 1))


def instalment_share(method: int, tenor_days: int, rate_bps: int) -> float:
    """Return one payment as a share of the amount: equal payments that repay it at the nominal
    rate.
    """
    owed_growth = 1.0
    present = 0.0
    before = 0
    for day in due_days(method, tenor_days):
        owed_growth *= 1.0 + rate_bps * (day - before) / (BPS * YEAR_DAYS)
        present += 1.0 / owed_growth
        before = day
    return 1.0 / present


def instalment_parts(method: int, tenor_days: int, rate_bps: int) -> int:
    """Return one payment in parts per 1,000,000,000 of the amount, rounded to the nearest."""
    return int(instalment_share(method, tenor_days, rate_bps) * PART + 0.5)


def _power(base: float, exponent: int) -> float:
    """Return base to a whole exponent by squaring: `**` on floats may differ between machines."""
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


@lru_cache(maxsize=65_536)
def apr_bps(method: int, tenor_days: int, rate_bps: int, fee_bps: int) -> int:
    """Return the all-in yearly cost in basis points, at most APR_BPS_MAX; fee_bps below 10,000."""
    assert 0 <= fee_bps < BPS
    assert rate_bps >= 0
    days = due_days(method, tenor_days)
    gaps = [day - before for day, before in zip(days, (0, *days[:-1]), strict=True)]
    share = instalment_share(method, tenor_days, rate_bps)
    paid_out = 1.0 - fee_bps / BPS
    low, high = 0.0, 1.0  # discount factor of one day; the present value rises with it
    while True:
        middle = (low + high) / 2.0
        if middle <= low or middle >= high:
            break
        present = 0.0
        for gap in reversed(gaps):
            present = (present + share) * _power(middle, gap)
        if present < paid_out:
            low = middle
        else:
            high = middle
    yearly_discount = _power(high, YEAR_DAYS)
    if yearly_discount * (APR_BPS_MAX + BPS) <= BPS:
        return APR_BPS_MAX
    return int((1.0 / yearly_discount - 1.0) * BPS + 0.5)
