"""A config folder of three institutions, written for tests: lines, loans, a model of each kind.

Every branch of a decision is near at hand: rules of all classes, bands, a price above the legal
ceiling, partial amounts, a channel of one institution, lines with and without commitment.
"""

import math
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from features.catalog import load_catalog
from models.artifact import save_model
from models.calibrate import Calibration
from streams.config import load_deployment
from streams.deployment import Deployment
from streams.versions import VERSIONS_FOLDER, save_version, with_versions
from tests.models.tree_twin import random_model, render

PLATFORM = """\
decision_key = "000102030405060708090a0b0c0d0e0f"
features = "all"

[[products]]
id = "cash_line"
side = "consumer"
kind = "line"

[[products]]
id = "instalment_loan"
side = "consumer"
kind = "loan"
ranking = "amount"

[[products]]
id = "invoice_loan"
side = "business"
kind = "loan"

[[channels]]
id = "app"

[[channels]]
id = "web"

[[channels]]
id = "north_card"
institution = "north"

[[apr_ceilings]]
from = 2020-01-01
side = "consumer"
apr_bps = 3_600

[[apr_ceilings]]
from = 2024-01-01
side = "consumer"
apr_bps = 2_400

[[rules]]
name = "device"
side = "consumer"
when = "device_risk > 0.9"
reason = "device_risk"
"""

INSTITUTION = """\
id = "{id}"
name = "Institution {id}"

[caps]
outstanding_cents = 1_000_000_000
commitment_cents = 1_000_000_000
"""

SECTION = """
[{name}]
bands = "{bands}"
tenors_days = [30, 90, 360]
amount_cents_min = {least}
amount_cents_max = {most}
method = "{method}"
offer_hours = {hours}
{more}
"""

RULE = """
[[{section}.rules]]
when = '{when}'
reason = "{reason}"
"""

# pd_ppm_max, rate_bps, fee_bps, limit_cents, tenor_days_max
SCORED = "50000,900,50,800000,360\n200000,1300,100,300000,90\n1000000,1700,0,100000,30\n"
FLAT = "1000000,{rate},0,500000,360\n"

# Institution, product: sections as (name, bands, least, most, method, hours, more), then rules.
POLICIES = {
    ("dawn", "cash_line"): (
        (
            ("application", "scored", 1_000, 600_000, "bullet", 72,
             'model = "card"\ncut_off_pd_ppm = 500_000\npartial = true\ncommitment = true'),
            ("drawdown", "flat_1500", 100, 400_000, "equal_instalment", 24, "partial = false"),
        ),
        (
            ("application", "age_years < 18", "age_out_of_range"),
            ("application", "lines_active >= 2", "line_already_open"),
            ("application", "bureau_score is missing and order_count_90d < 1", "bureau_missing"),
            ("drawdown", "current_dpd_days > 3", "recent_delinquency"),
            ("drawdown", "request_to_line_available > 0.9", "velocity"),
        ),
    ),
    ("dawn", "instalment_loan"): (
        (("application", "scored", 1_000, 700_000, "equal_instalment", 48,
          'model = "forest"\ncut_off_pd_ppm = 950_000\npartial = true'),),
        (
            ("application", 'region in ["north", "south"] and pd_ppm.card > 250_000',
             "region_not_served"),
            ("application", "reserved_cents > 2 * income_cents", "over_indebted"),
            ("application", "worst_dpd_days > 30", "worst_dpd"),
        ),
    ),
    ("meadow", "cash_line"): (
        (
            ("application", "flat_1700", 1_000, 500_000, "bullet", 200, "partial = true"),
            ("drawdown", "flat_1200", 100, 500_000, "bullet", 6, "partial = true"),
        ),
        (
            ("application", "open_offers >= 3", "velocity"),
            ("application", "raw.forest > 1.5", "activity_unusual"),
            ("drawdown", "loans_open > 4", "too_many_open_loans"),
        ),
    ),
    ("meadow", "instalment_loan"): (
        (("application", "flat_1200", 1_000, 300_000, "bullet", 100, "partial = false"),),
        (("application", "dues_late_share > 0.5", "late_share_high"),),
    ),
    ("meadow", "invoice_loan"): (
        (("application", "flat_1500", 10_000, 5_000_000, "bullet", 24, "partial = true"),),
        (("application", "invoice_out_count_90d < 2", "turnover_too_low"),),
    ),
    ("north", "cash_line"): (
        (
            ("application", "flat_1500", 1_000, 400_000, "bullet", 72,
             "partial = false\ncommitment = true"),
            ("drawdown", "flat_900", 100, 400_000, "bullet", 24, "partial = false"),
        ),
        (("application", "bureau_score < 600", "bureau_score_low"),),
    ),
    ("north", "instalment_loan"): (
        (("application", "flat_3000", 1_000, 900_000, "bullet", 24, "partial = true"),),
        (("application", "order_cents_std_90d > 40_000", "activity_unusual"),),
    ),
}  # fmt: skip
CHANNELS = {("north", "cash_line"): ["north_card", "web"]}

SCORECARD = """\
feature,from,to,points
order_count_30d,missing,,0
order_count_30d,,2,5
order_count_30d,2,,20
bureau_score,missing,,0
bureau_score,,600,-30
bureau_score,600,,40
worst_dpd_days,missing,,0
worst_dpd_days,,1,10
worst_dpd_days,1,,-50
lines_utilisation,missing,,3
lines_utilisation,,0.5,8
lines_utilisation,0.5,,-8
"""
CARD_FEATURES = ("order_count_30d", "bureau_score", "worst_dpd_days", "lines_utilisation")
CARD_STEPS = Calibration([-math.inf, -20.0, 10.0, 30.0, 60.0],
                         [400_000, 260_000, 120_000, 45_000, 9_000])  # fmt: skip
FOREST_FEATURES = ("region", "debt_to_income", "order_cents_sum_90d", "request_to_income")
FOREST_STEPS = Calibration([-math.inf, -1.0, 0.0, 1.0, 2.0],
                           [1_000, 40_000, 150_000, 500_000, 900_000])  # fmt: skip

LIMITS = {
    "applicants": 256,
    "pages": 1_024,
    "ids": 4_096,
    "lines": 256,
    "loans": 256,
    "dues": 1_024,
    "offers": 512,
    "timers": 4_096,
    "sweep_rows_per_tick": 8_192,  # each tick looks at every row, as the twin does
}
"""Limits with room for any generated log."""


def write_deployment(folder: Path) -> Path:
    """Write the config folder; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "platform.toml").write_text(PLATFORM)
    for (institution, product), (sections, rules) in POLICIES.items():
        home = folder / "institutions" / institution
        home.mkdir(parents=True, exist_ok=True)
        (home / "institution.toml").write_text(INSTITUTION.format(id=institution))
        text = f'product = "{product}"\n'
        if named := CHANNELS.get((institution, product)):
            text += f"channels = {named}\n"
        for name, bands, least, most, method, hours, more in sections:
            _write_bands(home, bands)
            text += SECTION.format(
                name=name, bands=f"{bands}.csv", least=least, most=most, method=method,
                hours=hours, more=more,
            )  # fmt: skip
            for section, when, reason in rules:
                if section == name:
                    text += RULE.format(section=section, when=when, reason=reason)
        (home / f"{product}.toml").write_text(text)
    _write_models(folder / "models")
    return folder


def _write_bands(home: Path, name: str) -> None:
    rows = SCORED if name == "scored" else FLAT.format(rate=name.removeprefix("flat_"))
    head = "pd_ppm_max,rate_bps,fee_bps,limit_cents,tenor_days_max\n"
    (home / f"{name}.csv").write_text(head + rows)


def _write_models(folder: Path) -> None:
    hashes = load_catalog(None).definition_hashes
    save_model(
        folder / "card",
        name="card",
        kind="scorecard",
        model=SCORECARD.encode(),
        calibration=CARD_STEPS,
        features={name: hashes[name] for name in CARD_FEATURES},
    )
    forest = replace(random_model(3, [5, 9, 17, 4]), feature_names=list(FOREST_FEATURES))
    save_model(
        folder / "forest",
        name="forest",
        kind="lightgbm",
        model=render(forest).encode(),
        calibration=FOREST_STEPS,
        features={name: hashes[name] for name in FOREST_FEATURES},
    )


def small_deployment(folder: Path, **limits: int) -> Deployment:
    """Write and load the deployment and a second version of it; `limits` replace single ones of
    LIMITS.
    """
    write_deployment(folder)
    with TemporaryDirectory() as other:
        save_version(folder, change(write_deployment(Path(other) / "config")))
    return with_versions(load_deployment(folder, LIMITS | limits))


# Caps by day and segment that are reached soon, by institution.
SEGMENTS = {
    "dawn": """outstanding_day_cents = 125_001
day_utc_offset_minutes = 480

[[caps.segments]]
id = "risky"
products = ["cash_line"]
bands = [1, 2]
commitment_cents = 400_000

[[caps.segments]]
id = "regions"
attribute = "region"
values = ["north", "south"]
outstanding_cents = 60_000
commitment_day_cents = 500_000

[[caps.segments]]
id = "trial"
at_random = true
outstanding_cents = 75_000
""",
    "meadow": """
[[caps.segments]]
id = "loans"
products = ["instalment_loan", "invoice_loan"]
outstanding_cents = 700_000
outstanding_day_cents = 600_000
""",
}


# Of those whom it refuses by score alone three fifths are let in.
CHALLENGER = """
product = "instalment_loan"
[experiment]
name = "cut_off"
share_ppm = 700_000

[application]
bands = "scored.csv"
tenors_days = [30, 90, 360]
amount_cents_min = 1_000
amount_cents_max = 700_000
method = "equal_instalment"
offer_hours = 48
model = "card"
cut_off_pd_ppm = 10_000
random_share_ppm = 600_000
partial = true
"""


def segmented_deployment(folder: Path) -> Deployment:
    """Write and load the deployment with caps by day and segment, a challenger, a random arm,
    and a second version of it in which one cap is lower.
    """
    write_segments(write_deployment(folder))
    with TemporaryDirectory() as other:
        second = write_segments(change(write_deployment(Path(other) / "config")))
        path = second / "institutions" / "dawn" / "institution.toml"
        path.write_text(path.read_text().replace("125_001", "60_000"))
        save_version(folder, second)
    return with_versions(load_deployment(folder, LIMITS))


def write_segments(folder: Path) -> Path:
    """Add SEGMENTS to a config folder."""
    home = folder / "institutions" / "dawn" / "challengers"
    home.mkdir()
    (home / "instalment_loan.toml").write_text(CHALLENGER)
    _write_bands(home, "scored")
    for institution, text in SEGMENTS.items():
        path = folder / "institutions" / institution / "institution.toml"
        path.write_text(path.read_text() + text)
    return folder


def change(folder: Path) -> Path:
    """Change prices, a cut-off, a rule, a model and the number of policies and rules."""
    dawn = folder / "institutions" / "dawn"
    (dawn / "flat_1500.csv").write_text((dawn / "flat_1500.csv").read_text().replace("1500", "990"))
    (folder / "institutions" / "meadow" / "invoice_loan.toml").unlink()
    line = dawn / "cash_line.toml"
    text = line.read_text().replace("cut_off_pd_ppm = 500_000", "cut_off_pd_ppm = 130_000")
    line.write_text(
        text.replace("lines_active >= 2", "lines_active >= 3")
        + RULE.format(section="application", when="open_offers > 1", reason="velocity")
    )
    third = SCORECARD.replace("order_count_30d,,2,5", "order_count_30d,,2,35")
    save_model(
        folder / "models" / "third",
        name="third",
        kind="scorecard",
        model=third.encode(),
        calibration=CARD_STEPS,
        features={name: load_catalog(None).definition_hashes[name] for name in CARD_FEATURES},
    )
    loan = dawn / "instalment_loan.toml"
    loan.write_text(loan.read_text().replace('model = "forest"', 'model = "third"'))
    return folder


def versions_of(deployment: Deployment) -> list[str]:
    """Return the versions that stand beside a deployment."""
    folder = deployment.folder / VERSIONS_FOLDER
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def with_limits(deployment: Deployment, **limits: int) -> Deployment:
    """Return the deployment with single limits replaced, all else as it is."""
    return with_versions(replace(deployment, overrides={**deployment.overrides, **limits}))
