"""Stage 8: give the money of the best-ranked offer whose lease can hold it.

No hop, no lock, no shared counter: a decision takes from the lease of its own partition.
"""

import numpy as np

from models.policy.reasons import CAPACITY
from streams.buffers import Array
from streams.compile import kernel
from streams.funding.leases import can_reserve
from streams.schema import CAPS, Outcome

_CAPACITY = int(Outcome.CAPACITY)
_CAPACITY_BIT = CAPACITY


@kernel
def choose_funded(leases: Array, verdicts: Array, order: Array, offers: int) -> int:
    """Return the index of the first offer in `order[:offers]` that its lease can hold, -1 where
    none can.

    Reads LEASE, VERDICT. An offer that is passed over gets outcome and reason `capacity`: its
    candidate says why it lost, apart from any credit decline. A verdict with cap -1 needs no
    reservation.
    """
    for k in range(offers):
        v = order[k]
        cap = verdicts[v]["cap"]
        if cap < 0:
            return int(v)
        lease = verdicts[v]["institution"] * CAPS + cap
        if can_reserve(leases, lease, verdicts[v]["amount_cents"]):
            return int(v)
        verdicts[v]["outcome"] = _CAPACITY
        verdicts[v]["reasons"] |= np.uint64(1) << np.uint64(_CAPACITY_BIT)
    return -1
