"""The files of versions on `dipper.control`, by hash: what workers on other machines load.

A version is a record under its name: `{"files":{"<path>":"<sha256>"}}`; each file is a record under
its sha256. Compaction keeps all of them. Names and hashes are checked where they are read, so
whoever writes junk there hinders, and puts nothing into force.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import orjson
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.broker.client import broker_kind, make_consumer, make_producer, read_whole, stop_client
from streams.errors import BrokerError, DipperError
from streams.topology import CONTROL
from streams.versions import files_of, version_folder

FILE_BYTES_MAX = 900_000  # of one record under Kafka's usual limit
_PLACE = TopicPartition(CONTROL.name, 0)


def bodies_of(config: Path, version: str) -> tuple[dict[bytes, bytes], list[str]]:
    """Return the records of a version, by key, and the files that are too large for one."""
    folder = version_folder(config, version)
    records: dict[bytes, bytes] = {}
    names: dict[str, str] = {}
    large = []
    for path in files_of(folder):
        data = (folder / path).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        names[path.as_posix()] = digest
        if len(data) > FILE_BYTES_MAX:
            large.append(path.as_posix())
        else:
            records[digest.encode()] = data
    records[version.encode()] = orjson.dumps({"files": names})
    return records, large


def write_bodies(bodies: Mapping[bytes, bytes], version: str, folder: Path) -> bool:
    """Write the files of a version into a folder; False where one is not among the bodies.

    `DipperError` where a body is not what its hash says, or a path leads out of the folder.
    """
    head = bodies.get(version.encode())
    if head is None:
        return False
    for name, digest in orjson.loads(head)["files"].items():
        path = PurePosixPath(name)
        data = bodies.get(digest.encode())
        if data is None:
            return False
        if path.is_absolute() or ".." in path.parts or hashlib.sha256(data).hexdigest() != digest:
            raise DipperError(f"version {version}: {name} is not what its hash says; prepare anew")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return True


async def publish_bodies(bootstrap: str, bodies: Mapping[bytes, bytes]) -> None:
    """Write records to `dipper.control`; return when they stand."""
    producer = make_producer(bootstrap, await broker_kind(bootstrap))
    try:
        await producer.start()
        for key, value in bodies.items():
            await producer.send_and_wait(CONTROL.name, value, key=key, partition=0)
    except (KafkaError, OSError) as error:
        raise BrokerError(f"{CONTROL.name} at {bootstrap} takes nothing: {error}") from error
    finally:
        await stop_client(producer)


async def read_bodies(bootstrap: str) -> dict[bytes, bytes]:
    """Return what `dipper.control` holds by now, the last record under each key."""
    consumer = make_consumer(bootstrap)
    found: dict[bytes, bytes] = {}
    try:
        await consumer.start()
        async for record in read_whole(consumer, _PLACE):
            if record.key:
                found[record.key] = record.value
    except (KafkaError, OSError) as error:
        raise BrokerError(f"{CONTROL.name} at {bootstrap} cannot be read: {error}") from error
    finally:
        await stop_client(consumer)
    return found
