"""Loan events of institutions: their own topic, stamped and signed by control, on both brokers."""

import asyncio
import itertools
from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from streams.broker.client import make_producer
from streams.broker.publish import Publisher, partition_of
from streams.broker.topics import ensure_topics
from streams.cli import app
from streams.control.ingress import Ingress
from streams.control.keys import Trusted, verifier
from streams.topology import DEAD_LETTERS, EVENTS
from tests.conftest import Broker
from tests.kafka.logs import read_partition, until

_PARTITIONS = 2
_INSTITUTIONS = ("dawn", "north")


def _event(applicant: str, number: int, **fields: str) -> bytes:
    return orjson.dumps(
        {"type": "loan", "id": f"l{number}", "applicant": applicant, "at": number, **fields}
    )


async def _publish(broker: Broker, values: list[tuple[str, bytes]]) -> None:
    async with Publisher(broker.bootstrap) as publisher:
        for institution, value in values:
            await publisher.send_ingress(institution, None, value)
        await publisher.flush()


async def _forward(broker: Broker, key: Ed25519PrivateKey, count: int) -> None:
    stop = asyncio.Event()
    async with Ingress(broker.bootstrap, _PARTITIONS, _INSTITUTIONS, key.sign) as ingress:
        running = asyncio.create_task(ingress.run(stop))

        async def done() -> bool:
            return ingress.forwarded + ingress.refused >= count or running.done()

        await until(done)
        stop.set()
        await running


async def test_each_topic_speaks_for_its_institution(fresh_broker: Broker) -> None:
    """What stands on a topic goes, in its order, to the applicant's partition, with that
    institution as issuer and a good signature; what it may not say is a dead letter.
    """
    await ensure_topics(fresh_broker.bootstrap, _PARTITIONS, institutions=_INSTITUTIONS)
    key = Ed25519PrivateKey.generate()
    said = [(_INSTITUTIONS[n % 2], _event(f"a{n % 5}", n)) for n in range(300)]
    said[7] = ("dawn", _event("a1", 7, issuer="north"))
    said[8] = ("dawn", b"junk")
    said[9] = ("north", b'{"type":"grant","applicant":"a"}')
    await _publish(fresh_broker, said)
    await _forward(fresh_broker, key, 300)
    verify = verifier([Trusted(key.public_key())])
    found = []
    for number in range(_PARTITIONS):
        for record in await read_partition(fresh_broker.bootstrap, EVENTS.name, number):
            assert verify(number, record.value, record.offset)
            assert partition_of(record.key, _PARTITIONS) == number
            event = orjson.loads(record.value)
            assert record.key.decode() == event["applicant"]
            assert event["issuer"] == said[event["at"]][0]
            found.append((number, event["issuer"], event["at"]))
    assert sorted(at for *_, at in found) == [n for n in range(300) if n not in {7, 8, 9}]
    order = sorted(found, key=lambda each: each[:2])
    for _, group in itertools.groupby(order, key=lambda each: each[:2]):
        times = [at for *_, at in group]
        assert times == sorted(times)
    letters = await read_partition(fresh_broker.bootstrap, DEAD_LETTERS.name, 0)
    reasons = {record.value: dict(record.headers)["reason"] for record in letters}
    assert reasons == {
        said[7][1]: b"not_yours", said[8][1]: b"malformed", said[9][1]: b"unknown_type",
    }  # fmt: skip


async def test_a_bank_says_by_a_command_what_becomes_of_its_line(
    fresh_broker: Broker, tmp_path: Path
) -> None:
    """`dipper publish --institution` puts line events on that ingress topic: control stamps and
    signs them, but not one that names another institution, which becomes a dead letter.
    """
    await ensure_topics(fresh_broker.bootstrap, _PARTITIONS, institutions=_INSTITUTIONS)
    key = Ed25519PrivateKey.generate()
    freeze = {"type": "line", "id": "f1", "applicant": "a1", "at": 1, "line": "x"}
    freeze["action"] = "freeze"
    foreign = freeze | {"id": "f2", "issuer": "north"}
    path = tmp_path / "said.jsonl"
    path.write_bytes(orjson.dumps(freeze) + b"\n" + orjson.dumps(foreign) + b"\n")
    words = ["--broker", fresh_broker.bootstrap, "--institution", "dawn", "--quiet", str(path)]
    done = await asyncio.to_thread(CliRunner().invoke, app, ["publish", *words])
    assert done.exit_code == 0, done.output
    await _forward(fresh_broker, key, 2)
    number = partition_of(b"a1", _PARTITIONS)
    (record,) = await read_partition(fresh_broker.bootstrap, EVENTS.name, number)
    assert verifier([Trusted(key.public_key())])(number, record.value, record.offset)
    said = orjson.loads(record.value)
    assert said == freeze | {"issuer": "dawn", "signature": said["signature"]}
    (letter,) = await read_partition(fresh_broker.bootstrap, DEAD_LETTERS.name, 0)
    assert (orjson.loads(letter.value), dict(letter.headers)["reason"]) == (foreign, b"not_yours")


async def test_a_restart_goes_on_where_it_stopped(fresh_broker: Broker) -> None:
    """What was forwarded and noted is not forwarded again; what came meanwhile is."""
    await ensure_topics(fresh_broker.bootstrap, _PARTITIONS, institutions=_INSTITUTIONS)
    key = Ed25519PrivateKey.generate()
    for run in range(2):
        await _publish(fresh_broker, [("dawn", _event("a1", n + 10 * run)) for n in range(10)])
        await _forward(fresh_broker, key, 10)
    number = partition_of(b"a1", _PARTITIONS)
    records = await read_partition(fresh_broker.bootstrap, EVENTS.name, number)
    assert [orjson.loads(record.value)["at"] for record in records] == list(range(20))


@pytest.mark.kafka
async def test_a_publisher_cannot_move_our_money(fresh_kafka_broker: Broker) -> None:
    """A loan event that a publisher writes to the input topic itself bears no signature of ours."""
    await ensure_topics(fresh_kafka_broker.bootstrap, 1, institutions=_INSTITUTIONS)
    key = Ed25519PrivateKey.generate()
    producer = make_producer(fresh_kafka_broker.bootstrap, "kafka")
    await producer.start()
    forged = _event("a1", 1, issuer="dawn", signature="A" * 88)
    await producer.send_and_wait(EVENTS.name, forged, key=b"a1")
    await producer.stop()
    (record,) = await read_partition(fresh_kafka_broker.bootstrap, EVENTS.name, 0)
    assert not verifier([Trusted(key.public_key())])(0, record.value, record.offset)
