"""Money on a lease: four pots and what was granted. Each move keeps

    granted + overdrawn = free + reserved + drawn + returned

A payment reversal that finds too little free money books the rest as overdrawn; while anything is
overdrawn no new reservation is taken, and what comes free pays it back first.
"""

from streams.buffers import Array
from streams.compile import kernel


@kernel
def can_reserve(leases: Array, lease: int, amount_cents: int) -> bool:
    """Say whether this lease can hold a new reservation of that amount."""
    return bool(
        leases[lease]["overdrawn_cents"] == 0 and leases[lease]["free_cents"] >= amount_cents
    )


@kernel
def balanced(leases: Array, lease: int) -> bool:
    """Say whether the equation of this module holds and no pot is negative."""
    row = leases[lease]
    return bool(
        row["granted_cents"] + row["overdrawn_cents"]
        == row["free_cents"] + row["reserved_cents"] + row["drawn_cents"] + row["returned_cents"]
        and row["free_cents"] >= 0
        and row["reserved_cents"] >= 0
        and row["drawn_cents"] >= 0
        and row["overdrawn_cents"] >= 0
        and row["returned_cents"] >= 0
    )


@kernel
def grant(leases: Array, lease: int, amount_cents: int) -> None:
    """Add money that the treasury has cut from a cap."""
    leases[lease]["granted_cents"] += amount_cents
    _come_free(leases, lease, amount_cents)


@kernel
def give_back(leases: Array, lease: int, amount_cents: int) -> int:
    """Return up to `amount_cents` of free money to the treasury. Return how much that was."""
    amount = min(amount_cents, leases[lease]["free_cents"])
    leases[lease]["free_cents"] -= amount
    leases[lease]["returned_cents"] += amount
    return int(amount)


@kernel
def reserve(leases: Array, lease: int, amount_cents: int) -> None:
    """Free -> reserved, for a decision that approves."""
    leases[lease]["free_cents"] -= amount_cents
    leases[lease]["reserved_cents"] += amount_cents


@kernel
def draw(leases: Array, lease: int, amount_cents: int) -> None:
    """Reserved -> drawn, when the money has left."""
    leases[lease]["reserved_cents"] -= amount_cents
    leases[lease]["drawn_cents"] += amount_cents


@kernel
def release(leases: Array, lease: int, amount_cents: int) -> None:
    """Reserved -> free, for an offer cancelled, expired or failed."""
    leases[lease]["reserved_cents"] -= amount_cents
    _come_free(leases, lease, amount_cents)


@kernel
def repay(leases: Array, lease: int, amount_cents: int) -> None:
    """Drawn -> free: only principal does this."""
    leases[lease]["drawn_cents"] -= amount_cents
    _come_free(leases, lease, amount_cents)


@kernel
def reverse(leases: Array, lease: int, amount_cents: int) -> None:
    """Free -> drawn again, for a payment that bounced; what is not free becomes overdrawn."""
    leases[lease]["drawn_cents"] += amount_cents
    taken = min(amount_cents, leases[lease]["free_cents"])
    leases[lease]["free_cents"] -= taken
    leases[lease]["overdrawn_cents"] += amount_cents - taken


@kernel
def _come_free(leases: Array, lease: int, amount_cents: int) -> None:
    """Money that comes free pays what is overdrawn first."""
    paid = min(amount_cents, leases[lease]["overdrawn_cents"])
    leases[lease]["overdrawn_cents"] -= paid
    leases[lease]["free_cents"] += amount_cents - paid
