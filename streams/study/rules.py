"""Rules and candidates of judged requests, told for people: how often each fires, and traces."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.policy.reasons import BIT, REASONS
from models.policy.tables import SECTIONS
from streams.deployment import Deployment
from streams.study.panel import OUTCOMES, Panel
from streams.study.rejudge import Judged

MATRIX_RULES_MAX = 10


def rule_hits(
    judged: Judged, deployment: Deployment, section: NDArray[np.int32]
) -> list[dict[str, Any]]:
    """Return a row a rule that fired: judged requests, and how often it fired at all (any), as the
    reason that comes first (first), and as all that spoke against the request (only).
    """
    told = []
    for policy, kind, reasons, fired in _by_policy(judged, deployment, section):
        info = deployment.policies.infos[policy]
        rules = info.rules[kind]
        lowest = reasons & (~reasons + np.uint64(1))
        alone = reasons == lowest
        claimed = np.zeros(len(reasons), bool)
        for place, rule in enumerate(rules):
            if not fired[:, place].any():
                continue
            bit = np.uint64(1 << BIT[rule.reason])
            first = fired[:, place] & (lowest == bit) & ~claimed
            claimed |= first
            only = fired[:, place] & alone & (fired.sum(axis=1) == 1) & (lowest == bit)
            told.append(
                {
                    "policy": info.id,
                    "section": SECTIONS[kind],
                    "rule": rule.label,
                    "when": " ".join(rule.when.split()),
                    "reason": rule.reason,
                    "judged": len(reasons),
                    "any": int(fired[:, place].sum()),
                    "first": int(first.sum()),
                    "only": int(only.sum()),
                }
            )
    return sorted(told, key=lambda row: -row["any"])


def rule_overlap(
    judged: Judged, deployment: Deployment, section: NDArray[np.int32]
) -> dict[str, Any] | None:
    """Return, for the policy whose rules fire most, how often each pair of its rules fires
    together.
    """
    best: dict[str, Any] | None = None
    most = 0
    for policy, kind, _, fired in _by_policy(judged, deployment, section):
        hits = fired.sum(axis=0)
        if hits.sum() <= most:
            continue
        most = int(hits.sum())
        picked = np.argsort(-hits, kind="stable")[:MATRIX_RULES_MAX]
        picked = picked[hits[picked] > 0]
        counts = fired[:, picked].T.astype(np.int64) @ fired[:, picked].astype(np.int64)
        info = deployment.policies.infos[policy]
        best = {
            "policy": info.id,
            "section": SECTIONS[kind],
            "rules": [info.rules[kind][place].label for place in picked],
            "counts": counts.tolist(),
        }
    return best


def _by_policy(judged: Judged, deployment: Deployment, section: NDArray[np.int32]) -> Any:
    """Yield (policy, section, reasons [rows], fired [rows, rules]) of each policy that judged."""
    valid = np.arange(judged.verdicts.shape[1])[None, :] < judged.count[:, None]
    policies = np.where(valid, judged.verdicts["policy"], -1)
    for policy, info in enumerate(deployment.policies.infos):
        request, place = np.nonzero(policies == policy)
        for kind in range(len(SECTIONS)):
            mine = section[request] == kind
            if not mine.any():
                continue
            at = request[mine], place[mine]
            masks = judged.masks[at]
            bits = np.arange(len(info.rules[kind]))
            fired = (masks[:, bits // 64] >> (bits % 64).astype(np.uint64)) & np.uint64(1)
            yield policy, kind, judged.verdicts["reasons"][at], fired.astype(bool)


def trace(judged: Judged, deployment: Deployment, row: int, kind: int) -> list[dict[str, Any]]:
    """Return what every policy said to one request: outcome, PD, terms, reasons, rules fired."""
    told = []
    for k in range(int(judged.count[row])):
        verdict, mask = judged.verdicts[row, k], judged.masks[row, k]
        info = deployment.policies.infos[int(verdict["policy"])]
        bits = int.from_bytes(np.ascontiguousarray(mask).tobytes(), "little")
        told.append(
            {
                "policy": info.id,
                "outcome": OUTCOMES[int(verdict["outcome"])],
                "chosen": k == int(judged.chosen[row]),
                "pd_ppm": int(verdict["pd_ppm"]),
                "band": int(verdict["band"]),
                "amount_cents": int(verdict["amount_cents"]),
                "rate_bps": int(verdict["rate_bps"]),
                "apr_bps": int(verdict["apr_bps"]),
                "reasons": [
                    reason.code
                    for bit, reason in enumerate(REASONS)
                    if int(verdict["reasons"]) >> bit & 1
                ],
                "rules": [
                    {"rule": rule.label, "when": " ".join(rule.when.split())}
                    for bit, rule in enumerate(info.rules[kind])
                    if bits >> bit & 1
                ],
            }
        )
    return told


def features_of(panel: Panel, row: int) -> dict[str, float]:
    """Return the features of one request that were known."""
    values = panel.rows["features"][row]
    named = panel.deployment.catalog.columns.items()
    return {name: float(values[column]) for name, column in named if not math.isnan(values[column])}
