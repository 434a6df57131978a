"""Between partitions: who is helped with what is free of one cap, and who helps."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

LEAST = 10_000  # what is free is left where it lies when a partition's share is so small a part
POOR, RICH = 0.5, 1.25  # of an equal share of what is free: below it is helped, above it helps


class Help(NamedTuple):
    """Grant or recall (`verb`) so much in one partition."""

    partition: int
    verb: str
    amount: int


def level(cap: int, free: Sequence[int], headroom: int, waiting: Sequence[bool]) -> Iterator[Help]:
    """Yield what to order of one cap, in whatever unit it is told.

    `free`: what each partition could still promise, what is on its way included; `headroom`: what
    lies in no partition, negative where too much does; `waiting`: a recall is still unanswered.
    """
    everywhere = range(len(free))
    share = (sum(free) + headroom) // len(free)
    poor = [n for n in everywhere if free[n] < POOR * share and not waiting[n]]
    if share * LEAST < cap:
        poor = []
    for n in sorted(poor, key=free.__getitem__):
        amount = min(headroom, share - free[n])
        if amount > 0:
            headroom -= amount
            yield Help(n, "grant", amount)
    part = headroom // len(free)
    if not poor and part * LEAST >= cap > 0:
        # A cap that was raised: an equal part to each.
        for n in everywhere:
            yield Help(n, "grant", part)
        return
    missing = -headroom if headroom < 0 else sum(share - free[n] for n in poor)
    for n in sorted(everywhere, key=free.__getitem__, reverse=True):
        spare = free[n] if headroom < 0 else free[n] - share
        enough = headroom < 0 or free[n] > RICH * share
        amount = min(missing, spare)
        if amount > 0 and enough and not waiting[n]:
            missing -= amount
            yield Help(n, "recall", amount)
