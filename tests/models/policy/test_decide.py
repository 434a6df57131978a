"""The decide stage as a table: one request a row, readable without code."""

from pathlib import Path

import numpy as np
import pytest

from models.policy.judge import judge
from models.policy.reasons import codes_of, mask_of
from models.policy.rules import begin_block
from models.policy.tables import make_scratch
from streams.limits import BLOCK
from streams.schema import VERDICT, Cap, Outcome
from tests.models.policy.deployments import COLUMNS, load, write

# The policies are those of deployments.py. acme/loan lends 10,000 to 500,000 cents for 30 or 90
# days, offers less where asked too much, up to one month's income (at most 400,000) below 5 % risk
# and half of it (at most 200,000, for 30 days) below 10 %; nobody under 18, no low incomes of the
# south. acme/line, on the bank's own channel, offers the amount asked, up to 500,000, whatever the
# risk. Law: 25 % a year.
#
# request: product, apply or draw, channel, amount, tenor, pd, available | known of the applicant
# verdict: outcome, reasons, band, amount, fee, instalment, cap (- none)
TABLE = """
loan apply app 100000 30 20000 -  | age=30 income=300000  | approved - 0 100000 1000 100822 out
loan apply own 100000 30 20000 -  | income=300000         | approved - 0 100000 1000 100822 out
loan apply app 10000 90 50000 -   | income=300000         | approved - 0 10000 100 10247 out
loan apply app 9999 30 20000 -    | income=300000         | eligibility amount_below_min 0 0 0 0 -
loan apply app 350000 30 20000 -  | income=300000         | approved - 0 300000 3000 302466 out
loan apply app 900000 30 20000 -  | income=900000         | approved - 0 400000 4000 403288 out
loan apply app 100000 30 50001 -  | income=300000         | price_cap apr_above_ceiling 1 0 0 0 -
loan apply app 20000 90 70000 - | income=50000 | credit tenor_above_band,apr_above_ceiling 1 0 0 0 -
loan apply app 100000 60 20000 -  | income=300000         | eligibility tenor_not_offered 0 0 0 0 -
loan apply app 100000 30 100001 - | income=300000         | credit score_above_cut_off -1 0 0 0 -
loan apply app 100000 30 - -      | income=300000         | data score_missing -1 0 0 0 -
loan apply app 100000 30 20000 -  | age=30                | data limit_basis_missing 0 0 0 0 -
loan apply app 100000 30 20000 -  | income=9999           | credit limit_below_min 0 0 0 0 -
loan apply app 100000 30 20000 -  | income=-5             | credit limit_below_min 0 0 0 0 -
loan apply app 100000 30 20000 -  | age=17 income=300000  | eligibility age_out_of_range 0 0 0 0 -
loan apply app 100000 30 20000 -  | region=1 income=99999 | eligibility region_not_served 0 0 0 0 -
loan apply app 90000 30 20000 -   | region=1 income=100000 | approved - 0 90000 900 90740 out
loan apply app 100000 30 20000 -  | device=0.95 income=300000 | fraud device_risk 0 0 0 0 -
loan apply app 20000 30 200000 -  | device=0.95 | fraud device_risk,score_above_cut_off -1 0 0 0 -
loan apply app 100000 30 20000 5  | income=300000         | eligibility line_exceeded 0 0 0 0 -
line apply own 500000 30 - -      |                       | approved - 0 500000 0 504110 com
line apply own 500001 30 - -      |                       | eligibility amount_above_max 0 0 0 0 -
line apply app 500000 30 - -      |                       | none
line draw own 100 30 - 100        |                       | approved - 0 100 0 101 out
line draw own 101 30 - 100        |                       | eligibility line_exceeded 0 0 0 0 -
line draw own 99 30 - 100         |                       | eligibility amount_below_min 0 0 0 0 -
line draw own 100 30 - 0          | device=0.95           | eligibility line_exceeded 0 0 0 0 -
loan draw app 100 30 20000 100    | income=300000         | none
"""

KNOWN = {"age": "age_years", "income": "income_cents", "region": "region", "device": "device_risk"}
pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("row", TABLE.strip().splitlines())
def test_a_request_comes_to_its_verdict(tmp_path: Path, row: str) -> None:
    """The verdict on each request is the one that stands in its row."""
    asked, known, wanted = (part.split() for part in row.split("|"))
    product, section, channel = asked[:3]
    amount, tenor, pd, available = (-1 if text == "-" else int(text) for text in asked[3:])
    policies = load(write(tmp_path))
    vectors = np.full((len(COLUMNS), BLOCK), np.nan)
    for fact in known:
        name, value = fact.split("=")
        vectors[COLUMNS[KNOWN[name]].row, 3] = float(value)
    raw = np.full((2, BLOCK), np.nan)
    pd_ppm = np.full((2, BLOCK), -1, np.int64)
    pd_ppm[0, 3] = pd
    verdicts = np.zeros(1, VERDICT)
    scratch = make_scratch(policies.tables)
    begin_block(scratch, 4)
    count = judge(
        policies.tables, scratch, ("apply", "draw").index(section),
        ("loan", "line").index(product), ("app", "own").index(channel), -1, amount, tenor,
        2_000_000_000_000, np.uint64(0), available, vectors, raw, pd_ppm, 3, verdicts,
        np.zeros((1, policies.rule_words), np.uint64),
    )  # fmt: skip
    if wanted == ["none"]:
        assert count == 0
        return
    assert count == 1
    verdict = verdicts[0]
    found = [
        Outcome(int(verdict["outcome"])).name.lower(),
        ",".join(codes_of(int(verdict["reasons"]))) or "-",
        *(str(int(verdict[name])) for name in ("band", "amount_cents", "fee_cents")),
        str(int(verdict["instalment_cents"])),
        "-" if verdict["cap"] < 0 else Cap(int(verdict["cap"])).name.lower()[:3],
    ]
    assert found == wanted


def test_preset_reasons_stand_beside_the_policys_own(tmp_path: Path) -> None:
    """What the core already knows, as a frozen line, is borne by every verdict."""
    policies = load(write(tmp_path))
    verdicts = np.zeros(1, VERDICT)
    blocks = (np.full((len(COLUMNS), BLOCK), np.nan), np.full((2, BLOCK), np.nan))
    scratch = make_scratch(policies.tables)
    begin_block(scratch, 1)
    judge(
        policies.tables, scratch, 1, 1, -1, 0, 50, 30, 0,
        np.uint64(mask_of(("line_not_active",))), 1_000, *blocks,
        np.full((2, BLOCK), -1, np.int64), 0, verdicts, np.zeros((1, 1), np.uint64),
    )  # fmt: skip
    assert codes_of(int(verdicts[0]["reasons"])) == ("line_not_active", "amount_below_min")
    assert verdicts[0]["outcome"] == Outcome.ELIGIBILITY
