"""START HERE: the life of an application, as one list of stages and topics.

An application is taken in from Kafka, decoded, admitted, enriched with what is known of the
applicant, turned into features, scored, decided by every institution that fits, funded from a
lease, recorded, encoded and committed. Code, metrics, docs and tests take the names and the order
from here.
"""

from typing import NamedTuple


class Stage(NamedTuple):
    """One stage: number, name, module or package, what it takes and gives, why it may refuse."""

    n: int
    name: str
    module: str
    takes: str
    gives: str
    refuses: str


STAGES = (
    Stage(1, "intake", "streams.broker", "Kafka records", "batch buffer", ""),
    Stage(2, "decode", "streams.codec", "bytes", "event rows", "malformed"),
    Stage(
        3,
        "admit",
        "streams.admit",
        "event",
        "event",
        "duplicate, wrong partition, too old, too far ahead, unknown kind, bad signature",
    ),
    Stage(4, "enrich", "streams.state", "event", "rows of applicant, line, loan", "no room"),
    Stage(5, "derive", "features", "rows and event", "feature vector", ""),
    Stage(6, "score", "models.score", "features", "raw score, probability of default", ""),
    Stage(
        7,
        "decide",
        "models.policy",
        "probability of default and features",
        "a verdict per institution, ranked offers, reasons",
        "by policy",
    ),
    Stage(8, "reserve", "streams.funding", "offers", "funded offer, or no capacity", "by budget"),
    Stage(9, "record", "streams.record", "decision", "state", ""),
    Stage(10, "encode", "streams.codec.encode", "decision, evidence, funding records", "bytes", ""),
    Stage(11, "commit", "streams.commit", "bytes and input offsets", "Kafka", ""),
)


class Topic(NamedTuple):
    """One topic: name, what it holds, partitions (0: as many as the input), whether compacted."""

    name: str
    holds: str
    partitions: int = 0
    compacted: bool = False


EVENTS = Topic("dipper.events", "every input event: one totally ordered log per partition")
DECISIONS = Topic("dipper.decisions", "one decision per application or drawdown, JSON")
EVIDENCE = Topic("dipper.evidence", "what stands behind each decision, fixed binary rows")
FUNDING = Topic("dipper.funding", "reserve, draw, release, expire, lease-return, JSON")
DEAD_LETTERS = Topic("dipper.dead-letters", "refused records: original bytes, reason in headers")
NOTICES = Topic("dipper.notices", "what agents tell applicants and institutions, JSON")
CONTROL = Topic("dipper.control", "bodies of policies, models, lists by hash", 1, compacted=True)
CLOCK = Topic("dipper.clock", "ticks handed from publish to control, and control's answers", 1)

TOPICS = (EVENTS, DECISIONS, EVIDENCE, FUNDING, DEAD_LETTERS, NOTICES, CONTROL, CLOCK)

# One topic an institution, `dipper.ingress.<institution>`: what it says of its own loans and lines.
# `dipper control` stamps, signs and forwards it to `dipper.events`.
INGRESS_PREFIX = "dipper.ingress."

# What the step writes, in the order of the codes in its output rows.
STEP_OUTPUTS = (DECISIONS, EVIDENCE, FUNDING, DEAD_LETTERS)
OUT_DECISION, OUT_EVIDENCE, OUT_FUNDING, OUT_DEAD_LETTER = range(4)
