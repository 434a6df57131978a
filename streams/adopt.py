"""Let another deployment, or another version of the code, go on from an exact offset.

A snapshot at the committed offset is the whole past of a partition. Written again under the name of
the new manifest it says: all before was decided by the old one, all behind by the new one.

1. Look, in every partition: the newest snapshot stands at the committed offset, and its rows mean
   the same here.
2. Write each of them again as ours, in place.

If it dies within 2, some partitions are handed over and some are not: a worker of either kind is
refused on the others. Run it again; what is ours already is left as it is.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from streams.broker.fetch import committed_offsets
from streams.broker.topics import count_partitions
from streams.config import load_deployment
from streams.errors import SnapshotError
from streams.partition import Partition
from streams.recover import MakePartition, state_of
from streams.snapshot.image import Facts
from streams.snapshot.shelf import Shelf, maker_of, refuse_others
from streams.snapshot.store import Store
from streams.step import Step
from streams.topology import EVENTS


class Adopted(NamedTuple):
    """A partition that goes on under a manifest from an offset."""

    partition: int
    offset: int
    manifest: str


async def adopt(bootstrap: str, config: Path, store: Store, group: str) -> list[Adopted]:
    """Hand every partition of the group over to this deployment and this code.

    The workers must have stopped. Raises `DipperError` where one partition cannot be handed over;
    then none was.
    """
    deployment = load_deployment(config)
    count = await count_partitions(bootstrap)
    offsets = await committed_offsets(bootstrap, group, EVENTS.name, count)

    def make(number: int) -> Partition:
        return Partition(Step(deployment, number, count, lambda *_: False))  # nothing is decided

    return list(adopt_all(store, {n: (partial(make, n), at) for n, at in enumerate(offsets)}))


def adopt_all(store: Store, partitions: dict[int, tuple[MakePartition, int]]) -> Iterator[Adopted]:
    """Hand over each partition: how to make an empty one, and the committed offset."""
    for number, (make, offset) in partitions.items():
        _look(Shelf(store, number), make(), offset)
    for number, (make, offset) in partitions.items():
        yield _write(Shelf(store, number), make(), offset)


def _look(shelf: Shelf, empty: Partition, offset: int) -> Facts:
    state = state_of(empty)
    maker = maker_of(empty.step, state)
    newest = max(shelf.offsets(), default=0)
    if newest != offset:
        raise SnapshotError(
            f"partition {maker.partition}: the newest snapshot stands at offset {newest}, the "
            f"workers have committed {offset}; stop them, let dipper state keep of the old "
            "deployment reach it, stop that too"
        )
    if offset == 0:
        raise SnapshotError(f"partition {maker.partition} has no past to be adopted")
    facts = shelf.open(offset).facts
    refuse_others(facts, maker, meaning_only=True)
    return facts


def _write(shelf: Shelf, empty: Partition, offset: int) -> Adopted:
    facts = _look(shelf, empty, offset)
    state = state_of(empty)
    maker = maker_of(empty.step, state)
    if (facts.engine, facts.manifest) != (maker.engine, maker.manifest):
        own = state.versions.copy()
        shelf.open(offset).load(state)
        # Its own version is the live one from here on; older ones must be prepared anew.
        state.versions[:] = own
        state.partition["version"], state.partition["next_version"] = 0, 1
        if not shelf.publish(state, maker, offset):
            raise SnapshotError(f"partition {maker.partition} could not be written; run it again")
    return Adopted(maker.partition, offset, maker.manifest)
