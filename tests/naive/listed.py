"""The small deployment with lists that rules ask and a matrix, and a second version of them."""

from pathlib import Path
from tempfile import TemporaryDirectory

from streams.config import load_deployment
from streams.deployment import Deployment
from streams.versions import save_version, with_versions
from tests.naive.deployments import LIMITS, RULE, change, write_deployment

# One entry ends on the way of a log that begins on 14 November 2023.
LISTS = {
    "dawn": "kind,token,expires,note\ndevice,d0,,stolen\ndevice,d1,2023-11-16,\nid_doc,d2,,\n",
    "meadow": "token,kind\nd1,device\nf1,phone\np2,applicant\n",
}
MATRIX = """\
pd_ppm.card \\ income_cents,<50000,>=50000,missing
<200000,low,high,low
>=200000,refuse,low,refuse
"""
SERVICE = (
    'debt_service = { income = "income_cents", burden = "existing_debt_cents",'
    ' share_bps_max = 9_000, missing = "ignore" }'
)
TERMS = """\
class,rate_bps,fee_bps,limit_cents,tenor_days_max
high,900,50,700000,360
low,1300,100,40000,360
"""
WATCHED = "kind,token\nphone,f0\nphone,北\n"

RULES = {
    "dawn": (("application", "device on mine", "device_changed"),),
    "meadow": (
        ("application", "request on mine and age_years > 40", "customers_only"),
        ("drawdown", "device not on mine", "identity_mismatch"),
    ),
}


def write_lists(folder: Path) -> Path:
    """Add LISTS, RULES, a list of the platform's own and MATRIX to a config folder."""
    for institution, entries in LISTS.items():
        home = folder / "institutions" / institution
        (home / "listed.csv").write_text(entries)
        path = home / "cash_line.toml"
        text = path.read_text().replace("\n[", '\n[lists]\nmine = "listed.csv"\n\n[', 1)
        for section, when, reason in RULES[institution]:
            text += RULE.format(section=section, when=when, reason=reason)
        path.write_text(text)
    loan = folder / "institutions" / "dawn" / "instalment_loan.toml"
    wanted = 'bands = "terms.csv"\nmatrix = "matrix.csv"\nmatrix_reason = "history_too_short"'
    wanted += f"\n{SERVICE}"
    loan.write_text(loan.read_text().replace('bands = "scored.csv"', wanted))
    (loan.parent / "matrix.csv").write_text(MATRIX)
    (loan.parent / "terms.csv").write_text(TERMS)
    platform = folder / "platform.toml"
    text = platform.read_text().replace("\n[[", '\n[lists]\nwatched = "watched.csv"\n\n[[', 1)
    platform.write_text(text.replace("> 0.9", "> 0.9 or phone on watched"))
    (folder / "lists").mkdir()
    (folder / "lists" / "watched.csv").write_text(WATCHED)
    return folder


def listed_deployment(folder: Path) -> Deployment:
    """Write and load the deployment with lists and a matrix, and a second version with others."""
    write_lists(write_deployment(folder))
    with TemporaryDirectory() as other:
        second = write_lists(change(write_deployment(Path(other) / "config")))
        dawn = second / "institutions" / "dawn"
        (dawn / "listed.csv").write_text(LISTS["dawn"] + "device,d3,,\n")
        (dawn / "matrix.csv").write_text(MATRIX.replace("refuse,low,", "low,refuse,"))
        save_version(folder, second)
    return with_versions(load_deployment(folder, LIMITS))
