"""Stage 8: give the money of the best-ranked offer whose lease can hold it.

No hop, no lock, no shared counter: a decision takes from the lease of its own partition.
"""

import numpy as np

from models.policy.reasons import CAPACITY, INSTITUTION_PAUSED
from streams.buffers import Array
from streams.compile import kernel
from streams.funding.leases import can_reserve
from streams.funding.segments import day_of, find_segments, segments_can_hold
from streams.schema import CAPS, Outcome
from streams.state.tables import State

_CAPACITY, _ELIGIBILITY = int(Outcome.CAPACITY), int(Outcome.ELIGIBILITY)
_CAPACITY_BIT, _PAUSED_BIT = CAPACITY, INSTITUTION_PAUSED


@kernel
def choose_funded(
    state: State, decision: Array, verdicts: Array, order: Array, offers: int, product: int,
    at: int, applicant: int,
) -> int:  # fmt: skip
    """Return the index of the first offer in `order[:offers]` that its lease and caps by day and
    segment can hold, -1 where none can.

    Reads LEASE, INSTITUTION, SEGMENT, VERDICT; writes `segments` of DECISION[1]. An offer that is
    passed over says why it lost: outcome and reason `capacity`, apart from any credit decline, or
    that its institution is paused. A verdict with cap -1 needs no reservation.
    """
    institutions = state.institutions
    decision[0]["segments"] = np.uint64(0)
    for k in range(offers):
        v = order[k]
        institution = verdicts[v]["institution"]
        if institutions[institution]["paused"] == 1:
            verdicts[v]["outcome"] = _ELIGIBILITY
            verdicts[v]["reasons"] |= np.uint64(1) << np.uint64(_PAUSED_BIT)
            continue
        cap = verdicts[v]["cap"]
        if cap < 0:
            return int(v)
        amount = verdicts[v]["amount_cents"]
        if can_reserve(state.leases, institution * CAPS + cap, amount):
            if institutions[institution]["segment_stop"] == 0:
                return int(v)
            mask = find_segments(state, verdicts[v : v + 1], product, applicant)
            day = day_of(institutions, institution, at)
            if segments_can_hold(state, institution, mask, day, amount):
                decision[0]["segments"] = mask
                return int(v)
        verdicts[v]["outcome"] = _CAPACITY
        verdicts[v]["reasons"] |= np.uint64(1) << np.uint64(_CAPACITY_BIT)
    return -1
