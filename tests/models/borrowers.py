"""Requests whose true odds are known, to train on."""

import numpy as np
import polars as pl


def borrowers(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    """Return income, dpd (one in ten missing), channel (3 is risky) and whether each went bad."""
    income, dpd = rng.normal(size=rows), rng.poisson(1.0, rows).astype(float)
    dpd[rng.random(rows) < 0.1] = np.nan
    channel = rng.integers(0, 5, rows)
    odds = np.nan_to_num(dpd) - income + (channel == 3) - 1.5
    return pl.DataFrame(
        {
            "income": income,
            "dpd": dpd,
            "channel": channel,
            "bad": (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(int),
        }
    )
