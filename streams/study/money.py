"""What an approval is expected to earn: price − expected loss − funding cost − fee.

Assumptions, all named in the report: a loan runs to its end or defaults at once on the whole
amount; a line counts as drawn in full for its tenor unless drawdowns stand in the log, which then
count instead.
"""

from dataclasses import dataclass, fields

import polars as pl

from models.policy.price import PERIOD_DAYS, YEAR_DAYS
from streams.deployment import Deployment
from streams.errors import DipperError
from streams.limits import BPS, PPM


@dataclass(frozen=True)
class Economics:
    """Basis points: loss given default of the amount, funding cost a year, the platform's fee of
    the amount.
    """

    lgd_bps: int = 6_000
    funding_bps: int = 300
    service_fee_bps: int = 50

    def told(self) -> str:
        """Return the assumptions in one sentence."""
        return (
            f"price (interest and fee) − expected loss (PD × {self.lgd_bps / 100:g} % of the"
            f" amount) − funding cost ({self.funding_bps / 100:g} % a year of what is owed) −"
            f" platform fee ({self.service_fee_bps / 100:g} % of the amount)"
        )


def parse_economics(text: str) -> Economics:
    """Return the economics of `lgd_bps=4500,funding_bps=250`; what is left out keeps its default.

    Raises DipperError on an unknown name or a number that is none.
    """
    known = {each.name for each in fields(Economics)}
    values = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        name = name.strip()
        if name not in known or not value.strip().isdigit():
            raise DipperError(
                f"--economics {part}: write NAME=BASIS_POINTS; names are {', '.join(sorted(known))}"
            )
        values[name] = int(value)
    return Economics(**values)


def line_products(*sides: Deployment) -> list[str]:
    """Return the products of any side that are lines, sorted."""
    products = [product for side in sides for product in side.platform.products]
    return sorted({product.id for product in products if product.kind == "line"})


def earns(rows: pl.DataFrame, lines: list[str]) -> pl.Expr:
    """Return which requests earn by themselves; `lines`: products that are lines."""
    is_line = (pl.col("type") == "application") & pl.col("product").is_in(lines)
    return ~is_line if (rows["type"] == "drawdown").any() else pl.lit(value=True)


def profit(side: str, economics: Economics, lines: list[str], rows: pl.DataFrame) -> list[pl.Expr]:
    """Return expressions `<side>profit`, `<side>loss`, `<side>lent` in cents, 0 where nothing is
    lent; `side` is the prefix a_ or b_.
    """
    amount = pl.col(f"{side}amount_cents").fill_null(0)
    tenor = pl.col("tenor_days")
    bullet = pl.col(f"{side}method") == "bullet"
    parts = pl.when(bullet).then(1).otherwise(_parts(tenor))
    interest = parts * pl.col(f"{side}instalment_cents").fill_null(0) - amount
    income = pl.max_horizontal(interest, pl.lit(0)) + pl.col(f"{side}fee_cents").fill_null(0)
    loss = expected_loss(amount, pl.col(f"{side}pd_ppm").fill_null(0), economics)
    # Of equal parts a share of (n + 1) ÷ 2n of the amount is owed on average.
    owed = pl.when(bullet).then(1.0).otherwise((parts + 1) / (2 * parts))
    cost = amount * owed * tenor / YEAR_DAYS * economics.funding_bps / BPS
    fee = amount * economics.service_fee_bps / BPS
    counts = earns(rows, lines) & pl.col(f"{side}approved")
    return [
        pl.when(counts).then(value).otherwise(0).cast(pl.Float64).alias(f"{side}{name}")
        for name, value in (
            ("profit", income - loss - cost - fee),
            ("loss", loss),
            ("lent", amount),
        )
    ]


def expected_loss(amount: pl.Expr, pd_ppm: pl.Expr, economics: Economics) -> pl.Expr:
    """Return the expected loss of an amount, in its unit."""
    return amount * pd_ppm / PPM * economics.lgd_bps / BPS


def rough_profit(economics: Economics) -> pl.Expr:
    """Return the profit of a request at its `b_need_…` price, for the amount offered or asked."""
    amount = pl.col("b_need_amount_cents").fill_null(pl.col("amount_cents"))
    years = pl.col("tenor_days") / YEAR_DAYS
    margin = (pl.col("b_need_rate_bps") - economics.funding_bps) / BPS
    loss = expected_loss(amount, pl.col("b_need_ppm"), economics)
    return amount * margin * years - loss - amount * economics.service_fee_bps / BPS


def _parts(tenor: pl.Expr) -> pl.Expr:
    return pl.max_horizontal((tenor + PERIOD_DAYS // 2) // PERIOD_DAYS, pl.lit(1))
