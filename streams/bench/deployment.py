"""The deployment that is measured: one institution, a line and a loan, one model on 48 features."""

from pathlib import Path

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from features.catalog import Catalog
from models.artifact import save_model
from models.calibrate import Calibration
from streams.config import MODELS_FOLDER

FEATURES = 48
MODEL = "bench"
LINE, LOAN, CHANNEL = "card", "loan", "app"
# Times such that nothing expires while a run lasts, budgets such that none runs out.
_CAP_CENTS = 10**14

_PLATFORM = f"""\
decision_key = "000102030405060708090a0b0c0d0e0f"

[[products]]
id = "{LINE}"
side = "consumer"
kind = "line"

[[products]]
id = "{LOAN}"
side = "consumer"
kind = "loan"

[[channels]]
id = "{CHANNEL}"

[[apr_ceilings]]
from = 2000-01-01
side = "consumer"
apr_bps = 3_600

[[rules]]
name = "login_burst"
side = "consumer"
when = "login_count_1h > 30"
reason = "velocity"
"""

_INSTITUTION = f"""\
id = "lender"
name = "The lender that is measured"

[caps]
outstanding_cents = {_CAP_CENTS}
commitment_cents = {_CAP_CENTS}
"""

_LINE_POLICY = f"""\
product = "{LINE}"

[application]
bands = "flat.csv"
tenors_days = [30, 90]
amount_cents_min = 100
amount_cents_max = 10_000_000
method = "bullet"
offer_hours = 72

[drawdown]
%s
tenors_days = [30, 90]
amount_cents_min = 100
amount_cents_max = 10_000_000
method = "bullet"
offer_hours = 72

[[drawdown.rules]]
when = "current_dpd_days > 5"
reason = "recent_delinquency"

[[drawdown.rules]]
when = "order_count_1d > 40"
reason = "velocity"
"""

_LOAN_POLICY = f"""\
product = "{LOAN}"

[application]
%s
tenors_days = [90, 180, 360]
amount_cents_min = 10_000
amount_cents_max = 5_000_000
method = "equal_instalment"
offer_hours = 72
partial = true

[[application.rules]]
when = "age_years not between 18 and 70"
reason = "age_out_of_range"

[[application.rules]]
when = "existing_debt_cents > 12 * income_cents"
reason = "over_indebted"

[[application.rules]]
when = "worst_dpd_days > 60 or bureau_worst_dpd_days > 60"
reason = "worst_dpd"
"""

_SCORED = f'model = "{MODEL}"\ncut_off_pd_ppm = 150_000\nbands = "%s.csv"'
_UNSCORED = 'bands = "flat.csv"'

# Three bands up to the cut-off: two thirds of the scores below it are approved.
_DRAW_BANDS = """\
pd_ppm_max,rate_bps,fee_bps,limit_cents,tenor_days_max
40000,1300,0,5000000,360
80000,1600,0,5000000,360
150000,2000,0,5000000,360
"""
_LOAN_BANDS = """\
pd_ppm_max,rate_bps,fee_bps,limit_cents,limit_income_bps,tenor_days_max
40000,1300,100,5000000,25000,360
80000,1600,100,3500000,20000,360
150000,2000,100,2000000,15000,360
"""
_FLAT_BANDS = """\
pd_ppm_max,rate_bps,fee_bps,limit_cents,tenor_days_max
1000000,1400,0,10000000,360
"""


def write_deployment(folder: Path, *, scored: bool) -> None:
    """Write the config folder; with `scored` its policies need the model of `write_model`."""
    lender = folder / "institutions" / "lender"
    lender.mkdir(parents=True, exist_ok=True)
    draw, loan = _UNSCORED, _UNSCORED
    if scored:
        draw, loan = _SCORED % "draw", _SCORED % "loan" + '\nincome = "income_cents"'
    (folder / "platform.toml").write_text(_PLATFORM)
    for name, text in (
        ("institution.toml", _INSTITUTION),
        ("card.toml", _LINE_POLICY % draw),
        ("loan.toml", _LOAN_POLICY % loan),
        ("draw.csv", _DRAW_BANDS),
        ("loan.csv", _LOAN_BANDS),
        ("flat.csv", _FLAT_BANDS),
    ):
        (lender / name).write_text(text)


def write_model(
    folder: Path, catalog: Catalog, vectors: NDArray[np.float64], trees: int, leaves: int
) -> None:
    """Train a model of `trees` trees with `leaves` leaves each on real vectors and random outcomes.

    `vectors` float64[requests, columns], NaN missing, are what the step derives from such traffic,
    so that rows spread over the trees as they do in life. Features are the 48 columns with the most
    different values. Scores are calibrated by their own quantiles: PD 0 to 25 % in even steps.
    """
    names = list(catalog.columns)
    different = [len(np.unique(column)) for column in vectors.T]
    columns = sorted(np.argsort(different, kind="stable")[-FEATURES:].tolist())
    X = np.ascontiguousarray(vectors[:, columns])
    outcome = np.random.default_rng(1).integers(2, size=len(X)).astype(np.float64)
    settings = {
        "objective": "binary", "num_leaves": leaves, "min_data_in_leaf": 1, "learning_rate": 0.05,
        "min_sum_hessian_in_leaf": 0.0, "seed": 1, "num_threads": 1, "deterministic": True,
        "force_row_wise": True, "verbose": -1,
    }  # fmt: skip
    features = [names[column] for column in columns]
    booster = lgb.train(settings, lgb.Dataset(X, outcome, feature_name=features), trees)
    raw = np.unique(np.quantile(booster.predict(X, raw_score=True), np.linspace(0, 1, 51)[1:-1]))
    steps = [round(250_000 * (place + 1) / (len(raw) + 1)) for place in range(len(raw))]
    save_model(
        folder / MODELS_FOLDER / MODEL,
        name=MODEL,
        kind="lightgbm",
        model=booster.model_to_string().encode(),
        calibration=Calibration([-np.inf, *raw.tolist()], [0, *steps]),
        features={name: catalog.definition_hashes[name] for name in features},
    )
