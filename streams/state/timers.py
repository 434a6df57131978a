"""Timers of offers: a binary heap by due time, then by id, so that ties have one order (Williams,
1964).
"""

from streams.buffers import Array
from streams.compile import i64, kernel


@kernel
def _before(timers: Array, a: int, b: int) -> bool:
    if timers[a]["at"] != timers[b]["at"]:
        return bool(timers[a]["at"] < timers[b]["at"])
    return bool(timers[a]["lo"] < timers[b]["lo"])


@kernel
def _swap(timers: Array, a: int, b: int) -> None:
    at, lo, offer = timers[a]["at"], timers[a]["lo"], timers[a]["offer"]
    timers[a]["at"], timers[a]["lo"], timers[a]["offer"] = (
        timers[b]["at"],
        timers[b]["lo"],
        timers[b]["offer"],
    )
    timers[b]["at"], timers[b]["lo"], timers[b]["offer"] = at, lo, offer


@kernel
def timers_have_room(partition: Array, timers: Array) -> bool:
    """Say whether one more timer fits."""
    return bool(partition[0]["timers"] < timers.shape[0])


@kernel
def push_timer(partition: Array, timers: Array, at: int, lo: int, offer: int) -> None:
    """Set a timer for `offer` at time `at`. The caller knows that there is room."""
    i = i64(partition[0]["timers"])
    assert i < timers.shape[0]
    partition[0]["timers"] = i + 1
    timers[i]["at"] = at
    timers[i]["lo"] = lo
    timers[i]["offer"] = offer
    while i > 0:
        parent = (i - 1) // 2
        if not _before(timers, i, parent):
            break
        _swap(timers, i, parent)
        i = parent


@kernel
def pop_timer(partition: Array, timers: Array) -> None:
    """Remove the first timer, `timers[0]`."""
    last = i64(partition[0]["timers"]) - 1
    assert last >= 0
    partition[0]["timers"] = last
    _swap(timers, 0, last)
    i = i64(0)
    while True:
        child = 2 * i + 1
        if child >= last:
            break
        if child + 1 < last and _before(timers, child + 1, child):
            child += 1
        if not _before(timers, child, i):
            break
        _swap(timers, child, i)
        i = child
