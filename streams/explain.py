"""One decision explained from the log alone: what was asked, what was known, what every lender
said.

The log is replayed through the step that decided; nothing is stored beside it, so an explanation is
the decision itself done again.
"""

import math
import re
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from streams.errors import DipperError
from streams.replay import ReplayResult, replay
from streams.sources import Source, open_source

_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_SECTIONS = {"application": 0, "drawdown": 1}


def explain(
    decision: str, source: str | Path, config: str | Path, *, partitions: int | None = None
) -> dict[str, Any]:
    """Return everything about one decision, as plain values (JSON fits).

    `decision`: its id, 32 hex digits; `source`, `config` and `partitions` as in `streams.replay`.
    Keys: decision (the record), input (the event as it stands in the log, with its partition and
    offset), features (name to value, null where missing), scores (a row a model), candidates (a row
    a policy: outcome, reasons, terms, and the rules that fired with their text and the values they
    saw), versions (the manifest: hashes of all that decides). Raises `DipperError` where the log
    holds no such decision.
    """
    result = replay(source, config, partitions=partitions)
    found = result.decisions.filter(pl.col("id") == decision)
    if found.is_empty():
        raise DipperError(
            f"{source} leads to {result.decisions.height} decisions, none of them {decision}; "
            "give the id as it stands in dipper.decisions, and the log and config that it came from"
        )
    record = {name: value for name, value in found.to_dicts()[0].items() if value is not None}
    behind = result.evidence.filter(pl.col("decision") == decision).to_dicts()[0]
    deployment = result.deployment
    secret = deployment.platform.decision_key
    opened = open_source(source, partitions, deployment.caps, secret)
    features = {name: _known(behind[name]) for name in deployment.catalog.columns}
    return {
        "decision": record,
        "input": _input(opened, record),
        "features": features,
        "scores": [
            {
                "model": info.name,
                "sha256": info.sha256,
                "raw": behind[f"raw.{info.name}"],
                "pd_ppm": behind[f"pd_ppm.{info.name}"],
            }
            for info in deployment.model_infos
        ],
        "candidates": _candidates(decision, str(record["type"]), result, features),
        "versions": deployment.manifest(opened.partitions),
    }


def _input(opened: Source, record: dict[str, Any]) -> dict[str, Any]:
    """Return the event that was decided, as its publisher wrote it."""
    place = (record["partition"], record["offset"])
    for number, each in opened.records():
        if (number, each.offset) == place:
            assert each.value is not None
            event: dict[str, Any] = orjson.loads(each.value)
            return {"partition": number, "offset": each.offset, "event": event}
    raise AssertionError(f"decided, and yet not in the log: {place}")


def _candidates(
    decision: str, kind: str, result: ReplayResult, features: dict[str, float | None]
) -> list[dict[str, Any]]:
    rules = {
        info.id: {rule.label: rule for rule in info.rules[_SECTIONS[kind]]}
        for info in result.deployment.policies.infos
    }
    rows = result.candidates.filter(pl.col("decision") == decision).drop("decision").to_dicts()
    for row in rows:
        fired = [rules[row["policy"]][label] for label in row["rules"]]
        row["rules"] = [
            {
                "rule": rule.label,
                "when": rule.when,
                "reason": rule.reason,
                "values": {n: features[n] for n in _NAME.findall(rule.when) if n in features},
            }
            for rule in fired
        ]
    return rows


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
