"""Write the first folder of an institution that joins: commented, and passing its own checks."""

import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from features.catalog import load_catalog
from models.artifact import save_model
from models.calibrate import parse_calibration
from models.policy.documents import Name
from models.scorecard import parse_scorecard
from streams.config import CATALOG_FILE, MODELS_FOLDER
from streams.errors import DipperError

TEMPLATE = Path(__file__).with_name("template")
MODEL = "starter"
_POLICY_FILES = (
    "institution.toml",
    "cash_line.toml",
    "cash_line.csv",
    "blocked.csv",
    "cash_line_draw.csv",
    "instalment_loan.toml",
    "instalment_loan.csv",
    "fees.toml",
)


def init_institution(name: str, folder: Path) -> list[Path]:
    """Write a deployment of one institution into `folder`, which must not exist; return its files.

    `name` becomes the institution's id. DipperError where the name is none, or the folder stands.
    """
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        message = f"{name}: no name for an institution; take lower-case letters, digits and _"
        raise DipperError(message) from None
    if folder.exists():
        raise DipperError(f"{folder}: stands already; remove it or take another name")
    words = {
        "name": name,
        "title": name.replace("_", " ").title(),
        "decision_key": secrets.token_hex(16),
    }
    try:
        own = folder / "institutions" / name
        own.mkdir(parents=True)
        _write("platform.toml", folder, words)
        _write("people.toml", folder, words)
        for file in _POLICY_FILES:
            _write(file, own, words)
        _write_model(folder)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DipperError(f"{folder}: cannot be written ({error.strerror})") from error
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _write(file: str, folder: Path, words: Mapping[str, str]) -> None:
    text = (TEMPLATE / file).read_text()
    for word, value in words.items():
        text = text.replace("{" + word + "}", value)
    (folder / file).write_text(text)


def _write_model(folder: Path) -> None:
    """Save the starter scorecard: points set by hand, until a model of own data replaces it."""
    path = folder / CATALOG_FILE
    hashes = load_catalog(path if path.exists() else None).definition_hashes
    card, steps = TEMPLATE / "scorecard.csv", TEMPLATE / "calibration.csv"
    names = [feature.name for feature in parse_scorecard(card, card.read_bytes())]
    save_model(
        folder / MODELS_FOLDER / MODEL,
        name=MODEL,
        kind="scorecard",
        model=card.read_bytes(),
        calibration=parse_calibration(steps, steps.read_bytes()),
        features={name: hashes[name] for name in names},
    )
