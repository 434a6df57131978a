"""Do declared groups fare alike: approval ratios with their intervals, and differences in price."""

import math
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.catalog import Catalog
from streams.errors import DipperError

_Z95 = 1.959963984540054
SHARE_MIN = 0.01
"""A group below this share of the known is told, but is no reference."""


def groups_of(spec: str, catalog: Catalog, features: NDArray[np.float64]) -> tuple[str, pl.Series]:
    """Return a group's name and each request's value of it (null where not known).

    `spec`: a category attribute by name, or NUMBER:CUT, which makes "below CUT" and "CUT and up".
    """
    name, _, cut = spec.partition(":")
    if name not in catalog.columns:
        raise DipperError(f"--group {spec}: no feature {name} in the catalog; name one that is")
    values = features[:, catalog.columns[name]]
    known = ~np.isnan(values)
    categories = {a.name: a.values for a in catalog.attributes if a.type == "category"}
    if name in categories:
        codes = pl.Series(np.where(known, values, 0).astype(np.int64))
        named = pl.Series(list(categories[name]), dtype=pl.String()).gather(codes)
        return name, named.set(pl.Series(~known), None)
    try:
        limit = float(cut)
    except ValueError as error:
        raise DipperError(
            f"--group {spec}: {name} is a number; write {name}:CUT, such as {name}:40"
        ) from error
    sides = pl.Series(np.where(values < limit, f"below {cut}", f"{cut} and up"))
    return name, sides.set(pl.Series(~known), None)


def fairness(rows: pl.DataFrame, group: pl.Series, side: str) -> list[dict[str, Any]]:
    """Return a row a group: approval rate, ratio to the best-served group, mean yearly cost.

    `side` is the prefix of the answers. The ratio's interval is that of a ratio of two shares on a
    log scale (Katz, 1978); a ratio below 0.8 is what the four-fifths rule asks about.
    """
    told = (
        rows.select(
            group.alias("group"),
            approved=pl.col(f"{side}approved"),
            apr=pl.col(f"{side}apr_bps"),
        )
        .filter(pl.col("group").is_not_null())
        .group_by("group")
        .agg(
            requests=pl.len(),
            approved=pl.col("approved").sum(),
            apr_mean=pl.col("apr").mean(),
            apr_std=pl.col("apr").std(),
            priced=pl.col("apr").count(),
        )
        .sort("group")
        .to_dicts()
    )
    total = sum(row["requests"] for row in told)
    able = [row for row in told if row["requests"] >= SHARE_MIN * total]
    if not able:
        return []
    best = max(able, key=lambda row: row["approved"] / row["requests"])
    for row in told:
        row["rate"] = row["approved"] / row["requests"]
        row["reference"] = row is best
        row["ratio"], row["ratio_low"], row["ratio_high"] = _ratio(row, best)
        row["apr_difference"] = row["apr_low"] = row["apr_high"] = None
        if row["apr_mean"] is not None and best["apr_mean"] is not None:
            half = _Z95 * math.sqrt(_variance(row) + _variance(best))
            row["apr_difference"] = row["apr_mean"] - best["apr_mean"]
            row["apr_low"] = row["apr_difference"] - half
            row["apr_high"] = row["apr_difference"] + half
    return told


def _ratio(row: dict[str, Any], best: dict[str, Any]) -> tuple[float | None, ...]:
    a, n, b, m = row["approved"], row["requests"], best["approved"], best["requests"]
    if not b:
        return None, None, None
    ratio = (a / n) / (b / m)
    if row is best:
        return 1.0, None, None
    if not a:
        return 0.0, 0.0, None
    spread = _Z95 * math.sqrt(1 / a - 1 / n + 1 / b - 1 / m)
    return ratio, ratio * math.exp(-spread), ratio * math.exp(spread)


def _variance(row: dict[str, Any]) -> float:
    return (row["apr_std"] or 0.0) ** 2 / max(row["priced"], 1)
