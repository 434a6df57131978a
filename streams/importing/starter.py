"""A first deployment for imported data: a catalog that knows the columns, one lender, one policy.

Its prices and bands are a beginning to be edited, no advice.
"""

import secrets
import shutil
from pathlib import Path

import polars as pl

from features.catalog import ATTRIBUTES, KINDS
from streams.errors import DipperError
from streams.importing.map import Map
from streams.importing.requests import SIGNAL_SOURCE, Column

MODEL = "own"
INSTITUTION = "own"
TENORS_MAX = 40
BANDS = ((50_000, 900), (100_000, 1_400), (200_000, 2_200), (300_000, 3_000), (500_000, 3_600))
CUT_OFF_PPM = 200_000
_LIMITS = ("applicants", "ids", "loans", "offers")
_ROWS_MIN = 131_072


def write_deployment(folder: Path, plan: Map, kept: pl.DataFrame, columns: list[Column]) -> None:
    """Write the folder, which must not exist; the model `own` is for `dipper train` to bring."""
    if folder.exists():
        raise DipperError(f"{folder}: stands already; remove it or take another name")
    own = folder / "institutions" / INSTITUTION
    try:
        own.mkdir(parents=True)
        (folder / "platform.toml").write_text(_platform(plan, kept))
        (folder / "catalog.toml").write_text(_catalog(plan, columns))
        (own / "institution.toml").write_text(_INSTITUTION)
        (own / f"{plan.request.product}.toml").write_text(_policy(plan, kept))
        (own / "bands.csv").write_text(_bands(kept))
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DipperError(f"{folder}: cannot be written ({error.strerror})") from error


def _platform(plan: Map, kept: pl.DataFrame) -> str:
    people = kept["applicant"].n_unique()
    rows = max(_ROWS_MIN, 1 << (2 * people - 1).bit_length())
    sizes = "".join(f"{name} = {rows}\n" for name in _LIMITS) if rows > _ROWS_MIN else ""
    timers = f"timers = {4 * rows}\n" if sizes else ""
    return f"""# Written by dipper import. One product, one channel; add your own.
partitions = 1
decision_key = "{secrets.token_hex(16)}"

[limits]
{sizes}{timers}
[[products]]
id = "{plan.request.product}"
side = "{plan.request.side}"
kind = "loan"

[[channels]]
id = "{plan.request.channel}"
"""


def _catalog(plan: Map, columns: list[Column]) -> str:
    """Declare the columns; the default attributes give way, since the file has its own."""
    named = {attribute.name for attribute in ATTRIBUTES}
    both = sorted(named & {column.name for column in columns})
    kinds = sorted({activity.kind for activity in plan.activity})
    own = [kind for kind in kinds if kind not in KINDS]
    text = "# Written by dipper import: what the file says of an applicant.\n"
    if both:
        text += f"# Bear the names of default attributes: {', '.join(both)}.\n"
    text += "defaults = false\n"
    if own:
        text += f"kinds = [{', '.join(_quoted(kind) for kind in own)}]\n"
    for column in columns:
        if column.signal:
            text += f'\n[[signals]]\nsource = "{SIGNAL_SOURCE}"\nname = "{column.name}"\n'
            text += "ttl_days = 730\n"
        else:
            text += f'\n[[attributes]]\nname = "{column.name}"\ntype = "{column.type}"\n'
            if column.values:
                text += f"values = [{', '.join(_quoted(value) for value in column.values)}]\n"
        text += f"unit = {_quoted(column.unit)}\nmonotone = {column.monotone}\n"
    return text


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _policy(plan: Map, kept: pl.DataFrame) -> str:
    counts = kept["tenor_days"].value_counts(sort=True).head(TENORS_MAX)
    tenors = sorted(counts["tenor_days"].to_list())
    low, high = kept.select(pl.col("amount_cents").min(), high=pl.col("amount_cents").max()).row(0)
    return f"""# Written by dipper import: a policy to begin with; edit it, then check it.
product = "{plan.request.product}"

[application]
model = "{MODEL}"
cut_off_pd_ppm = {CUT_OFF_PPM}
bands = "bands.csv"
tenors_days = {tenors}
amount_cents_min = {low}
amount_cents_max = {high}
method = "bullet"
offer_hours = 72
"""


def _bands(kept: pl.DataFrame) -> str:
    limit, longest = kept.select(pl.col("amount_cents").max(), pl.col("tenor_days").max()).row(0)
    rows = [f"{pd},{rate},0,{limit},{longest}" for pd, rate in BANDS]
    return "\n".join(["pd_ppm_max,rate_bps,fee_bps,limit_cents,tenor_days_max", *rows]) + "\n"


_INSTITUTION = f"""# Written by dipper import.
id = "{INSTITUTION}"
name = "Own book"

[caps]
outstanding_cents = 1_000_000_000_000
commitment_cents = 0
"""
