"""Stage 8: give the money of the best-ranked offer whose lease can hold it.

No hop, no lock, no shared counter: a decision takes from the lease of its own partition.
"""

import numpy as np

from models.policy.reasons import CAPACITY, INSTITUTION_PAUSED
from streams.buffers import Array
from streams.compile import kernel
from streams.funding.leases import can_reserve
from streams.schema import CAPS, Outcome

_CAPACITY, _ELIGIBILITY = int(Outcome.CAPACITY), int(Outcome.ELIGIBILITY)
_CAPACITY_BIT, _PAUSED_BIT = CAPACITY, INSTITUTION_PAUSED


@kernel
def choose_funded(
    leases: Array, institutions: Array, verdicts: Array, order: Array, offers: int
) -> int:
    """Return the index of the first offer in `order[:offers]` that its lease can hold, -1 where
    none can.

    Reads LEASE, INSTITUTION, VERDICT. An offer that is passed over says why it lost: outcome and
    reason `capacity`, apart from any credit decline, or that its institution is paused. A verdict
    with cap -1 needs no reservation.
    """
    for k in range(offers):
        v = order[k]
        if institutions[verdicts[v]["institution"]]["paused"] == 1:
            verdicts[v]["outcome"] = _ELIGIBILITY
            verdicts[v]["reasons"] |= np.uint64(1) << np.uint64(_PAUSED_BIT)
            continue
        cap = verdicts[v]["cap"]
        if cap < 0:
            return int(v)
        lease = verdicts[v]["institution"] * CAPS + cap
        if can_reserve(leases, lease, verdicts[v]["amount_cents"]):
            return int(v)
        verdicts[v]["outcome"] = _CAPACITY
        verdicts[v]["reasons"] |= np.uint64(1) << np.uint64(_CAPACITY_BIT)
    return -1
