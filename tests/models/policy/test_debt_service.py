"""The limit by what an applicant can pay: amounts that fit, and what a missing income means."""

from pathlib import Path

import pytest

from models.policy.cases import run_cases
from models.policy.errors import PolicyError
from models.policy.platform import load_platform
from tests.models.policy.deployments import COLUMNS, MODELS, load, write

LOAN = "institutions/acme/loan.toml"
SERVICE = """
[application.debt_service]
income = "income_cents"
burden = "age_years"
share_bps_max = {share}
missing = "{missing}"
"""
CASE = """
[[cases]]
name = "asked"
amount_cents = {amount}
tenor_days = 30
pd_ppm = 20_000
features = {{ {features} }}
expect = {{ outcome = "{outcome}", reasons = [{reasons}], amount_cents = {given} }}
"""


def write_service(folder: Path, *, share: int = 4_000, missing: str = "refuse") -> Path:
    """Write the deployment with this limit in acme's loan (a bullet of 30 days at 10 % a year; the
    burden stands in the column `age_years`), no share of the income in its bands and no rule.
    """
    write(folder, {LOAN: ('income = "income_cents"\n', "")})
    bands = "pd_ppm_max,rate_bps,fee_bps,limit_cents,tenor_days_max\n100000,1000,0,400000,90\n"
    (folder / "institutions/acme/bands.csv").write_text(bands)
    policy, _, _ = (folder / LOAN).read_text().partition("[[application.rules]]")
    (folder / LOAN).write_text(policy + SERVICE.format(share=share, missing=missing))
    return folder


# share, missing; asked; income, burden (- missing); outcome, reasons, amount.
# A bullet of 30 days at 10 % pays back 1.008219178 of what was lent.
ASKED = """
4000 refuse 100000 | 252055 0      | approved - 100000
4000 refuse 100000 | 252050 0      | approved - 99998
4000 refuse 100000 | 352055 40000  | approved - 100000
4000 refuse 100000 | 300000 40000  | approved - 79347
4000 refuse 100000 | 125000 40000  | credit limit_below_min 0
4000 refuse 100000 | 100000 40000  | credit limit_below_min 0
4000 refuse 100000 | -5 0          | credit limit_below_min 0
4000 refuse 100000 | - 0           | data limit_basis_missing 0
4000 refuse 100000 | 252055 -      | data limit_basis_missing 0
4000 ignore 100000 | - 0           | approved - 100000
4000 ignore 100000 | 252055 -      | approved - 100000
4000 ignore 100000 | 252050 0      | approved - 99998
10000 refuse 500000 | 99999999 0   | approved - 400000
"""


@pytest.mark.parametrize("row", ASKED.strip().splitlines())
def test_payments_fit_the_income(tmp_path: Path, row: str) -> None:
    """What is offered is the most whose payment fits beside the burden, to the cent."""
    head, known, wanted = (part.split() for part in row.split("|"))
    named = zip(("income_cents", "age_years"), known, strict=True)
    case = CASE.format(
        amount=head[2],
        features=", ".join(f"{name} = {value}" for name, value in named if value != "-"),
        outcome=wanted[0],
        reasons="" if wanted[1] == "-" else f'"{wanted[1]}"',
        given=wanted[2],
    )
    folder = write_service(tmp_path, share=int(head[0]), missing=head[1])
    (folder / LOAN).write_text((folder / LOAN).read_text() + case)
    policies = load(folder)
    assert not run_cases(policies, 0, load_platform(folder), COLUMNS, MODELS)[0].differences


# what stands in the policy, by what it is replaced, what is said
WRONG = [
    ('missing = "refuse"\n', "", "application.debt_service.missing: is missing; add it"),
    ('"refuse"', '"zero"', "'refuse' or 'ignore'"),
    ("= 4000", "= 10_001", "less than or equal to 10000"),
    ('"income_cents"', '"wage_cents"', "unknown column wage_cents"),
    ('"income_cents"', '"region"', "income: is a category; name a column in cents"),
    ('"age_years"', '"device_risk"', "burden: may not be read by this institution"),
]


@pytest.mark.parametrize(("old", "new", "said"), WRONG)
def test_a_wrong_limit_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    """What a missing value means must be said, and columns must hold amounts."""
    path = write_service(tmp_path) / LOAN
    head, own, rest = path.read_text().partition("[application.debt_service]")
    assert old in rest
    path.write_text(head + own + rest.replace(old, new, 1))
    with pytest.raises(PolicyError) as caught:
        load(tmp_path)
    assert said in str(caught.value)
