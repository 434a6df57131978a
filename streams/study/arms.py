"""Results of an experiment by arm, with intervals: what challenger and champion did with those whom
the hash gave to each, and what the random arm tells.

Everybody is counted in the arm that decided, approved or not, so the arms differ by chance alone.
"""

from typing import Any

import polars as pl

from models.policy.arms import ARMS, CHALLENGER_MARK
from models.train.quality import wilson

CHAMPION, CHALLENGER = ARMS


def arms(candidates: pl.DataFrame, outcomes: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return one row an arm of each experiment, and one for those approved by chance below the
    cut-off (`at_random`).

    `candidates` is that of a replay (`ReplayResult.candidates`), `outcomes` has decision and bad (0
    or 1) where it is known. Columns: institution, experiment (policy of the champion), arm,
    requests, approved, approval_rate with low and high, known, bads, bad_rate with its interval.
    Intervals are Wilson's, 95 %; the bad rate is null where nothing is known.
    """
    by_chance = pl.col("propensity").is_not_null()
    part = candidates.filter(pl.col("arm").is_not_null() | by_chance).with_columns(
        pl.col("policy").str.strip_suffix(CHALLENGER_MARK).alias("experiment"),
        (pl.col("outcome") == "approved").alias("approved"),
    )
    known = outcomes if outcomes is not None else pl.DataFrame(schema=_OUTCOMES)
    part = part.join(known.select("decision", "bad"), on="decision", how="left")
    chosen = part.filter(by_chance & pl.col("approved")).with_columns(
        pl.lit("at_random").alias("arm")
    )
    both = pl.concat([part.filter(pl.col("arm").is_not_null()), chosen])
    rows = [
        _row(dict(zip(_KEYS, names, strict=True)), group)
        for names, group in both.group_by(_KEYS, maintain_order=True)
    ]
    return pl.DataFrame(rows, schema=_SCHEMA).sort(_KEYS)


def difference(table: pl.DataFrame, experiment: str, of: str = "approval") -> dict[str, float]:
    """Return by how much the challenger's rate of an experiment is above the champion's, with its
    95 % interval: `difference`, `low`, `high`. `of`: approval or bad.

    Source: R. G. Newcombe, Statistics in Medicine 17 (1998), method 10.
    """
    hits, count = ("approved", "requests") if of == "approval" else ("bads", "known")
    found = {
        row["arm"]: row
        for row in table.filter(pl.col("experiment") == experiment).iter_rows(named=True)
    }
    one, two = (found.get(arm, {hits: 0, count: 0}) for arm in (CHALLENGER, CHAMPION))
    shares = [row[hits] / row[count] if row[count] else 0.5 for row in (one, two)]
    (low1, high1), (low2, high2) = (wilson(row[hits], row[count]) for row in (one, two))
    gap = shares[0] - shares[1]
    down = ((shares[0] - low1) ** 2 + (high2 - shares[1]) ** 2) ** 0.5
    up = ((high1 - shares[0]) ** 2 + (shares[1] - low2) ** 2) ** 0.5
    return {"difference": gap, "low": gap - down, "high": gap + up}


def _row(names: dict[str, Any], group: pl.DataFrame) -> dict[str, Any]:
    approved = int(group["approved"].sum())
    known = group.filter("approved")["bad"].drop_nulls()
    bads = int(known.sum() or 0)
    low, high = wilson(approved, group.height)
    bad_low, bad_high = wilson(bads, len(known)) if len(known) else (None, None)
    return names | {
        "requests": group.height,
        "approved": approved,
        "approval_rate": approved / group.height,
        "approval_low": low,
        "approval_high": high,
        "known": len(known),
        "bads": bads,
        "bad_rate": bads / len(known) if len(known) else None,
        "bad_low": bad_low,
        "bad_high": bad_high,
    }


_OUTCOMES = {"decision": pl.String(), "bad": pl.Int64()}
_KEYS = ["institution", "experiment", "arm"]
_SCHEMA = {
    "institution": pl.String(),
    "experiment": pl.String(),
    "arm": pl.String(),
    "requests": pl.Int64(),
    "approved": pl.Int64(),
    "approval_rate": pl.Float64(),
    "approval_low": pl.Float64(),
    "approval_high": pl.Float64(),
    "known": pl.Int64(),
    "bads": pl.Int64(),
    "bad_rate": pl.Float64(),
    "bad_low": pl.Float64(),
    "bad_high": pl.Float64(),
}
