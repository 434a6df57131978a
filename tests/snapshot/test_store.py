"""Stores: a folder and an object store keep the same promises."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.errors import DipperError
from streams.snapshot.store import Folder, Store, open_store, read_all
from tests.snapshot.stores import s3_store

LARGE = 6 * 1024 * 1024  # more than one part of an upload


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Give each kind of store in turn."""
    if request.param == "folder":
        yield open_store(f"file://{tmp_path}/store")
    else:
        with s3_store() as found:
            yield found


def test_a_store_gives_back_what_it_took(store: Store) -> None:
    """Names are listed in order, hold their bytes, may be replaced, read in part, and removed."""
    large = bytes(range(256)) * (LARGE // 256)
    assert store.names("a") == []
    store.write("a/2", [b"one", memoryview(b"two")])
    store.write("a/1", [large[:100], large[100:]])
    store.write("b/1", [])
    assert store.names("a") == ["a/1", "a/2"]
    assert [store.size(name) for name in ("a/1", "a/2", "b/1")] == [LARGE, 6, 0]
    assert read_all(store, "a/1") == large
    middle = bytearray(1_000)
    store.read_into("a/1", 77, memoryview(middle))
    assert middle == large[77:1_077]
    store.write("a/2", [b"anew"])
    assert read_all(store, "a/2") == b"anew"
    store.remove("a/1")
    store.remove("a/1")
    assert store.names("a") == ["a/2"]


def test_a_write_that_fails_leaves_nothing(store: Store) -> None:
    """Where the parts end in a fault, the name does not exist, or holds what it held."""

    def parts() -> Iterator[bytes]:
        yield bytes(LARGE)
        raise OSError(28, "No space left on device")

    store.write("a/old", [b"old"])
    for name in ("a/new", "a/old"):
        with pytest.raises(OSError, match="No space"):
            store.write(name, parts())
    assert store.names("a") == ["a/old"]
    assert read_all(store, "a/old") == b"old"


def test_what_is_cut_short_is_an_error(store: Store) -> None:
    """Reading behind the end raises, and does not give fewer bytes."""
    store.write("a/1", [b"short"])
    with pytest.raises((EOFError, OSError)):
        store.read_into("a/1", 3, memoryview(bytearray(10)))


def test_a_folder_is_its_owner_s_alone(tmp_path: Path) -> None:
    """Files and folders that hold applicants' history are closed to other users of the machine."""
    Folder(tmp_path / "store").write("a/1", [b"x"])
    modes = [stat.S_IMODE((tmp_path / "store" / name).stat().st_mode) for name in ("a", "a/1")]
    assert modes == [0o700, 0o600]


def test_a_url_that_nothing_can_open_is_refused() -> None:
    """An unknown protocol is one sentence with the URL in it."""
    with pytest.raises(DipperError, match="nowhere://x cannot be opened"):
        open_store("nowhere://x")
