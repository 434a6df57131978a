"""Snapshots as bytes and on the shelf: whole, or refused; the newest good one counts."""

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.counters import WAVES
from streams.errors import SnapshotError
from streams.snapshot import shelf as shelves
from streams.snapshot.image import Facts, same_state
from streams.snapshot.shelf import KEEP, Maker, Shelf
from streams.snapshot.store import Folder
from streams.state.tables import State
from tests.sizes import sized
from tests.snapshot.images import MAKER, bytes_of, empty, filled, image_of
from tests.snapshot.stores import FullDisk


@given(st.integers(0, 2**32), st.floats(0, 1))
@settings(max_examples=sized(40))
def test_an_image_holds_every_bit(seed: int, share: float) -> None:
    """Whatever stands in the arrays, an image brings it back, but for what numbers waves."""
    state, loaded = filled(seed, share), empty()
    image = image_of(bytes_of(state))
    image.check()
    image.load(loaded)
    assert image.facts == Facts(1, 2, 7, *MAKER[:4])
    assert same_state(state, loaded) == []
    assert loaded.counters[WAVES] == 0
    assert not loaded.applicants["wave"].any()


def test_a_bit_that_differs_is_seen() -> None:
    """The comparison that this proof rests on finds one bit in any array, padding too."""
    for name in State._fields:
        one, other = filled(3), filled(3)
        table = getattr(other, name)
        table.view(np.uint8).reshape(-1)[table.nbytes - 1] ^= 1
        assert same_state(one, other) == [name]


def test_empty_rows_are_left_out() -> None:
    """An image is as large as what is known: an empty state of any size is a few bytes."""
    assert len(bytes_of(empty())) < 1_000
    assert len(bytes_of(filled(1, 0.1))) < len(bytes_of(filled(1))) + 1


@given(st.integers(0, 2**32), st.integers(1, 255))
@settings(max_examples=sized(200))
def test_no_bit_of_an_image_may_be_wrong(place: int, change: int) -> None:
    """An image with any byte changed is refused, footer or chunk; it never loads as another."""
    data = bytearray(bytes_of(filled(5, 0.5)))
    at = place % len(data)
    data[at] ^= change
    if at < 8:
        return  # the first bytes only tell people what the file is; the trailer says it again
    with pytest.raises(SnapshotError):
        image_of(bytes(data)).load(empty())


@given(st.integers(0, 2**32))
@settings(max_examples=sized(100))
def test_an_image_cut_anywhere_is_refused(place: int) -> None:
    """An image whose end is missing has no footer, and is refused before anything is loaded."""
    data = bytes_of(filled(5, 0.5))
    with pytest.raises(SnapshotError):
        image_of(data[: place % len(data)])


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    """What is no image is refused in one sentence, whatever it is."""
    with pytest.raises(SnapshotError):
        image_of(data)


def test_the_newest_good_one_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A corrupt snapshot is skipped, said and counted; the next older one is loaded; none is
    taken that is behind the committed offset.
    """
    shelf = Shelf(Folder(tmp_path), 1)
    assert shelf.load(empty, MAKER, 100)[1] == 0
    for offset in (10, 20, 30):
        assert shelf.publish(filled(offset), MAKER, offset)
    assert shelf.load(empty, MAKER, 29)[1] == 20
    newest = tmp_path / "partition-00001" / f"{30:020d}.image"
    whole = newest.read_bytes()
    for broken in (whole[:-9], whole[:500] + b"\x00\x01" + whole[502:], b""):
        newest.write_bytes(broken)
        state, offset = shelf.load(empty, MAKER, 30)
        assert offset == 20
        assert same_state(state, filled(20)) == []
    assert shelf.skipped == 3
    assert "is skipped" in caplog.text


@pytest.mark.parametrize(
    "other",
    [
        MAKER._replace(layout="other"),
        MAKER._replace(engine="other"),
        MAKER._replace(manifest="other"),
        MAKER._replace(partition=0),
        MAKER._replace(partitions=4),
    ],
)
def test_what_others_made_is_refused(tmp_path: Path, other: Maker) -> None:
    """State of another layout, engine, deployment or partition is not taken up, nor an older one
    of ours behind it: one sentence says why.
    """
    shelf = Shelf(Folder(tmp_path), 1)
    shelf.publish(filled(1), MAKER, 10)
    shelf.publish(filled(2), MAKER, 20)
    with pytest.raises(SnapshotError, match=r"the snapshot at offset 20 was made .+") as raised:
        shelf.load(empty, other, 30)
    assert "\n" not in str(raised.value)


def test_old_snapshots_go_and_anchors_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest few stay, and of older ones the first of every so many events."""
    monkeypatch.setattr(shelves, "ANCHOR_EVENTS", 100)
    shelf = Shelf(Folder(tmp_path), 1)
    for offset in range(0, 500, 30):
        shelf.publish(empty(), MAKER, offset)
    assert shelf.offsets()[-KEEP:] == [420, 450, 480]
    assert shelf.offsets()[:-KEEP] == [0, 120, 210, 300]


def test_a_full_disk_is_an_alarm_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a snapshot has no room, nothing half is left, it is counted and said, and the next one
    is written when there is room again.
    """
    store = FullDisk(tmp_path, 10_000_000)
    shelf = Shelf(store, 1)
    assert shelf.publish(filled(1), MAKER, 10)
    store.room_bytes = 5_000
    with caplog.at_level(logging.ERROR):
        assert not shelf.publish(filled(2), MAKER, 20)
    assert "No space left" in caplog.text
    assert (shelf.failures, shelf.offsets()) == (1, [10])
    assert [path.suffix for path in (tmp_path / "partition-00001").iterdir()] == [".image"]
    store.room_bytes = 10_000_000
    assert shelf.publish(filled(2), MAKER, 20)
    assert shelf.load(empty, MAKER, 20)[1] == 20
