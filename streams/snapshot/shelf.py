"""The snapshots of one partition in a store: named by offset, the newest kept, bad ones skipped.

A snapshot is a function of the log before its offset, so it does not matter who wrote it: two
writers of one offset write one thing. It may be used wherever the committed offset is not before
its own.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from streams.errors import SnapshotError
from streams.handover import engine_hash
from streams.snapshot.image import Facts, Image, layout_hash, open_image, write_image
from streams.snapshot.store import Store
from streams.state.tables import State

KEEP = (
    3  # the newest, one before it should that be corrupt, and one more for the archive to catch up
)
ANCHOR_EVENTS = 10_000_000  # of older ones one in so many events stays: audits begin there
_SUFFIX = ".image"
_log = logging.getLogger("dipper.snapshot")


class Maker(NamedTuple):
    """Who folds: what a snapshot must have been made by to be taken up here."""

    layout: str
    engine: str
    manifest: str
    names: str
    partition: int
    partitions: int


def maker_of(step: Any, state: State) -> Maker:
    """Return who folds into this state: the code that the step reaches, and its deployment."""
    number, count = int(state.partition["number"][0]), int(state.partition["count"][0])
    deployment = step.deployment
    manifest, names = deployment.manifest_hash(count), deployment.names_hash()
    return Maker(layout_hash(state), engine_hash(), manifest, names, number, count)


def facts_of(maker: Maker, offset: int) -> Facts:
    """Return what a snapshot by this maker at an offset says of itself."""
    return Facts(maker.partition, maker.partitions, offset, *maker[:4])


class Shelf:
    """The snapshots of one partition.

    `failures` counts what could not be written, `skipped` what was corrupt: both are alarms.
    """

    def __init__(self, store: Store, partition: int) -> None:
        self._store = store
        self._folder = f"partition-{partition:05d}"
        self.failures = 0
        self.skipped = 0
        self._unread: OSError | None = None

    def offsets(self) -> list[int]:
        """Return the offsets of all snapshots, oldest first."""
        stems = (name.rpartition("/")[2] for name in self._store.names(self._folder))
        numbers = (stem.removesuffix(_SUFFIX) for stem in stems if stem.endswith(_SUFFIX))
        return [int(number) for number in numbers if number.isdecimal()]

    def publish(self, state: State, maker: Maker, offset: int) -> bool:
        """Write the snapshot of a state at an offset, and remove old ones.

        False where the store fails (a full disk): said loudly, counted, and nothing is lost but
        time at the next recovery.
        """
        try:
            self._store.write(self._name(offset), write_image(state, facts_of(maker, offset)))
            for old in _superfluous(self.offsets()):
                self._store.remove(self._name(old))
        except OSError as error:
            self.failures += 1
            _log.error(
                "no snapshot of partition %d at offset %d: %s; recovery begins at an older one",
                maker.partition, offset, error,
            )  # fmt: skip
            return False
        return True

    def images(self, at_most: int) -> Iterator[Image]:
        """Yield the snapshots at or before an offset whose footers are whole, newest first."""
        for offset in reversed(self.offsets()):
            if offset <= at_most:
                try:
                    yield self.open(offset)
                except (SnapshotError, OSError) as error:
                    self.skip(offset, error)

    def open(self, offset: int) -> Image:
        """Read the footer of the snapshot at an offset; `SnapshotError` where it is corrupt."""
        name = self._name(offset)

        def read(at: int, data: memoryview) -> None:
            self._store.read_into(name, at, data)

        image = open_image(self._store.size(name), read)
        if image.facts.offset != offset:
            raise SnapshotError("it is of another offset than its name says")
        return image

    def skip(self, offset: int, error: Exception) -> None:
        """Say that a snapshot is passed over."""
        self.skipped += 1
        # One that is gone was superfluous, and one that ends early is corrupt: neither comes back.
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            self._unread = error
        _log.error("snapshot %s is skipped: %s", self._name(offset), error)

    def refuse_others(self, maker: Maker, at_most: int) -> None:
        """Raise `SnapshotError` where others made the newest snapshot at or before an offset."""
        for image in self.images(at_most):
            refuse_others(image.facts, maker)
            return

    def load(self, make: Callable[[], State], maker: Maker, at_most: int) -> tuple[State, int]:
        """Return the newest good state at or before an offset, and its offset; (empty, 0) if none.

        `make` takes the memory of an empty state. Raises `SnapshotError` where the newest was made
        by others: state that other rules made is not guessed to be ours; `OSError` where some could
        not be read and none was good: the store may answer a moment later.
        """
        self._unread = None
        for image in self.images(at_most):
            refuse_others(image.facts, maker)
            state = make()
            try:
                image.load(state)
            except (SnapshotError, OSError) as error:
                self.skip(image.facts.offset, error)
                continue
            return state, image.facts.offset
        if self._unread is not None:
            raise self._unread
        return make(), 0

    def _name(self, offset: int) -> str:
        return f"{self._folder}/{offset:020d}{_SUFFIX}"


_WHAT = {
    "layout": "with other limits or record layouts",
    "engine": "by another version of the engine",
    "manifest": "under another deployment",
}
_MEANING = {
    "layout": _WHAT["layout"],
    "names": "with other institutions, products, channels, policies, attributes or signals",
}


def refuse_others(facts: Facts, maker: Maker, *, meaning_only: bool = False) -> None:
    """Raise `SnapshotError` where a snapshot was made by others; with `meaning_only`, only where
    its rows mean something else here.
    """
    where = f"partition {maker.partition}: the snapshot at offset {facts.offset} was made"
    if (facts.partition, facts.partitions) != (maker.partition, maker.partitions):
        raise SnapshotError(
            f"{where} for partition {facts.partition} of {facts.partitions}, and this is "
            f"{maker.partition} of {maker.partitions}; resize by replay into new topics"
        )
    for field, how in (_MEANING if meaning_only else _WHAT).items():
        theirs, ours = getattr(facts, field), getattr(maker, field)
        if theirs != ours:
            raise SnapshotError(
                f"{where} {how} ({field} {theirs[:12]}, here {ours[:12]}); run what made it, or "
                "hand over with dipper state adopt"
            )


def _superfluous(offsets: list[int]) -> list[int]:
    """Return what need not be kept: all but the newest few, and one in `ANCHOR_EVENTS`."""
    old = offsets[:-KEEP]
    return [
        each
        for before, each in zip([None, *old], old, strict=False)
        if before is not None and before // ANCHOR_EVENTS == each // ANCHOR_EVENTS
    ]
