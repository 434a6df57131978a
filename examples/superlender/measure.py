"""What the lenders decided, beside what became of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from models.calibrate import PPM
from models.train import Estimate, measure

MODEL = "consumer"
SEED = 1  # of the bootstrap of KS, as in training


@dataclass(frozen=True, slots=True)
class Figures:
    """Of all decisions, and of those on applications from `test_from_ms` on."""

    decided: int
    lost: int
    duplicated: int
    dead_letters: int
    outcomes: dict[str, int]
    test_rows: int
    bad_rate: float
    mean_pd: float
    auc: Estimate
    ks: Estimate
    brier: Estimate
    approved_rate: float
    bad_rate_of_approved: float
    outcomes_test: dict[str, int]
    funded_test: dict[str, int]


def figures(
    decisions: pl.DataFrame,
    evidence: pl.DataFrame,
    labels: pl.DataFrame,
    test_from_ms: int,
    dead_letters: int,
) -> Figures:
    """Measure decisions (`streams.frames.DECISIONS`) with their evidence against the labels.

    The score is the raw score that the live worker wrote as evidence; rates are 0 to 1. Each
    application of the labels must be decided once: what is missing is lost, what is more is
    duplicated.
    """
    scored = evidence.select(
        id="decision", raw=pl.col(f"raw.{MODEL}"), pd=pl.col(f"pd_ppm.{MODEL}") / PPM
    )
    joined = decisions.unique("id").join(scored.unique("id"), on="id", validate="1:1")
    rows = labels.join(
        joined, left_on=["applicant", "id"], right_on=["applicant", "request"], how="inner"
    ).sort("at", "applicant", "id")
    test = rows.filter(pl.col("at") >= test_from_ms)
    bad = test["bad"].to_numpy() == 1
    metrics = measure(bad, test["raw"].to_numpy(), test["pd"].to_numpy(), SEED)
    approved = test.filter(pl.col("outcome") == "approved")
    return Figures(
        decided=rows.height,
        lost=labels.height - rows.height,
        duplicated=decisions.height - decisions["id"].n_unique(),
        dead_letters=dead_letters,
        outcomes=_counts(rows["outcome"]),
        test_rows=test.height,
        bad_rate=float(bad.mean()),
        mean_pd=float(np.mean(test["pd"].to_numpy())),
        auc=metrics.auc,
        ks=metrics.ks,
        brier=metrics.brier,
        approved_rate=approved.height / test.height,
        bad_rate_of_approved=float((approved["bad"].to_numpy() == 1).mean()),
        outcomes_test=_counts(test["outcome"]),
        funded_test=_counts(approved["institution"]),
    )


def same_files(*folders: Path) -> tuple[bool, int, int]:
    """Return whether the folders hold the same files with the same bytes; files and bytes of the
    first.
    """
    held = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    first = held[0]
    same = all(each == first for each in held)
    return same, len(first), sum(map(len, first.values()))


def _counts(column: pl.Series) -> dict[str, int]:
    counted = column.value_counts(sort=True)
    return dict(zip(counted.to_series(0), counted["count"], strict=True))
