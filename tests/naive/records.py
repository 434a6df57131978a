"""The bytes of decisions, evidence and funding records, from dicts: JSON without blanks, fields in
order.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from models.policy.reasons import codes_of
from streams.deployment import POLICY_DIGITS, Deployment
from streams.limits import REASONS_MAX
from streams.schema import EVIDENCE_HEAD, VERDICT, Cap, EventType, FundingMove, Outcome, Refusal
from streams.topology import OUT_DEAD_LETTER, OUT_DECISION, OUT_EVIDENCE, OUT_FUNDING
from tests.naive.books import Id, Lease

METHODS = ("bullet", "equal_instalment")


class Record(NamedTuple):
    """One record that the step writes: its topic's code, the offset of its source, the bytes."""

    topic: int
    offset: int
    key: bytes | None
    value: bytes
    refusal: Refusal = Refusal.NONE


def json_text(value: Any) -> str:
    """Return JSON without blanks; quotes, backslashes and control characters as four hex digits."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f'"{name}":{json_text(v)}' for name, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(json_text(v) for v in value) + "]"
    if isinstance(value, int):
        return str(int(value))
    escaped = (f"\\u{ord(c):04x}" if c < " " or c in '"\\' else c for c in value)
    return '"' + "".join(escaped) + '"'


def hex_of(id: Id) -> str:
    """Return an id as it stands in records."""
    return f"{id[0]:016x}{id[1]:016x}"


def dead_letter(offset: int, refusal: Refusal) -> Record:
    """The door sends the original bytes; the step says which and why."""
    return Record(OUT_DEAD_LETTER, offset, None, b"", refusal)


class Writer:
    """Writes the records of one partition."""

    def __init__(self, deployment: Deployment, partition: int, partitions: int) -> None:
        self.deployment = deployment
        self.partition = partition
        self.manifest = deployment.manifest_hash(partitions)

    def decision(self, event: Mapping[str, Any], offset: int, result: Mapping[str, Any]) -> Record:
        """`result`: outcome, reasons (mask), verdicts, chosen (-1: none), expires_at."""
        value = json_text(self.decision_fields(event, offset, result)).encode()
        return Record(OUT_DECISION, offset, event["applicant"], value)

    def decision_fields(
        self, event: Mapping[str, Any], offset: int, result: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the fields of a decision, in order."""
        verdicts, chosen = result["verdicts"], result["chosen"]
        fields: dict[str, Any] = {
            "id": hex_of((event["key_hi"], event["key_lo"])),
            "applicant": event["applicant"].decode(),
            "request": event["id"].decode(),
            "type": EventType(event["type"]).name.lower(),
            "at": event["at"],
        }
        platform = self.deployment.platform
        if event["type"] == EventType.DRAWDOWN:
            fields["line"] = hex_of((event["reference_hi"], event["reference_lo"]))
        else:
            fields["product"] = platform.products[event["product"]].id
            fields["channel"] = platform.channels[event["channel"]].id
        fields["outcome"] = Outcome(result["outcome"]).name.lower()
        if chosen >= 0:
            fields |= self._terms(verdicts[chosen], result["expires_at"])
        return fields | {
            "reasons": codes_of(result["reasons"], REASONS_MAX),
            "candidates": [self._candidate(verdict) for verdict in verdicts],
            "manifest": self.manifest,
            "partition": self.partition,
            "offset": offset,
        }

    def _terms(self, verdict: Mapping[str, Any], expires_at: int) -> dict[str, Any]:
        return {
            "institution": self.deployment.institution_ids[verdict["institution"]],
            "amount_cents": verdict["amount_cents"],
            "rate_bps": verdict["rate_bps"],
            "fee_cents": verdict["fee_cents"],
            "apr_bps": verdict["apr_bps"],
            "tenor_days": verdict["tenor_days"],
            "instalment_cents": verdict["instalment_cents"],
            "method": METHODS[verdict["method"]],
            "expires_at": expires_at,
        }

    def _candidate(self, verdict: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "institution": self.deployment.institution_ids[verdict["institution"]],
            "policy": self.deployment.policies.infos[verdict["policy"]].sha256[:POLICY_DIGITS],
            "outcome": Outcome(verdict["outcome"]).name.lower(),
            "reasons": codes_of(verdict["reasons"], REASONS_MAX),
            "pd_ppm": verdict["pd_ppm"],
            "apr_bps": verdict["apr_bps"],
        }

    def evidence(
        self,
        event: Mapping[str, Any],
        offset: int,
        result: Mapping[str, Any],
        numbers: tuple[Sequence[float], Sequence[float], Sequence[int]],
    ) -> Record:
        """`numbers`: features, raw scores, probabilities of default."""
        verdicts = result["verdicts"]
        head = np.zeros(1, EVIDENCE_HEAD)
        head["lo"], head["hi"], head["offset"] = event["key_lo"], event["key_hi"], offset
        for name in ("at", "amount_cents", "type", "product", "channel", "tenor_days"):
            head[name] = event[name]
        head["partition"], head["outcome"] = self.partition, result["outcome"]
        head["candidates"], head["chosen"] = len(verdicts), result["chosen"]
        policies = self.deployment.policies
        rows = np.zeros(policies.candidates_max, VERDICT)
        for name in ("policy", "institution", "band", "cap", "rank", "pd_ppm"):
            rows[name] = -1
        masks = np.zeros((policies.candidates_max, policies.rule_words), np.uint64)
        for row, verdict in enumerate(verdicts):
            for name in VERDICT.names or ():
                rows[row][name] = verdict[name]
            for rule in verdict["fired"]:
                masks[row, rule // 64] |= np.uint64(1 << rule % 64)
        features, raw, pds = numbers
        parts = (
            head,
            np.array(features, np.float64),
            np.array(raw, np.float64),
            np.array(pds, np.int64),
            rows,
            masks,
        )
        head["version"] = int(self.deployment.version[16:], 16)
        head["bytes"] = sum(part.nbytes for part in parts)
        value = b"".join(part.tobytes() for part in parts)
        return Record(OUT_EVIDENCE, offset, event["applicant"], value)

    def move(
        self,
        move: FundingMove,
        where: tuple[int, int],
        decision: Id | None,
        what: tuple[int, ...],
        lease: Lease,
        offset: int,
    ) -> Record:
        """`where`: institution, cap; `what`: seq, time, amount, segments, day, part; `lease` as it
        stands.
        """
        institution = self.deployment.institution_ids[where[0]]
        fields: dict[str, Any] = {
            "type": move.name.lower().replace("_", "-"),
            "institution": institution,
            "cap": Cap(where[1]).name.lower(),
        }
        if decision is not None:
            fields["decision"] = hex_of(decision)
        fields |= {
            "seq": what[0],
            "at": what[1],
            "amount_cents": what[2],
            "free_cents": lease.free,
            "reserved_cents": lease.reserved,
            "drawn_cents": lease.drawn,
            "overdrawn_cents": lease.overdrawn,
        }
        if what[3]:
            fields["segments"] = what[3]
            fields |= {
                name: n for name, n in zip(("day", "part_ppm"), what[4:], strict=True) if n >= 0
            }
        fields["partition"] = self.partition
        return Record(OUT_FUNDING, offset, institution.encode(), json_text(fields).encode())
