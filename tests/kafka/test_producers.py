"""The example producers put events where dipper expects them."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import orjson
import pytest

from examples.producers import kafka_python
from streams.broker.publish import partition_of
from streams.broker.topics import ensure_topics
from streams.topology import EVENTS
from tests.conftest import Broker
from tests.kafka.logs import read_partition

_PARTITIONS = 4
_APPLICANTS = [f"p-{number}" for number in range(6)]
_SCRIPT = Path(kafka_python.__file__).with_name("kcat.sh")


async def test_kafka_python_publishes_into_the_applicants_partition(fresh_broker: Broker) -> None:
    """An event published by kafka-python stands, whole, in the partition of its key."""
    await ensure_topics(fresh_broker.bootstrap, _PARTITIONS)
    event = kafka_python.application("p-77")
    kafka_python.publish(fresh_broker.bootstrap, event)
    place = partition_of(b"p-77", _PARTITIONS)
    records = await read_partition(fresh_broker.bootstrap, EVENTS.name, place)
    assert [(r.key, orjson.loads(r.value)) for r in records] == [(b"p-77", event)]


async def test_kcat_publishes_into_the_applicants_partition(fresh_kafka_broker: Broker) -> None:
    """An event published by the kcat line stands in the partition of its key.

    On Apache Kafka only: librdkafka cannot read the embedded broker's list of API versions.
    """
    if shutil.which("kcat") is None:
        pytest.skip("kcat is not on the path")
    await ensure_topics(fresh_kafka_broker.bootstrap, _PARTITIONS)
    for applicant in _APPLICANTS:
        command = ["sh", str(_SCRIPT), fresh_kafka_broker.bootstrap, applicant]
        await asyncio.to_thread(subprocess.run, command, check=True, timeout=30)
    for number in range(_PARTITIONS):
        records = await read_partition(fresh_kafka_broker.bootstrap, EVENTS.name, number)
        mine = [a for a in _APPLICANTS if partition_of(a.encode(), _PARTITIONS) == number]
        assert [record.key for record in records] == [a.encode() for a in mine]
        assert [orjson.loads(record.value)["applicant"] for record in records] == mine
