"""What the step counts of a decision, as soon as it is recorded: additions to one array."""

import numpy as np

from streams.buffers import Array
from streams.compile import i64, kernel
from streams.counters import (
    APR_EDGES_BPS,
    AT_APPROVED,
    AT_APR,
    AT_APR_SUM,
    AT_CENTS,
    AT_JUDGED,
    AT_PD,
    AT_PD_SUM,
    AT_REASONS,
    AT_SPLIT,
    DECIDED,
    N_CHANNELS,
    N_PRODUCTS,
    N_REASONS,
    PD_EDGES_PPM,
)
from streams.schema import EventType, Outcome

_APPLICATION = int(EventType.APPLICATION)
_OUTCOMES = len(Outcome)
_PD_EDGES = np.array(PD_EDGES_PPM, np.int64)
_APR_EDGES = np.array(APR_EDGES_BPS, np.int64)


@kernel
def _observe(counters: Array, first: int, edges: Array, value: int) -> None:
    """Add `value` to the histogram whose buckets begin at slot `first`: an upper edge belongs to
    its bucket; after the buckets stands the sum.
    """
    n = edges.shape[0]
    bucket = 0
    while bucket < n and value > edges[bucket]:
        bucket += 1
    counters[first + bucket] += 1
    counters[first + n + 1] += value


@kernel
def count_decision(
    counters: Array, at: Array, decision: Array, verdicts: Array, events: Array, i: int
) -> None:
    """Count the decision of request `i` and the verdicts behind it.

    Writes `counters` (streams.counters.layout), whose families stand where `at` int64[12] says
    (streams.counters.places); reads DECISION[1], VERDICT[candidates], EVENT[i].
    """
    outcome = i64(decision[0]["outcome"])
    counters[DECIDED + outcome] += 1
    asked = events[i]["type"] - _APPLICATION
    split = asked * at[N_PRODUCTS] + events[i]["product"] + 1
    split = split * at[N_CHANNELS] + events[i]["channel"] + 1
    counters[at[AT_SPLIT] + split * _OUTCOMES + outcome] += 1
    reasons = decision[0]["reasons"]
    if reasons != np.uint64(0):
        for bit in range(at[N_REASONS]):
            if (reasons >> np.uint64(bit)) & np.uint64(1):
                counters[at[AT_REASONS] + bit] += 1
    for k in range(decision[0]["candidates"]):
        judged = verdicts[k]["institution"] * _OUTCOMES + verdicts[k]["outcome"]
        counters[at[AT_JUDGED] + judged] += 1
    chosen = i64(decision[0]["chosen"])
    nearest = i64(decision[0]["nearest"])
    if nearest >= 0 and verdicts[nearest]["pd_ppm"] >= 0:
        verdict = 1 if chosen >= 0 else 0
        first = at[AT_PD] + verdict * (_PD_EDGES.shape[0] + 2)
        _observe(counters, first, _PD_EDGES, verdicts[nearest]["pd_ppm"])
    if chosen >= 0:
        institution = i64(verdicts[chosen]["institution"])
        counters[at[AT_APPROVED] + institution] += 1
        counters[at[AT_CENTS] + institution] += verdicts[chosen]["amount_cents"]
        counters[at[AT_APR_SUM] + institution] += verdicts[chosen]["apr_bps"]
        counters[at[AT_PD_SUM] + institution] += max(verdicts[chosen]["pd_ppm"], 0)
        _observe(counters, at[AT_APR], _APR_EDGES, verdicts[chosen]["apr_bps"])
