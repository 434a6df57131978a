"""Stage 10: decisions, evidence and funding records to bytes, in place.

Decisions and funding records are JSON for any client; evidence is a fixed binary row (little
endian): EVIDENCE_HEAD, features float64[columns], raw scores float64[models], PDs int64[models] in
parts per million, VERDICT[policies], rule masks uint64[policies, words]. `streams/evidence.py`
reads it back as a data frame.
"""

from typing import Any, NamedTuple

import numpy as np

from streams import limits
from streams.buffers import Array, Out
from streams.codec.text import (
    frozen_literals,
    literal,
    put_hex,
    put_int,
    put_json_text,
    put_place,
    put_span,
)
from streams.compile import i64, kernel
from streams.intrinsics import trailing_zeros
from streams.schema import EVIDENCE_HEAD, VERDICT, Cap, EventType, FundingMove, Outcome
from streams.topology import OUT_DEAD_LETTER, OUT_DECISION, OUT_EVIDENCE, OUT_FUNDING

# The most bytes that one record takes; `step` keeps this much free.
CANDIDATE_BYTES_MAX = 8 * limits.TOKEN_BYTES_MAX
DECISION_BYTES_MAX = 2_048 + 12 * limits.ID_BYTES_MAX
FUNDING_BYTES_MAX = 1_024

_DRAWDOWN = int(EventType.DRAWDOWN)
_HEAD_WORDS = EVIDENCE_HEAD.itemsize // 8

_ID = literal('{"id":"')
_APPLICANT = literal('","applicant":"')
_REQUEST = literal('","request":"')
_TYPE_APPLICATION = literal('","type":"application","at":')
_TYPE_DRAWDOWN = literal('","type":"drawdown","at":')
_LINE = literal(',"line":"')
_LINE_OUTCOME = literal('","outcome":"')
_RATE = literal(',"rate_bps":')
_FEE = literal(',"fee_cents":')
_APR = literal(',"apr_bps":')
_TENOR = literal(',"tenor_days":')
_INSTALMENT = literal(',"instalment_cents":')
_REASONS = literal(',"reasons":[')
_CANDIDATES = literal('],"candidates":[')
_PD = literal('],"pd_ppm":')
_OFFSET = literal(',"offset":')
_END = literal("}")
_FUND_DECISION = literal('","decision":"')
_FUND_SEQ = literal('","seq":')
_FUND_AT = literal(',"at":')
_FUND_AMOUNT = literal(',"amount_cents":')
_FUND_FREE = literal(',"free_cents":')
_FUND_RESERVED = literal(',"reserved_cents":')
_FUND_DRAWN = literal(',"drawn_cents":')
_FUND_OVERDRAWN = literal(',"overdrawn_cents":')
_FUND_SEGMENTS = literal(',"segments":')
_FUND_DAY = literal(',"day":')
_FUND_PART = literal(',"part_ppm":')
_FUND_PARTITION = literal(',"partition":')
_COMMA = ord(",")
_APPROVED = literal("approved")
# What follows a name by rule stands in one piece with it, and is copied at once.
_OUTCOMES = np.array([literal(f'{code.name.lower()}","reasons":[') for code in Outcome], np.int64)
_MOVES = np.array(
    [
        literal(f'{{"type":"{move.name.lower().replace("_", "-")}","institution":"')
        for move in FundingMove
    ],
    np.int64,
)
_CAPS = np.array([literal(f'","cap":"{cap.name.lower()}') for cap in Cap], np.int64)
_METHODS = np.array(
    [literal(f',"method":"{name}","expires_at":') for name in ("bullet", "equal_instalment")],
    np.int64,
)
_LITERALS = frozen_literals()

_ONE_BIT = np.uint64(1)
_NO_BITS = np.uint64(0)


class Names(NamedTuple):
    """Names of a deployment as they stand in records, each in one piece with what stands around it
    there: places (start << 16 | length) in `text`.
    """

    text: Array  # uint8[]
    institutions: Array  # int64[institutions]: as a key, and in funding records
    funders: Array  # int64[institutions]: who funds a decision
    considered: Array  # int64[institutions]: the beginning of a candidate
    products: Array
    channels: Array
    reasons: Array  # int64[64], by precedence
    policies: Array  # first 16 hex digits of each policy's hash
    manifest: Array  # int64[1]


class Stage(NamedTuple):
    """One evidence record under construction, the same memory seen four ways."""

    bytes: Array  # uint8[]
    words: Array  # uint64[]
    floats: Array  # float64[]
    head: Array  # EVIDENCE_HEAD[1], the first words
    verdicts: Array  # VERDICT[policies], at their place


def make_names(
    institutions: list[str],
    products: list[str],
    channels: list[str],
    reasons: list[str],
    policies: list[str],
    manifest: str,
) -> Names:
    """Lay out the names of a deployment for the encoder."""
    text = bytearray()

    def places(names: list[str]) -> Array:
        found = []
        for name in names:
            found.append(len(text) << 16 | len(name.encode()))
            text.extend(name.encode())
        return np.array(found or [0], np.int64)

    columns = (
        places(institutions),
        places([f'","institution":"{name}","amount_cents":' for name in institutions]),
        places([f'{{"institution":"{name}","policy":"' for name in institutions]),
        places([f',"product":"{name}","channel":"' for name in products]),
        places([f'{name}","outcome":"' for name in channels]),
        places([f'"{name}"' for name in reasons]),
        places([f'{name}","outcome":"' for name in policies]),
        places([f'],"manifest":"{manifest}","partition":']),
    )
    return Names(np.frombuffer(bytes(text) + bytes(8), np.uint8).copy(), *columns)


def evidence_words(columns: int, models: int, policies: int, mask_words: int) -> int:
    """Return the length of an evidence record in 8-byte words."""
    fixed = EVIDENCE_HEAD.itemsize // 8 + columns + 2 * models
    return fixed + policies * (VERDICT.itemsize // 8 + mask_words)


def make_stage(columns: int, models: int, policies: int, mask_words: int) -> Stage:
    """Take the memory of one evidence record."""
    words = np.zeros(evidence_words(columns, models, policies, mask_words), np.uint64)
    head = EVIDENCE_HEAD.itemsize // 8
    first = head + columns + 2 * models
    verdicts = words[first : first + policies * (VERDICT.itemsize // 8)]
    return Stage(
        words.view(np.uint8),
        words,
        words.view(np.float64),
        words[:head].view(EVIDENCE_HEAD),
        verdicts.view(VERDICT),
    )


@kernel
def _finish(
    out: Out, topic: int, source: int, key_start: int, key_len: int, start: int, end: int
) -> None:
    """Close a record: its row, and the bytes it took."""
    row = out.used[0]
    out.rows[row]["topic"] = topic
    out.rows[row]["source"] = source
    out.rows[row]["key_start"] = key_start
    out.rows[row]["key_len"] = key_len
    out.rows[row]["value_start"] = start
    out.rows[row]["value_len"] = end - start
    out.rows[row]["refusal"] = 0
    out.rows[row]["position"] = -1
    out.used[0] = row + 1
    out.used[1] = end


@kernel
def put_dead_letter(out: Out, source: int, refusal: int, position: int) -> None:
    """Write that record `source` of the batch is refused; the door sends its own bytes."""
    _finish(out, OUT_DEAD_LETTER, source, 0, -1, out.used[1], out.used[1])
    row = out.used[0] - 1
    out.rows[row]["refusal"] = refusal
    out.rows[row]["position"] = position


@kernel
def _put_reasons(data: Array, at: int, names: Names, reasons: np.uint64 | int, most: int) -> int:
    """Write up to `most` reason codes, in precedence, as members of a JSON list."""
    left = np.uint64(reasons)
    written = 0
    while left != _NO_BITS and written < most:
        if written:
            data[at] = _COMMA
            at += 1
        at = put_place(data, at, names.text, names.reasons[trailing_zeros(left)])
        left &= left - _ONE_BIT
        written += 1
    return at


@kernel
def _put_candidate(data: Array, at: int, names: Names, verdict: Any) -> int:
    """Write one candidate: who, its outcome, its reasons, its PD and what its offer would cost."""
    at = put_place(data, at, names.text, names.considered[verdict["institution"]])
    at = put_place(data, at, names.text, names.policies[verdict["policy"]])
    at = put_place(data, at, _LITERALS, _OUTCOMES[verdict["outcome"]])
    at = _put_reasons(data, at, names, verdict["reasons"], limits.REASONS_MAX)
    at = put_place(data, at, _LITERALS, _PD)
    at = put_int(data, at, verdict["pd_ppm"])
    at = put_place(data, at, _LITERALS, _APR)
    at = put_int(data, at, verdict["apr_bps"])
    return put_place(data, at, _LITERALS, _END)


@kernel
def _put_terms(data: Array, at: int, names: Names, verdict: Any, expires_at: int) -> int:
    """Write who funds an approved request, and its terms."""
    at = put_place(data, at, _LITERALS, _APPROVED)
    at = put_place(data, at, names.text, names.funders[verdict["institution"]])
    at = put_int(data, at, verdict["amount_cents"])
    at = put_place(data, at, _LITERALS, _RATE)
    at = put_int(data, at, verdict["rate_bps"])
    at = put_place(data, at, _LITERALS, _FEE)
    at = put_int(data, at, verdict["fee_cents"])
    at = put_place(data, at, _LITERALS, _APR)
    at = put_int(data, at, verdict["apr_bps"])
    at = put_place(data, at, _LITERALS, _TENOR)
    at = put_int(data, at, verdict["tenor_days"])
    at = put_place(data, at, _LITERALS, _INSTALMENT)
    at = put_int(data, at, verdict["instalment_cents"])
    at = put_place(data, at, _LITERALS, _METHODS[verdict["method"]])
    at = put_int(data, at, expires_at)
    return put_place(data, at, _LITERALS, _REASONS)


@kernel
def _put_request(
    data: Array, at: int, names: Names, decision: Any, source: Array, event: Any
) -> int:
    """Write which request a decision answers, up to its outcome."""
    at = put_place(data, at, _LITERALS, _ID)
    at = put_hex(data, at, decision["hi"])
    at = put_hex(data, at, decision["lo"])
    at = put_place(data, at, _LITERALS, _APPLICANT)
    at = put_json_text(data, at, source, event["applicant_start"], event["applicant_len"])
    at = put_place(data, at, _LITERALS, _REQUEST)
    at = put_json_text(data, at, source, event["id_start"], event["id_len"])
    drawdown = event["type"] == _DRAWDOWN
    at = put_place(data, at, _LITERALS, _TYPE_DRAWDOWN if drawdown else _TYPE_APPLICATION)
    at = put_int(data, at, event["at"])
    if drawdown:
        at = put_place(data, at, _LITERALS, _LINE)
        at = put_hex(data, at, decision["line_hi"])
        at = put_hex(data, at, decision["line_lo"])
        return put_place(data, at, _LITERALS, _LINE_OUTCOME)
    at = put_place(data, at, names.text, names.products[event["product"]])
    return put_place(data, at, names.text, names.channels[event["channel"]])


@kernel
def put_decision(
    out: Out,
    names: Names,
    decision: Array,
    verdicts: Array,
    source: Array,
    events: Array,
    i: int,
    partition: int,
    offset: int,
) -> None:
    """Write the decision record of request `i`, keyed by applicant. Reads DECISION[1],
    VERDICT[candidates].
    """
    data = out.data
    key_start = out.used[1]
    length = i64(events[i]["applicant_len"])
    start = put_span(data, key_start, source, events[i]["applicant_start"], length)
    at = _put_request(data, start, names, decision[0], source, events[i])
    chosen = decision[0]["chosen"]
    if chosen >= 0:
        at = _put_terms(data, at, names, verdicts[chosen], decision[0]["expires_at"])
    else:
        at = put_place(data, at, _LITERALS, _OUTCOMES[decision[0]["outcome"]])
    at = _put_reasons(data, at, names, decision[0]["reasons"], limits.REASONS_MAX)
    at = put_place(data, at, _LITERALS, _CANDIDATES)
    for k in range(decision[0]["candidates"]):
        if k > 0:
            data[at] = _COMMA
            at += 1
        at = _put_candidate(data, at, names, verdicts[k])
    at = put_place(data, at, names.text, names.manifest[0])
    at = put_int(data, at, partition)
    at = put_place(data, at, _LITERALS, _OFFSET)
    at = put_int(data, at, offset)
    at = put_place(data, at, _LITERALS, _END)
    _finish(out, OUT_DECISION, i, key_start, length, start, at)


@kernel
def put_evidence(
    out: Out,
    stage: Stage,
    decision: Array,
    rule_masks: Array,
    vectors: Array,
    raw: Array,
    pd_ppm: Array,
    column: int,
    source: Array,
    events: Array,
    i: int,
    partition: int,
    offset: int,
) -> None:
    """Write the evidence record of request `i`, keyed by applicant. The verdicts are in `stage`
    already.
    """
    head = stage.head
    head[0]["lo"] = decision[0]["lo"]
    head[0]["hi"] = decision[0]["hi"]
    head[0]["offset"] = offset
    head[0]["at"] = events[i]["at"]
    head[0]["amount_cents"] = events[i]["amount_cents"]
    head[0]["partition"] = partition
    head[0]["type"] = events[i]["type"]
    head[0]["product"] = events[i]["product"]
    head[0]["channel"] = events[i]["channel"]
    head[0]["tenor_days"] = events[i]["tenor_days"]
    head[0]["outcome"] = decision[0]["outcome"]
    head[0]["candidates"] = decision[0]["candidates"]
    head[0]["chosen"] = decision[0]["chosen"]
    word = _HEAD_WORDS
    for k in range(vectors.shape[0]):
        stage.floats[word + k] = vectors[k, column]
    word += vectors.shape[0]
    models = raw.shape[0]
    for k in range(models):
        stage.floats[word + k] = raw[k, column]
        stage.words[word + models + k] = np.uint64(pd_ppm[k, column])
    tail = stage.words.shape[0] - rule_masks.shape[0] * rule_masks.shape[1]
    for p in range(rule_masks.shape[0]):
        for k in range(rule_masks.shape[1]):
            used = p < decision[0]["candidates"]
            stage.words[tail] = rule_masks[p, k] if used else np.uint64(0)
            tail += 1
    data = out.data
    key_start = out.used[1]
    length = i64(events[i]["applicant_len"])
    start = put_span(data, key_start, source, events[i]["applicant_start"], length)
    at = put_span(data, start, stage.bytes, 0, stage.bytes.shape[0])
    _finish(out, OUT_EVIDENCE, i, key_start, length, start, at)


@kernel
def put_funding(
    out: Out,
    names: Names,
    leases: Array,
    institution: int,
    cap: int,
    move: int,
    lo: np.uint64 | int,
    hi: np.uint64 | int,
    amount_cents: int,
    seq: int,
    at_ms: int,
    partition: int,
    source: int,
    segments: np.uint64,
    day: int,
    part_ppm: int,
) -> None:
    """Write one move on a lease, keyed by institution, with the pots as they stand after it.

    `segments`: those that it counts on, one bit each, written where there is one, with the day that
    counts (-1: none) and how much of that cap the treasury moves (-1: it is money that moves).
    """
    data = out.data
    key_start = out.used[1]
    start = put_place(data, key_start, names.text, names.institutions[institution])
    length = start - key_start
    at = put_place(data, start, _LITERALS, _MOVES[move])
    at = put_place(data, at, names.text, names.institutions[institution])
    at = put_place(data, at, _LITERALS, _CAPS[cap])
    if lo != 0 or hi != 0:
        at = put_place(data, at, _LITERALS, _FUND_DECISION)
        at = put_hex(data, at, hi)
        at = put_hex(data, at, lo)
    at = put_place(data, at, _LITERALS, _FUND_SEQ)
    at = put_int(data, at, seq)
    at = put_place(data, at, _LITERALS, _FUND_AT)
    at = put_int(data, at, at_ms)
    at = put_place(data, at, _LITERALS, _FUND_AMOUNT)
    at = put_int(data, at, amount_cents)
    lease = institution * len(_CAPS) + cap
    at = put_place(data, at, _LITERALS, _FUND_FREE)
    at = put_int(data, at, leases[lease]["free_cents"])
    at = put_place(data, at, _LITERALS, _FUND_RESERVED)
    at = put_int(data, at, leases[lease]["reserved_cents"])
    at = put_place(data, at, _LITERALS, _FUND_DRAWN)
    at = put_int(data, at, leases[lease]["drawn_cents"])
    at = put_place(data, at, _LITERALS, _FUND_OVERDRAWN)
    at = put_int(data, at, leases[lease]["overdrawn_cents"])
    if segments != 0:
        at = put_place(data, at, _LITERALS, _FUND_SEGMENTS)
        at = put_int(data, at, i64(segments))
        if day >= 0:
            at = put_place(data, at, _LITERALS, _FUND_DAY)
            at = put_int(data, at, day)
        if part_ppm >= 0:
            at = put_place(data, at, _LITERALS, _FUND_PART)
            at = put_int(data, at, part_ppm)
    at = put_place(data, at, _LITERALS, _FUND_PARTITION)
    at = put_int(data, at, partition)
    at = put_place(data, at, _LITERALS, _END)
    _finish(out, OUT_FUNDING, source, key_start, length, start, at)
