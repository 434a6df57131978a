"""The deployment that is measured: a line and a loan, lenders with rules and models on 48 features.

One lender, a few rules and one model, or as many of each as are asked for.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.catalog import Catalog
from models.artifact import save_model
from models.calibrate import Calibration
from models.lean_lightgbm import lgb
from streams.config import MODELS_FOLDER

FEATURES = 48
MODEL = "bench"
LINE, LOAN, CHANNEL = "card", "loan", "app"
# Times such that nothing expires while a run lasts, budgets such that none runs out.
_CAP_CENTS = 10**14

_PLATFORM = f"""\
decision_key = "000102030405060708090a0b0c0d0e0f"
features = "%s"

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
id = "%s"
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

_SCORED = 'model = "%s"\ncut_off_pd_ppm = 150_000\nbands = "%s.csv"'
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


# Rules that are asked for beyond those above: a column and the least that lets a rule fire. A step
# between them makes every one distinct; a few in a hundred requests fire the lowest.
_MORE = (
    ("order_cents_sum_90d", 600_000, 211), ("order_cents_sum_30d", 300_000, 173),
    ("order_cents_max_90d", 49_500, 3), ("order_cents_mean_90d", 35_000, 19),
    ("order_days_since_last_365d", 25, 1), ("request_amount_cents", 590_000, 97),
    ("existing_debt_cents", 4_900_000, 401), ("transfer_in_cents_sum_90d", 250_000, 131),
    ("refund_cents_sum_90d", 200_000, 89), ("order_cents_sum_365d", 700_000, 223),
)  # fmt: skip
_OWN_RULES = 5  # of the first section and of the second, together
_RULE = """
[[%s.rules]]
when = "%s > %d"
reason = "velocity"
name = "more_%d"
"""


def model_name(number: int) -> str:
    """Return the name of one of the models: the first is MODEL."""
    return MODEL if number == 0 else f"{MODEL}_{number}"


def lender_name(number: int) -> str:
    """Return the id of one of the institutions: the first is "lender"."""
    return "lender" if number == 0 else f"lender_{number:02d}"


def write_deployment(
    folder: Path, *, scored: bool, institutions: int = 1, rules: int = 0, models: int = 1
) -> None:
    """Write the config folder; with `scored` its policies need the models of `write_model`, without
    its evidence holds every column of the catalog.

    `institutions` lend, each the same but by its model, in turn one of `models`; `rules` are those
    of each line's drawdowns and of each loan's applications over all institutions, never fewer than
    the few that every institution has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "platform.toml").write_text(_PLATFORM % ("used" if scored else "all"))
    for number in range(institutions):
        lender = folder / "institutions" / lender_name(number)
        lender.mkdir(parents=True, exist_ok=True)
        draw, loan = _UNSCORED, _UNSCORED
        if scored:
            name = model_name(number % models)
            draw, loan = _SCORED % (name, "draw"), _SCORED % (name, "loan")
            loan += '\nincome = "income_cents"'
        more = range(number, max(0, rules - _OWN_RULES * institutions), institutions)
        for file, text in (
            ("institution.toml", _INSTITUTION % lender_name(number)),
            ("card.toml", _LINE_POLICY % draw + _more_rules("drawdown", more)),
            ("loan.toml", _LOAN_POLICY % loan + _more_rules("application", more)),
            ("draw.csv", _DRAW_BANDS),
            ("loan.csv", _LOAN_BANDS),
            ("flat.csv", _FLAT_BANDS),
        ):
            (lender / file).write_text(text)


def _more_rules(section: str, numbers: range) -> str:
    rules = []
    for number in numbers:
        column, least, step = _MORE[number % len(_MORE)]
        rules.append(_RULE % (section, column, least + step * (number // len(_MORE)), number))
    return "".join(rules)


def write_model(
    folder: Path,
    catalog: Catalog,
    vectors: NDArray[np.float64],
    trees: int,
    leaves: int,
    number: int = 0,
) -> None:
    """Train a model of `trees` trees with `leaves` leaves each on real vectors and random outcomes.

    `vectors` float64[requests, columns], NaN missing, are what the step derives from such traffic,
    so that rows spread over the trees as they do in life. Features are the 48 columns with the most
    different values. Scores are calibrated by their own quantiles: PD 0 to 25 % in even steps.
    Each `number` has other outcomes, and so other trees.
    """
    names = list(catalog.columns)
    different = [len(np.unique(column)) for column in vectors.T]
    columns = sorted(np.argsort(different, kind="stable")[-FEATURES:].tolist())
    X = np.ascontiguousarray(vectors[:, columns])
    outcome = np.random.default_rng(1 + number).integers(2, size=len(X)).astype(np.float64)
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
        folder / MODELS_FOLDER / model_name(number),
        name=model_name(number),
        kind="lightgbm",
        model=booster.model_to_string().encode(),
        calibration=Calibration([-np.inf, *raw.tolist()], [0, *steps]),
        features={name: catalog.definition_hashes[name] for name in features},
    )
