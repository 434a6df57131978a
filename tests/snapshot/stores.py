"""Stores to test with: one that runs full, and an S3 of this machine."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from streams.snapshot.store import Folder, ObjectStore, Part, Store, open_store


class FullDisk(Folder):
    """A folder that takes so many bytes a write and then says that the disk is full."""

    def __init__(self, root: Path, room_bytes: int) -> None:
        super().__init__(root)
        self.room_bytes = room_bytes

    def write(self, name: str, parts: Iterable[Part]) -> None:
        def held() -> Iterator[Part]:
            left = self.room_bytes
            for part in parts:
                left -= memoryview(part).nbytes
                if left < 0:
                    raise OSError(28, "No space left on device")
                yield part

        super().write(name, held())


# Buckets outlive their server within this process.
_numbers = count()


@contextmanager
def s3_store() -> Iterator[Store]:
    """Give a store in a new bucket of an S3 server on a loopback port."""
    bucket = f"snapshots-{next(_numbers)}"
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        options = {"endpoint_url": f"http://{host}:{port}", "key": "test", "secret": "test"}
        s3fs.S3FileSystem(**options).mkdir(bucket)
        store = open_store(f"s3://{bucket}/dipper", **options)
        assert isinstance(store, ObjectStore)
        yield store
    finally:
        server.stop()
