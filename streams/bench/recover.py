"""What recovery waits for: snapshots of so many applicants, read, checked and loaded."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from streams.limits import Limits
from streams.snapshot.image import layout_hash, same_state
from streams.snapshot.shelf import Maker, Shelf
from streams.snapshot.store import Folder
from streams.state.tables import State, make_state


class Recovery(NamedTuple):
    """Seconds by the clock and of processor time to load all partitions, one after the other, and
    the bytes of their images.
    """

    applicants: int
    partitions: int
    image_bytes: int
    load_s: float
    load_cpu_s: float


def bench_recover(
    folder: Path, applicants: int, on_stage: Callable[[str], None] = lambda _: None
) -> Recovery:
    """Measure with as many partitions of the default limits as `applicants` need, each of whose
    tables are filled, with random bytes, to the share that they need of its applicants.

    The files were just written, so they are read from the page cache: a disk adds its own time. The
    log behind a snapshot is not folded here; how long that takes, `dipper bench replay` tells.
    """
    limits = Limits()
    partitions = -(-applicants // limits.applicants)
    state = _empty(limits)
    maker = Maker(layout_hash(state), "bench", "bench", "bench", 0, 1)
    on_stage("write")
    _fill(state, applicants / (partitions * limits.applicants))
    shelves = [Shelf(Folder(folder / str(number)), 0) for number in range(partitions)]
    for shelf in shelves:
        written = shelf.publish(state, maker, 1)
        assert written
    on_stage("load")
    began, cpu = time.perf_counter(), time.process_time()
    for shelf in shelves:
        loaded, offset = shelf.load(lambda: _empty(limits), maker, 1)
    load_s, load_cpu_s = time.perf_counter() - began, time.process_time() - cpu
    assert offset == 1
    assert same_state(state, loaded) == []
    size = sum(path.stat().st_size for path in folder.rglob("*.image"))
    return Recovery(applicants, partitions, size, round(load_s, 2), round(load_cpu_s, 2))


def _empty(limits: Limits) -> State:
    return make_state(limits, 1, 0, 1, 64)


def _fill(state: State, share: float) -> None:
    rng = np.random.default_rng(1)
    for name, table in state._asdict().items():
        if name != "partition":
            rows = table[: max(1, int(share * table.shape[0]))].view(np.uint8)
            rows[:] = rng.integers(0, 256, rows.shape, np.uint8)
