"""From a draft to a proposal: 1. lay it over what is live; 2. check; 3. run its cases; 4. replay;
5. tell the difference in words; 6. write it all down, signed by its author.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from features.errors import CatalogError
from models.errors import ModelError
from models.policy.errors import PolicyError
from models.policy.platform import FEES_FILE
from streams.change.files import changed, is_fees, owner, versioned
from streams.change.people import read_key
from streams.change.record import Change, enter, signer
from streams.change.words import differences
from streams.config import load_deployment
from streams.deployment import Deployment
from streams.errors import DipperError
from streams.fees.schedule import read_schedule
from streams.replay import Progress
from streams.study.deployments import deployment_folder
from streams.study.money import Economics
from streams.study.run import Question, ask
from streams.study.sections import report_figures


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What is proposed: a deployment, an institution's folder or a policy file, and by whom."""

    draft: Path
    live: Path
    author: str
    key: Path
    why: str
    events: str = ""
    labels: Path | None = None
    groups: tuple[str, ...] = ()


def propose(draft: Draft, *, on_progress: Callable[[Progress], None] = lambda _: None) -> Change:
    """Check, replay and write down a change; DipperError, and nothing written, where it is wrong.

    `events` may be left out only where nothing that decides is changed (fees).
    """
    key = read_key(draft.key)
    before = versioned(draft.live)
    with deployment_folder(draft.draft, draft.live) as folder:
        after = versioned(folder)
        paths = changed(before, after)
        if not paths:
            raise DipperError(f"{draft.draft} says what is live already; change something")
        signer(draft.live, draft.author, key, paths)
        live, new = _load(draft.live), _load(folder)
        _check_fees(folder, paths)
        impact, figures = _replayed(draft, folder, paths, on_progress)
        body = {
            "author": draft.author,
            "why": draft.why,
            "owners": sorted({owner(path) for path in paths}),
            "base": {path: before.get(path, "") for path in paths},
            "becomes": {path: after.get(path, "") for path in paths},
            "versions": _versions(live, new),
            "cases": sum(len(info.document.cases) for info in new.policies.infos),
            "differences": [list(each) for each in differences(draft.live, folder)],
            "impact": impact,
            "figures_sha256": hashlib.sha256(figures).hexdigest() if figures else "",
        }
        return enter(draft.live, body, key, folder, figures)


def _load(folder: Path) -> Deployment:
    """Read everything and run all cases."""
    try:
        return load_deployment(folder)
    except (PolicyError, CatalogError, ModelError) as error:
        raise DipperError(str(error)) from error


def _check_fees(folder: Path, paths: list[str]) -> None:
    for path in paths:
        if Path(path).name == FEES_FILE and (folder / path).is_file():
            read_schedule(folder / path)


def _versions(live: Deployment, new: Deployment) -> dict[str, list[str]]:
    """Return, by name, the content address before and after of what differs."""
    sides = [
        {f"policy {info.id}": info.sha256 for info in each.policies.infos}
        | {f"model {info.name}": info.sha256 for info in each.model_infos}
        for each in (live, new)
    ]
    return {
        name: [side.get(name, "") for side in sides]
        for name in sorted({*sides[0], *sides[1]})
        if sides[0].get(name) != sides[1].get(name)
    }


def _replayed(
    draft: Draft, folder: Path, paths: list[str], on_progress: Callable[[Progress], None]
) -> tuple[dict[str, Any] | None, bytes]:
    if all(is_fees(path) for path in paths):
        return None, b""
    if not draft.events:
        raise DipperError(
            "a change of what decides is replayed before anybody signs it; name a log with --events"
        )
    question = Question(
        source=draft.events, policy=draft.live, against=str(folder), config=draft.live,
        labels=draft.labels,
    )  # fmt: skip
    comparison = ask(question, on_progress=on_progress)
    figures = report_figures(
        comparison,
        names=("live", "proposed"),
        economics=Economics(),
        groups=draft.groups,
    )
    summary = figures["summary"]
    names = (
        "requests", "flipped_to_approve", "flipped_to_decline", "approval_rate_before",
        "approval_rate_after",
    )  # fmt: skip
    # What a run took is no property of the change.
    for name in ("seconds", "events_per_second"):
        summary.pop(name)
    kept = {name: figures[name] for name in ("summary", "window", "totals", "cuts", "budgets",
                                             "fairness", "cases", "economics")}  # fmt: skip
    told = {name: summary[name] for name in names}
    return told, orjson.dumps(kept, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
