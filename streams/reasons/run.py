"""The reasons behind one decision, from the log that led to it."""

from pathlib import Path

from streams.errors import DipperError
from streams.evidence import evidence_rows, split_evidence
from streams.reasons.refusals import Reasoner, Refusal
from streams.replay import replay
from streams.topology import OUT_EVIDENCE


def reasons_of(
    decision: str, source: str | Path, config: str | Path, *, partitions: int | None = None
) -> tuple[list[Refusal], str]:
    """Return the refusals of each lender in a decision, and who had asked.

    `source`, `config` and `partitions` as in `streams.replay`. DipperError where the log holds no
    such decision.
    """
    result = replay(source, config, partitions=partitions)
    row = next((each for each in result.decisions.to_dicts() if each["id"] == decision), None)
    if row is None:
        raise DipperError(
            f"{source} leads to no decision {decision}; give an id as dipper.decisions has it"
        )
    for live, data in split_evidence(result.read(OUT_EVIDENCE), result.deployment):
        rows = evidence_rows(data, live)
        head = rows["head"]
        wanted = (head["hi"] == int(decision[:16], 16)) & (head["lo"] == int(decision[16:], 16))
        if wanted.any():
            reasoner = Reasoner(result.deployment)
            found = reasoner.refusals(rows[wanted].tobytes(), declined_only=False)
            return found, str(row["applicant"])
    raise AssertionError(f"decided, and yet without evidence: {decision}")
