"""What the simulated world offers and how likely a request really goes bad: the truth that models
are held to.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from models.policy.platform import load_platform
from streams.errors import DipperError
from streams.limits import DAY_MS


class Product(NamedTuple):
    """One product as applicants see it."""

    name: str
    firm: bool
    line: bool
    channels: tuple[str, ...]
    tenors: tuple[int, ...]
    share: float  # of its side's applications
    amount: tuple[float, float]  # asked, in months of income: low, high
    log_odds: float  # what the product adds to the risk of its user


PRODUCTS = (
    Product("cash_line", False, True, ("app", "web"), (30,), 0.45, (0.5, 2.0), 0.1),
    Product(
        "instalment_loan", False, False, ("app", "merchant"), (90, 180, 360), 0.35, (0.3, 3.0), 0.0
    ),
    Product("card_line", False, True, ("north_card",), (30,), 0.20, (0.5, 2.5), -0.3),
    Product("invoice_loan", True, False, ("supplier",), (30, 60, 90), 0.5, (0.1, 1.0), 0.0),
    Product("order_line", True, True, ("supplier",), (60,), 0.5, (0.2, 1.5), 0.2),
)
_SIDES, _KINDS = ("consumer", "business"), ("loan", "line")  # by a product's two flags
CONSUMER_PRODUCTS = tuple(product for product in PRODUCTS if not product.firm)
BUSINESS_PRODUCTS = tuple(product for product in PRODUCTS if product.firm)
DRAW_TENORS = (30, 30, 30, 60, 90)
GRACE_DAYS = 30  # a request is bad when it is 30 days late; only then is its outcome known

BASE_LOG_ODDS = -3.0
RISK_SLOPE = 0.95
AMOUNT_SLOPE = 0.8  # per log(1 + months of income)
TENOR_SLOPE = 0.25  # per year


def true_pd(
    risk: float, product: Product, amount_cents: int, income_cents: int, tenor_days: int
) -> float:
    """Return the probability, in 0..1, that this request goes bad if it is granted as asked."""
    months = amount_cents / max(income_cents, 1)
    log_odds = (
        BASE_LOG_ODDS
        + product.log_odds
        + RISK_SLOPE * risk
        + AMOUNT_SLOPE * math.log1p(months)
        + TENOR_SLOPE * tenor_days / 360
    )
    return 1.0 / (1.0 + math.exp(-log_odds))


def known_at(at_ms: int, tenor_days: int, pace: float) -> int:
    """Return when the outcome of a request of `at_ms` is known: its term and the grace are over."""
    return at_ms + int((tenor_days + GRACE_DAYS) * DAY_MS / pace)


def offered(config: Path) -> tuple[Product, ...]:
    """Return those of `PRODUCTS` that a deployment has, on its channels; DipperError without any.

    A channel of one institution counts, too: what that one has no policy for it refuses.
    """
    platform = load_platform(config)
    known = {(each.id, each.side, each.kind) for each in platform.products}
    channels = tuple(each.id for each in platform.channels)
    found = tuple(
        product._replace(channels=channels)
        for product in PRODUCTS
        if (product.name, _SIDES[product.firm], _KINDS[product.line]) in known
    )
    if not found:
        names = ", ".join(product.name for product in PRODUCTS)
        raise DipperError(f"{config}: has no product that can be simulated; there are {names}")
    return found


def choose_product(side: Sequence[Product], draw: float) -> Product:
    """Return the product that a uniform draw in 0..1 picks by the shares among `side`."""
    draw *= sum(product.share for product in side)
    for product in side:
        draw -= product.share
        if draw < 0:
            return product
    return side[-1]
