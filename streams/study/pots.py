"""Money of a what-if: what each institution has left under other caps, in the order of the log.

A pot is what stands on a cap and is neither reserved nor drawn. An approval takes its amount. It
comes back as it did in the replay where that one approved the same request by the same institution
(cancel, expiry, failure, repaid principal, in proportion to the amount); else nobody took the offer
up, and it comes back when the offer has run out.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.policy.judge import share_of
from streams.buffers import Array
from streams.compile import kernel
from streams.schema import CAPS, Cap, FundingMove

_BACK = {
    FundingMove.RELEASE: 1,
    FundingMove.EXPIRE: 1,
    FundingMove.REPAY: 1,
    FundingMove.REVERSE: -1,
}


class Pots(NamedTuple):
    """Money left, and what comes back when, for n requests in order and m moves of the replay."""

    free_cents: NDArray[np.int64]
    """[institutions × CAPS]; of no length: money is as it was seen."""
    clock_ms: NDArray[np.int64]
    """[n], the latest time that the log has reached with each request."""
    base: NDArray[np.int64]
    """[1], the request that a block's first row is."""
    funder: NDArray[np.int64]
    """[n], who funded the request in the replay, -1 nobody."""
    funded_cents: NDArray[np.int64]
    move_start: NDArray[np.int64]
    """[n + 1], the moves of a request in `move_row` and `move_cents`."""
    move_row: NDArray[np.int64]
    """[m], the first request after the move, n: none."""
    move_cents: NDArray[np.int64]
    """[m], what came back; negative: a payment was reversed."""
    head: NDArray[np.int64]
    """[n + 1], the first thing that comes back before a request, -1 none."""
    next: NDArray[np.int64]
    """[n + m], chains of `head`; the first n are offers that run out."""
    lease: NDArray[np.int64]
    cents: NDArray[np.int64]


@kernel
def come_back(pots: Pots, row: int) -> None:
    """Put back into `free_cents` what comes back before request `row`."""
    node = pots.head[row]
    while node >= 0:
        pots.free_cents[pots.lease[node]] += pots.cents[node]
        node = pots.next[node]


@kernel
def _due(pots: Pots, node: int, row: int, lease: int, cents: int) -> None:
    pots.lease[node] = lease
    pots.cents[node] = cents
    pots.next[node] = pots.head[row]
    pots.head[row] = node


@kernel
def _row_at(pots: Pots, row: int, at: int) -> int:
    """Return the first request after `row` that the log reaches not before `at`, n: none."""
    low, high = row + 1, pots.clock_ms.shape[0]
    while low < high:
        middle = (low + high) // 2
        if pots.clock_ms[middle] < at:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def take(pots: Pots, row: int, at: int, verdict: Array) -> bool:
    """Take the amount of an offer, VERDICT[1], from its pot, and note when it comes back; say
    whether there was enough. An offer with cap -1 needs none.
    """
    cap = verdict[0]["cap"]
    if cap < 0:
        return True
    lease = verdict[0]["institution"] * CAPS + cap
    amount = verdict[0]["amount_cents"]
    if pots.free_cents[lease] < amount:
        return False
    pots.free_cents[lease] -= amount
    if pots.funder[row] != verdict[0]["institution"]:
        _due(pots, row, _row_at(pots, row, at + verdict[0]["offer_ms"]), lease, amount)
        return True
    requests = pots.clock_ms.shape[0]
    for move in range(pots.move_start[row], pots.move_start[row + 1]):
        moved = pots.move_cents[move]
        part = share_of(amount, abs(moved), pots.funded_cents[row])
        back = part if moved > 0 else -part
        _due(pots, requests + move, max(pots.move_row[move], row + 1), lease, back)
    return True


def no_pots() -> Pots:
    """Return what stands for money that is as it was seen."""
    return Pots(*(np.zeros(0, np.int64) for _ in Pots._fields))


def make_pots(
    caps: dict[str, dict[Cap, int]],
    cap_bps: int,
    clock_ms: NDArray[np.int64],
    funded: pl.DataFrame,
    funding: pl.DataFrame,
) -> Pots:
    """Return full pots of `caps` × `cap_bps`, institutions in the order of their codes.

    `funded` has id, institution (null: nobody) and amount_cents of each request, in order, as the
    replay decided it; `funding` is that of the replay (`streams.frames.FUNDING`).
    """
    codes = {name: code for code, name in enumerate(caps)}
    free = [caps[name][cap] * cap_bps // 10_000 for name in caps for cap in Cap]
    funder = funded["institution"].replace_strict(codes, default=-1, return_dtype=pl.Int64)
    signs = {move.name.lower(): sign for move, sign in _BACK.items()}
    moves = (
        funding.with_columns(sign=pl.col("type").replace_strict(signs, default=0))
        .filter(pl.col("sign") != 0)
        .join(funded.select("id").with_row_index("row"), left_on="decision", right_on="id")
        .sort("row", maintain_order=True)
    )
    requests = len(clock_ms)
    starts = np.searchsorted(moves["row"].to_numpy(), np.arange(requests + 1))
    after = np.searchsorted(clock_ms, moves["at"].to_numpy())
    nodes = requests + moves.height
    return Pots(
        free_cents=np.array(free, np.int64),
        clock_ms=clock_ms,
        base=np.zeros(1, np.int64),
        funder=np.array(funder.fill_null(-1)),
        funded_cents=np.array(funded["amount_cents"].fill_null(0)),
        move_start=starts.astype(np.int64),
        move_row=after.astype(np.int64),
        move_cents=np.array((moves["amount_cents"] * moves["sign"]).cast(pl.Int64)),
        head=np.full(requests + 1, -1, np.int64),
        next=np.full(nodes, -1, np.int64),
        lease=np.zeros(nodes, np.int64),
        cents=np.zeros(nodes, np.int64),
    )
