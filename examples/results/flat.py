"""Files without a history: heloc, sba, monthly_dpd. A row is a request as it stands."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from examples.results.told import Runs, gather
from models.train import TrainingResult, train

SEEDS = (1, 2, 3, 4, 5)
HELOC_UP = (
    "NumTrades60Ever2DerogPubRec", "NumTrades90Ever2DerogPubRec", "NumTradesOpeninLast12M",
    "NumInqLast6M", "NumInqLast6Mexcl7days", "NetFractionRevolvingBurden",
    "NetFractionInstallBurden", "NumBank2NatlTradesWHighUtilization",
)  # fmt: skip
HELOC_DOWN = (
    "ExternalRiskEstimate", "MSinceOldestTradeOpen", "AverageMInFile", "NumSatisfactoryTrades",
    "PercentTradesNeverDelq", "MSinceMostRecentDelq", "MSinceMostRecentInqexcl7days",
)  # fmt: skip
# Known after the loan was made, or made from what was: Term is recorded until the charge-off.
SBA_LEAKS = {
    "Term", "ChgOffDate", "ChgOffPrinGr", "BalanceGross", "RealEstate", "Portion", "Recession",
    "daysterm", "xx", "Default", "MIS_Status", "Selected",
}  # fmt: skip
SBA_TEXT = ("State", "BankState", "RevLineCr", "LowDoc", "NewExist", "UrbanRural")


def fit(
    frame: pl.DataFrame, features: Sequence[str], seed: int, **options: object
) -> TrainingResult:
    """Train on a frame with `bad` and `at`; 55 % to learn, 15 % to calibrate, 30 % to test."""
    with tempfile.TemporaryDirectory() as folder:
        return train(
            frame,
            list(features),
            label="bad",
            time="at",
            name="m",
            folder=Path(folder) / "m",
            definition_hashes=dict.fromkeys(features, "file"),
            seed=seed,
            **options,  # type: ignore[arg-type]
        )


def heloc(data: Path) -> Runs:
    """Five seeded splits of the FICO challenge, with monotone constraints."""
    frame = pl.read_csv(data / "heloc" / "heloc.csv.gz", infer_schema_length=None)
    features = [column for column in frame.columns if column != "RiskPerformance"]
    signs = [int(f in HELOC_UP) - int(f in HELOC_DOWN) for f in features]
    frame = frame.with_columns(
        # -9, -8 and -7 say that there is no record, no usable one, no such event.
        *(pl.when(pl.col(f) < -6).then(None).otherwise(pl.col(f)).alias(f) for f in features),
        bad=(pl.col("RiskPerformance") == "Bad").cast(pl.Int64),
    )
    runs = []
    for seed in SEEDS:
        shuffled = frame.with_columns(at=pl.int_range(pl.len()).shuffle(seed=seed))
        parameters = {"monotone_constraints": signs, "monotone_constraints_method": "advanced"}
        runs.append(fit(shuffled, features, seed, parameters=parameters))
    return gather(runs)


def sba_case(data: Path) -> Runs:
    """Five seeded splits of the case file, without what was known later."""
    frame = pl.read_csv(
        data / "sba" / "sba_case.csv.gz", infer_schema_length=None, encoding="utf8-lossy"
    ).rename(lambda name: name.lstrip("\ufeff"))
    return _sba(frame, pl.col("Default") == 1)


def sba_national(data: Path) -> Runs:
    """Five seeded splits of a slice of the national file, without what was known later."""
    frame = pl.read_csv(data / "sba" / "sba_national_head.csv.gz", infer_schema=False)
    money = ("DisbursementGross", "GrAppv", "SBA_Appv")
    whole = ("NoEmp", "CreateJob", "RetainedJob", "FranchiseCode")
    frame = frame.with_columns(
        *(pl.col(name).cast(pl.Float64, strict=False) for name in (*money, *whole))
    ).filter(pl.col("MIS_Status").is_not_null())
    return _sba(frame, pl.col("MIS_Status") == "CHGOFF")


def _sba(frame: pl.DataFrame, bad: pl.Expr) -> Runs:
    texts = [name for name in SBA_TEXT if name in frame.columns]
    frame = frame.with_columns(
        *(pl.col(name).cast(pl.String).cast(pl.Categorical).to_physical().cast(pl.Int64)
          for name in texts),
        sector=pl.col("NAICS").cast(pl.String).str.slice(0, 2).cast(pl.Int64, strict=False),
        guaranteed=pl.col("SBA_Appv") / pl.col("GrAppv"),
        bad=bad.cast(pl.Int64),
    )  # fmt: skip
    numbers = ("NoEmp", "CreateJob", "RetainedJob", "FranchiseCode", "DisbursementGross", "GrAppv",
               "SBA_Appv", "sector", "guaranteed")  # fmt: skip
    features = [name for name in (*numbers, *texts) if name not in SBA_LEAKS]
    runs = [
        fit(
            frame.with_columns(at=pl.int_range(pl.len()).shuffle(seed=seed)),
            features,
            seed,
            categorical=[name for name in texts if frame[name].n_unique() > 3],
        )
        for seed in SEEDS
    ]
    return gather(runs)


def roll_rates(data: Path) -> list[tuple[str, float, int]]:
    """Return monthly rates from one bucket of days past due to the next, and how many accounts
    were there.
    """
    months = pl.read_csv(data / "monthly_dpd" / "credit_record.csv.gz").sort("ID", "MONTHS_BALANCE")
    moves = months.with_columns(
        to=pl.col("STATUS").shift(-1).over("ID"),
        next_month=pl.col("MONTHS_BALANCE").shift(-1).over("ID"),
    ).filter(pl.col("next_month") == pl.col("MONTHS_BALANCE") + 1)
    told = []
    for bucket in range(5):
        here = moves.filter(pl.col("STATUS") == str(bucket))
        worse = int((here["to"] == str(bucket + 1)).sum())
        told.append((f"{bucket} to {bucket + 1}", worse / max(here.height, 1), here.height))
    return told


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return mean, least and most."""
    return float(np.mean(values)), min(values), max(values)
