"""A small deployment on disk, to be changed by one line and loaded."""

from collections.abc import Mapping
from pathlib import Path

from models.policy.loader import load_policies
from models.policy.platform import load_institutions, load_platform
from models.policy.policies import CatalogColumn, Policies

MODELS = {"scores": 0, "other": 1}
COLUMNS: Mapping[str, CatalogColumn] = {
    "age_years": CatalogColumn(0),
    "income_cents": CatalogColumn(1),
    "region": CatalogColumn(2, {"north": 0, "south": 1}),
    "device_risk": CatalogColumn(3, None, ("platform",)),
    "request_amount_cents": CatalogColumn(4),
}

PLATFORM = """\
decision_key = "00112233445566778899aabbccddeeff"

[limits]
offers = 1024

[[products]]
id = "loan"
side = "consumer"
kind = "loan"

[[products]]
id = "line"
side = "consumer"
kind = "line"

[[channels]]
id = "app"

[[channels]]
id = "own"
institution = "acme"

[[apr_ceilings]]
from = 2020-01-01
side = "consumer"
apr_bps = 2_500

[[rules]]
name = "device"
side = "consumer"
sections = ["application"]
when = "device_risk > 0.9"
reason = "device_risk"
"""

INSTITUTION = """\
id = "acme"
name = "Acme"

[caps]
outstanding_cents = 1_000_000
commitment_cents = 1_000_000

[reasons]
A1 = "age_out_of_range"
"""

LOAN = """\
product = "loan"

[application]
model = "scores"
cut_off_pd_ppm = 100_000
bands = "bands.csv"
income = "income_cents"
tenors_days = [30, 90]
amount_cents_min = 10_000
amount_cents_max = 500_000
method = "bullet"
offer_hours = 24
partial = true

[[application.rules]]
when = "age_years < 18"
reason = "A1"

[[application.rules]]
name = "served"
when = '''
  region == "south"
  and income_cents < 100_000'''
reason = "region_not_served"

[[cases]]
name = "plain"
amount_cents = 100_000
tenor_days = 30
pd_ppm = 20_000
features = { age_years = 30, income_cents = 300_000 }
expect = { outcome = "approved", band = 0, rate_bps = 1_000 }
"""

LINE = """\
product = "line"
channels = ["own"]

[application]
bands = "flat.csv"
tenors_days = [30]
amount_cents_min = 10_000
amount_cents_max = 500_000
method = "bullet"
offer_hours = 24
commitment = true

[drawdown]
bands = "flat.csv"
tenors_days = [30]
amount_cents_min = 100
amount_cents_max = 500_000
method = "bullet"
offer_hours = 1
"""

BANDS = """\
pd_ppm_max,rate_bps,fee_bps,limit_cents,limit_income_bps,tenor_days_max
50000,1000,100,400000,10000,90
100000,2000,100,200000,5000,30
"""

FLAT = """\
pd_ppm_max,rate_bps,fee_bps,limit_cents,tenor_days_max
1000000,1000,0,500000,30
"""

FILES = {
    "platform.toml": PLATFORM,
    "institutions/acme/institution.toml": INSTITUTION,
    "institutions/acme/loan.toml": LOAN,
    "institutions/acme/line.toml": LINE,
    "institutions/acme/bands.csv": BANDS,
    "institutions/acme/flat.csv": FLAT,
}


def write(folder: Path, changes: Mapping[str, tuple[str, str]] | None = None) -> Path:
    """Write the deployment; `changes`: file to (text that stands in it, what replaces it)."""
    for name, text in FILES.items():
        old, new = (changes or {}).get(name, ("", ""))
        assert old in text, f"{old!r} does not stand in {name}"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(old, new, 1) if old else text + new)
    return folder


def load(folder: Path) -> Policies:
    """Load the deployment in `folder`."""
    platform = load_platform(folder)
    institutions = load_institutions(folder, platform)
    return load_policies(folder, platform, institutions, COLUMNS, MODELS)
