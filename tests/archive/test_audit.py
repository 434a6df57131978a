"""An archive decided again: identical, or what differs; erased is neither."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from streams.archive.audit import Report, verify
from streams.archive.segments import Archived, Shelf
from streams.archive.vault import Vault
from streams.blocks import make_block
from streams.deployment import Deployment
from streams.errors import DipperError, UnplacedMoneyError
from streams.partition import Output, Partition
from streams.recover import load, state_of
from streams.schema import OfferState
from streams.snapshot.shelf import Shelf as Snapshots
from streams.snapshot.shelf import maker_of
from streams.snapshot.store import Folder
from streams.topology import DECISIONS, EVENTS, EVIDENCE, FUNDING, STEP_OUTPUTS, Topic
from tests.naive.logs import LogMaker
from tests.naive.run import make_step
from tests.sizes import sized

pytestmark = pytest.mark.timeout(900)
ROWS = max(100, sized(300))
SEEDS = range(sized(6))
UNPLACED = 5


class World(NamedTuple):
    """An archive of a generated log and what it led to, and the keys of its applicants."""

    maker: LogMaker
    deployment: Deployment
    store: Folder
    snapshots: Folder
    vault: Vault

    def audit(self, first: int = 0, stop: int = ROWS, *, from_snapshot: bool = False) -> Report:
        """Verify a range."""
        partition = load(
            lambda: Partition(make_step(self.deployment)),
            self.snapshots if from_snapshot else None,
            first,
        )
        return verify(
            partition, self.store, self.vault, self.deployment.institution_ids, first, stop
        )


def write(world: World, topic: Topic, records: list[Archived]) -> None:
    """Archive records of a topic in three segments."""
    shelf = Shelf(world.store, topic, world.maker.partition)
    third = len(records) // 3 + 1
    for first in range(0, len(records), third):
        part = records[first : first + third]
        shelf.append(part, part[0].offset, part[-1].offset + 1, world.vault)


def decided(world: World) -> Iterator[Output]:
    """Decide the log, with a snapshot in its middle."""
    partition = Partition(make_step(world.deployment))
    state = state_of(partition)
    for offset, row in enumerate(world.maker.log):
        block = make_block(world.maker.partition, [offset], [row.key], [row.value])
        yield from partition.decide_block(block)
        if offset + 1 == ROWS // 2:
            shelf = Snapshots(world.snapshots, world.maker.partition)
            shelf.publish(state, maker_of(partition.step, state), offset + 1)


@pytest.fixture
def world(step_deployment: Deployment, tmp_path: Path, request: Any) -> Iterator[World]:
    """Give an archive; its log's seed is the test's parameter."""
    maker = LogMaker(step_deployment, 500 + getattr(request, "param", 0)).make(ROWS)
    vault = Vault(tmp_path / "vault.db")
    stores = Folder(tmp_path / "archive"), Folder(tmp_path / "snapshots")
    world = World(maker, step_deployment, *stores, vault)
    events = [Archived(offset, *row) for offset, row in enumerate(maker.log)]
    write(world, EVENTS, events)
    written = list(decided(world))
    for topic in (DECISIONS, EVIDENCE, FUNDING):
        mine = [output for output in written if STEP_OUTPUTS[output.topic] == topic]
        write(world, topic, [Archived(n, o.key, o.value, o.headers) for n, o in enumerate(mine)])
    yield world
    vault.close()


def test_an_archive_gives_back_what_it_took(world: World) -> None:
    """Keys, values, null ones too, and headers come back in order, from any offset to any."""
    shelf = Shelf(world.store, EVENTS, world.maker.partition)
    for first, stop in ((0, ROWS), (5, 6), (ROWS // 2, ROWS - 1)):
        found = [(r.offset, r.key, r.value) for r in shelf.read(first, stop, world.vault)]
        assert found == [(n, *world.maker.log[n]) for n in range(first, stop)]
    other = Shelf(world.store, EVENTS, 0)
    headers = (("reason", b"x"), ("leer", b""))
    other.append([Archived(3, b"k", None, headers)], 0, 9, world.vault)
    assert list(other.read(0, 9, world.vault)) == [Archived(3, b"k", None, headers)]


def test_what_the_archive_does_not_hold_is_said(world: World) -> None:
    """A range behind its end, and a file that is missing in the middle, are errors."""
    shelf = Shelf(world.store, EVENTS, world.maker.partition)
    with pytest.raises(DipperError, match="does not hold offsets"):
        list(shelf.read(0, ROWS + 1, world.vault))
    world.store.remove(shelf.segments()[1].name)
    with pytest.raises(DipperError, match="has a gap"):
        shelf.segments()


@pytest.mark.parametrize("world", SEEDS, indirect=True)
def test_an_honest_archive_is_identical(world: World) -> None:
    """Every decision is led to again byte for byte, from the start and from a snapshot."""
    whole = world.audit()
    half = world.audit(ROWS // 2, from_snapshot=True)
    assert whole.good
    assert half.good
    assert (whole.began, half.began) == (0, ROWS // 2)
    assert whole.identical > half.identical > 0
    assert (whole.erased, half.erased) == (0, 0)


def test_what_was_changed_is_found(world: World) -> None:
    """A decision that was altered, one that was left out and one that was added are each named."""
    shelf = Shelf(world.store, DECISIONS, world.maker.partition)
    segments = shelf.segments()
    records = list(shelf.read(0, segments[-1].next, world.vault))
    for segment in segments:
        world.store.remove(segment.name)
    values = [orjson.loads(record.value or b"") for record in records]
    altered, dropped = values[2], values[5]
    swapped = [value for value in values if value != dropped]
    text = orjson.dumps(altered | {"outcome": "approved?"})
    write(
        world,
        DECISIONS,
        [
            record._replace(offset=n, value=text if value == altered else record.value)
            for n, (record, value) in enumerate(
                (r, v) for r, v in zip(records, values, strict=True) if v in swapped
            )
        ],
    )
    report = world.audit()
    assert report.differs == [(altered["offset"], altered["id"])]
    assert report.extra == [(dropped["offset"], dropped["id"])]
    assert report.identical == len(values) - 2


@pytest.mark.parametrize("world", SEEDS, indirect=True)
def test_erased_is_not_different(world: World, request: Any) -> None:
    """With an applicant's key destroyed its decisions count as erased; those of all others are
    still identical, though they shared the money of the same leases, or cannot be told: never
    different. Of these logs one has a request that was refused between two erased events.
    """
    before = world.audit()
    offers = world.maker.step.books.offers.values()
    moved = [o.applicant for o in offers if o.state is not OfferState.FREE]
    erased = max(set(moved), key=moved.count)
    assert world.vault.erase(erased)
    for first, from_snapshot in ((0, False), (ROWS // 2, True)):
        if request.node.callspec.params["world"] == UNPLACED:
            with pytest.raises(UnplacedMoneyError, match="cannot be told"):
                world.audit(first, from_snapshot=from_snapshot)
            continue
        report = world.audit(first, from_snapshot=from_snapshot)
        assert report.erased > 0
        assert report.erased_events > 0
        assert report.good, (report.differs, report.missing, report.extra)
        if first == 0:
            assert report.identical == before.identical - report.erased
