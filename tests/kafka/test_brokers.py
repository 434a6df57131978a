"""The two brokers that dipper starts, and the clients that talk to them."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import aiokafka
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from streams.broker import kafka
from streams.broker.client import broker_kind, make_consumer, make_producer
from streams.broker.embedded import EmbeddedBroker
from streams.broker.server import BrokerServer, answers
from streams.broker.topics import (
    DEAD_LETTER_BYTES_MAX,
    EVENT_BYTES_MAX,
    ensure_topics,
    settings_amiss,
)
from streams.errors import BrokerError
from streams.topology import DEAD_LETTERS, EVENTS, EVIDENCE, TOPICS
from tests.conftest import Broker

_CODECS = ["gzip", "snappy", "lz4", "zstd"]


async def _read(broker: Broker, topic: str, count: int) -> list[aiokafka.ConsumerRecord]:
    consumer = make_consumer(broker.bootstrap, topic)
    await consumer.start()
    try:
        return [await asyncio.wait_for(consumer.getone(), 30) for _ in range(count)]
    finally:
        await consumer.stop()


async def test_a_record_comes_back_as_sent(fresh_broker: Broker) -> None:
    """Key, value, headers and partition of a record are read as they were produced."""
    await ensure_topics(fresh_broker.bootstrap, 2)
    producer = make_producer(fresh_broker.bootstrap, fresh_broker.kind)
    await producer.start()
    try:
        sent = await producer.send_and_wait(
            EVENTS.name, b"{}", key=b"applicant-1", headers=[("reason", b"none")]
        )
    finally:
        await producer.stop()
    (got,) = await _read(fresh_broker, EVENTS.name, 1)
    assert (got.key, got.value, got.partition) == (b"applicant-1", b"{}", sent.partition)
    assert list(got.headers) == [("reason", b"none")]


async def test_kafka_python_talks_to_both(fresh_broker: Broker) -> None:
    """Another client publishes to the partition that ours computes, and reads what ours sent."""
    await ensure_topics(fresh_broker.bootstrap, 4)
    keys = [f"applicant-{n}".encode() for n in range(20)]

    def publish() -> list[int]:
        other = KafkaProducer(
            bootstrap_servers=fresh_broker.bootstrap,
            enable_idempotence=fresh_broker.kind == "kafka",
        )
        partitions = [other.send(EVENTS.name, b"1", key=key).get(30).partition for key in keys]
        other.close()
        return partitions

    theirs = await asyncio.to_thread(publish)
    producer = make_producer(fresh_broker.bootstrap, fresh_broker.kind)
    await producer.start()
    try:
        ours = [
            (await producer.send_and_wait(EVENTS.name, b"2", key=key)).partition for key in keys
        ]
    finally:
        await producer.stop()
    assert theirs == ours

    def read() -> list[bytes]:
        other = KafkaConsumer(bootstrap_servers=fresh_broker.bootstrap, consumer_timeout_ms=30_000)
        partitions = [TopicPartition(EVENTS.name, n) for n in range(4)]
        other.assign(partitions)
        other.seek_to_beginning(*partitions)
        values = [next(other).value for _ in range(2 * len(keys))]
        other.close()
        return values

    assert sorted(await asyncio.to_thread(read)) == [b"1"] * len(keys) + [b"2"] * len(keys)


@pytest.mark.parametrize("codec", _CODECS)
async def test_compressed_records_are_read(fresh_broker: Broker, codec: str) -> None:
    """A batch compressed by its producer reaches us as the bytes that were sent."""
    await ensure_topics(fresh_broker.bootstrap, 1)
    values = [b'{"n":%d,"pad":"%s"}' % (n, b"x" * 200) for n in range(50)]
    producer = make_producer(fresh_broker.bootstrap, fresh_broker.kind, compression_type=codec)
    await producer.start()
    try:
        await asyncio.gather(
            *[await producer.send(EVENTS.name, value, key=b"k") for value in values]
        )
    finally:
        await producer.stop()
    assert [record.value for record in await _read(fresh_broker, EVENTS.name, 50)] == values


async def test_the_largest_event_fits_its_dead_letter(fresh_broker: Broker) -> None:
    """Whatever bytes the input topic takes, the dead-letter topic takes with headers on."""
    await ensure_topics(fresh_broker.bootstrap, 1)
    junk = os.urandom(EVENT_BYTES_MAX - 200)  # room for the batch around it
    headers = [("reason", b"malformed"), ("topic", EVENTS.name.encode()), ("offset", b"0")]
    producer = make_producer(fresh_broker.bootstrap, fresh_broker.kind)
    await producer.start()
    try:
        await producer.send_and_wait(EVENTS.name, junk, key=b"k")
        await producer.send_and_wait(DEAD_LETTERS.name, junk, key=b"k", headers=headers)
    finally:
        await producer.stop()
    (got,) = await _read(fresh_broker, DEAD_LETTERS.name, 1)
    assert got.value == junk
    assert len(junk) < EVENT_BYTES_MAX < DEAD_LETTER_BYTES_MAX < kafka.RECORD_BYTES_MAX


async def test_topics_are_made_once(fresh_broker: Broker) -> None:
    """Making topics twice, or twice at once, makes each of them once with its partitions."""
    await asyncio.gather(*[ensure_topics(fresh_broker.bootstrap, 3) for _ in range(2)])
    await ensure_topics(fresh_broker.bootstrap, 3)
    admin = AIOKafkaAdminClient(bootstrap_servers=fresh_broker.bootstrap)
    await admin.start()
    try:
        found = await admin.describe_topics([topic.name for topic in TOPICS])
    finally:
        await admin.close()
    assert {each["topic"]: len(each["partitions"]) for each in found} == {
        topic.name: topic.partitions or 3 for topic in TOPICS
    }


async def test_a_topic_with_another_retention_is_told(fresh_kafka_broker: Broker) -> None:
    """Topics as we make them are as they should be; one that stood before with a week's retention
    is named, with the command that mends it.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=fresh_kafka_broker.bootstrap)
    await admin.start()
    week = {"retention.ms": "604800000"}
    await admin.create_topics([NewTopic(EVIDENCE.name, 2, 1, topic_configs=week)])
    await admin.close()
    await ensure_topics(fresh_kafka_broker.bootstrap, 2, institutions=["dawn"])
    (told,) = await settings_amiss(fresh_kafka_broker.bootstrap, ["dawn"])
    assert told.startswith(f"{EVIDENCE.name} has retention.ms=604800000 where -1 is needed")


async def test_another_number_of_partitions_is_refused(fresh_broker: Broker) -> None:
    """A topic that stands with another number of partitions is an error that names both."""
    await ensure_topics(fresh_broker.bootstrap, 2)
    with pytest.raises(BrokerError, match="has 2 partitions where 5 are asked for"):
        await ensure_topics(fresh_broker.bootstrap, 5)


async def test_kind_is_told_by_the_broker(broker: Broker) -> None:
    """A client learns from the broker itself what it can do."""
    assert await broker_kind(broker.bootstrap) == broker.kind


async def test_no_broker_is_one_sentence() -> None:
    """An address where nothing listens gives one error with the remedy."""
    with pytest.raises(BrokerError, match="dipper broker"):
        await broker_kind("127.0.0.1:1")


async def test_a_stopped_broker_is_gone() -> None:
    """Leaving the context ends the process and removes its folder."""
    async with EmbeddedBroker() as broker:
        folder, bootstrap = broker.folder, broker.bootstrap
        assert await answers(bootstrap)
    assert not folder.exists()
    with pytest.raises(BrokerError):
        await broker_kind(bootstrap)


def test_a_broker_does_not_outlive_its_starter() -> None:
    """When the process that started a broker is killed, the broker and its folder go too."""
    code = (
        "import time\n"
        "from streams.broker.embedded import EmbeddedBroker\n"
        "broker = EmbeddedBroker().start()\n"
        "print(broker.bootstrap, broker.folder, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        bootstrap, folder = starter.stdout.readline().split()
        assert asyncio.run(answers(bootstrap))
        starter.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while asyncio.run(_listens(bootstrap)) or Path(folder).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def _listens(bootstrap: str) -> bool:
    host, port = bootstrap.split(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    return True


class _EndsAtOnce(BrokerServer):
    kind = "embedded"
    start_s_max = 5.0

    def command(self) -> list[str]:
        """Return a program that says why, and ends."""
        self.bootstrap = "127.0.0.1:1"
        return [sys.executable, "-c", "print('no room for me')"]


def test_a_broker_that_cannot_start_says_why() -> None:
    """A broker that ends at its start gives the end of its log, and leaves nothing behind."""
    broker = _EndsAtOnce()
    with pytest.raises(BrokerError, match=r"ended at its start.*no room for me"):
        broker.start()
    assert broker.folder == Path()


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without Java and Maven the reason names both; with the jars in place only Java counts."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kafka.missing_tools() == ["java", "mvn"]
    with pytest.raises(BrokerError, match="Maven"):
        kafka.fetch_jars()
    folder = kafka.cache_folder()
    (folder / "libs").mkdir(parents=True, exist_ok=True)
    (folder / "pom.xml").write_bytes(Path(kafka.__file__).with_name("kafka_pom.xml").read_bytes())
    assert kafka.missing_tools() == ["java"]


@pytest.mark.parametrize("content", [b"", b"no classes at all" * 999], ids=["empty", "damaged"])
def test_java_starts_without_its_class_archive(tmp_path: Path, content: bytes) -> None:
    """An archive of classes that is empty or damaged does not keep Java from starting."""
    java = shutil.which("java")
    assert java is not None
    archive = tmp_path / "classes.jsa"
    archive.write_bytes(content)
    done = subprocess.run(
        [java, f"-XX:SharedArchiveFile={archive}", "-version"], check=False, capture_output=True
    )
    assert done.returncode == 0, done.stdout


def test_the_class_archive_is_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who asks for the archive second gets the first one's, and no node is started for it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kafka.cache_folder().mkdir(parents=True)
    trained: list[Path] = []

    class Training:
        def __init__(self, target: Path) -> None:
            trained.append(target)

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None:
            trained[-1].write_bytes(b"classes")

    monkeypatch.setattr(kafka, "_Training", Training)
    first = kafka.class_archive()
    assert first.read_bytes() == b"classes"
    assert (kafka.class_archive(), len(trained)) == (first, 1)
    assert not trained[0].exists()
