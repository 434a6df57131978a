"""A deployment to test doors with: the example policies, two small scorecards, keys of its own."""

import shutil
from pathlib import Path

from features.catalog import load_catalog
from models.artifact import save_model
from models.calibrate import Calibration
from streams.control.keys import init_keys
from tests.tidy.source import ROOT

POLICIES = ROOT / "examples" / "policies"
_CARD = b"""\
feature,from,to,points
request_amount_cents,missing,,0
request_amount_cents,,50000,60
request_amount_cents,50000,300000,40
request_amount_cents,300000,,10
age_years,missing,,0
age_years,,30,0
age_years,30,,30
"""


def make_deployment(folder: Path, limits: str = "") -> Path:
    """Write a config folder and return it; `limits` are lines for `[limits]` of platform.toml."""
    shutil.copytree(POLICIES, folder, ignore=shutil.ignore_patterns("models", "keys"))
    catalog = load_catalog(folder / "catalog.toml")
    names = ("request_amount_cents", "age_years")
    for name in ("consumer", "business"):
        save_model(
            folder / "models" / name,
            name=name,
            kind="scorecard",
            model=_CARD,
            calibration=Calibration(
                [-float("inf"), 20.0, 60.0, 80.0], [400_000, 90_000, 30_000, 9_000]
            ),
            features={each: catalog.definition_hashes[each] for each in names},
        )
    init_keys(folder)
    platform = folder / "platform.toml"
    text = platform.read_text()
    head, marker, tail = text.partition("[limits]\n")
    assert marker
    rest = tail[tail.index("\n\n") :]
    platform.write_text(f"{head}{marker}{limits}{rest}")
    return folder
