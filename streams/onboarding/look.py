"""What a look at an institution's folder says: everything is read, nothing is decided."""

from collections.abc import Iterator
from pathlib import Path

from features.errors import CatalogError
from models.errors import ModelError
from models.policy.errors import PolicyError
from models.policy.notes import notes
from models.policy.platform import FEES_FILE, Institution
from streams.config import load_deployment
from streams.errors import DipperError
from streams.fees.schedule import read_schedule
from streams.reasons.texts import check_texts


def look(path: Path) -> Iterator[str]:
    """Yield lines on the policies under `path`; DipperError where anything there is wrong."""
    try:
        deployment = load_deployment(config_folder(path))
    except (PolicyError, CatalogError, ModelError) as error:
        raise DipperError(str(error)) from error
    rows = enumerate(deployment.policies.infos)
    infos = {row: info for row, info in rows if concerns(path, info.file)}
    if not infos:
        raise DipperError(f"{path}: no policy stands there; name a folder or file of one")
    shown = {info.institution for info in infos.values()}
    for institution in deployment.institutions:
        if institution.code in shown:
            yield (
                f"{institution.id}  {institution.name}: "
                f"outstanding up to {institution.caps.outstanding_cents / 100:,.2f}, "
                f"commitments up to {institution.caps.commitment_cents / 100:,.2f}"
            )
            yield _fees(institution)
    for row, info in infos.items():
        document = info.document
        parts = [f"{len(document.application.rules)} rules"]
        if document.drawdown is not None:
            parts.append(f"{len(document.drawdown.rules)} rules for drawdowns")
        parts.append(f"{len(document.cases)} cases")
        yield f"{info.id}  sha256 {info.sha256[:16]}  {', '.join(parts)}"
        for note in notes(deployment.policies, row):
            yield f"note  {note}"
    check_texts(deployment, deployment.folder)
    yield f"{len(infos)} policies are in order, and every feature of a model has its words"


def _fees(institution: Institution) -> str:
    path = institution.path.parent / FEES_FILE
    if not path.exists():
        return f"{institution.id}  no {FEES_FILE}: no statement can be made"
    schedule = read_schedule(path)
    terms = schedule.terms[-1]
    return (
        f"{institution.id}  fees sha256 {schedule.sha256[:16]}, months of {schedule.time_zone}, "
        f"terms from {terms.from_} on, {len(terms.drawn)} tiers"
    )


def config_folder(path: Path) -> Path:
    """Return the folder with `platform.toml` that `path` is or stands in."""
    if not path.exists():
        raise DipperError(f"{path}: no such file or folder; name a deployment's folder")
    for folder in (path, *path.resolve().parents):
        if (folder / "platform.toml").is_file():
            return folder
    raise DipperError(f"{path}: no platform.toml here or above; name a deployment's folder")


def concerns(path: Path, policy_file: Path) -> bool:
    """Return whether a policy is what was named: it, a folder around it, a file beside it."""
    named, file = path.resolve(), policy_file.resolve()
    if named == file or named in file.parents:
        return True
    return named.is_file() and named.suffix != ".toml" and named.parent == file.parent
