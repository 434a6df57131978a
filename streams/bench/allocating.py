"""What the step takes from the allocator for one event and for many; see `allocations.py`.

    python -m streams.bench.allocating FOLDER LIMITS    under the counter; prints one JSON object

Objects a batch are allowed, an event none: so the figure is the slope between batches of 2,048
events and of 4,096, in the least of some runs, since Python's own housekeeping now and then takes a
block. (Small batches take a few less: Python keeps small numbers, NumPy small blocks.)
"""

import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path

from streams.bench.allocations import taken
from streams.bench.step import BATCH_ROWS, KINDS, Prepared
from streams.bench.traffic import Load, Traffic, make_loads
from streams.config import load_deployment

APPLICANTS = 500
_FEW_ROWS = 2_048
_HISTORY = 20
_TIMES = 5


def main() -> None:
    """Count for each kind of traffic, and with an object an event, which must be seen."""
    deployment = load_deployment(Path(sys.argv[1]), json.loads(sys.argv[2]))
    found = {}
    for kind, share in KINDS.items():
        prepared = Prepared(deployment, Traffic(APPLICANTS), _HISTORY)
        records = list(
            prepared.traffic.mixed(_TIMES * (BATCH_ROWS + _FEW_ROWS), prepared.lines, share, 0.0)
        )
        few = make_loads(records[: _TIMES * _FEW_ROWS], _FEW_ROWS, prepared.offset)
        many = make_loads(
            records[_TIMES * _FEW_ROWS :], BATCH_ROWS, prepared.offset + _TIMES * _FEW_ROWS
        )

        def decide(load: Load, prepared: Prepared = prepared) -> None:
            load.fill(prepared.step.batch)
            for _ in prepared.step.run():
                continue

        found[kind] = slope(decide, few, many)
        found[f"{kind} with an object an event"] = slope(_with_objects(decide), few, many)
    print(json.dumps(found))  # noqa: T201 read by the process that counts


def slope(decide: Callable[[Load], None], few: list[Load], many: list[Load]) -> float:
    """Return calls of the allocator per event."""
    decide(few[0])
    decide(many[0])
    # A collection of garbage would take blocks at a moment of its own.
    gc.collect()
    gc.disable()
    taken_few = min(_count(decide, load) for load in few[1:])
    taken_many = min(_count(decide, load) for load in many[1:])
    gc.enable()
    return (taken_many - taken_few) / (len(many[1].offset) - len(few[1].offset))


def _count(decide: Callable[[Load], None], load: Load) -> int:
    before = taken()
    decide(load)
    return taken() - before


def _with_objects(decide: Callable[[Load], None]) -> Callable[[Load], None]:
    def wasteful(load: Load) -> None:
        decide(load)
        for offset in load.offset:
            bytes(int(offset) % 7 + 100)

    return wasteful


if __name__ == "__main__":
    main()
