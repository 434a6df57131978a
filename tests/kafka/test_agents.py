"""The Faust agents, on both kinds of broker."""

import asyncio
from collections import Counter

import orjson
from aiokafka import TopicPartition

from streams.agents.app import Notifier
from streams.agents.run import run_agents
from streams.broker.client import make_consumer, make_producer
from streams.broker.topics import ensure_topics
from streams.topology import DECISIONS, NOTICES
from tests.conftest import Broker

_PARTITIONS = 2


def _decision(number: int) -> bytes:
    return orjson.dumps(
        {
            "id": f"{number:032x}", "applicant": f"a{number}", "type": "application",
            "outcome": "credit", "reasons": ["score_above_cut_off"],
        }
    )  # fmt: skip


async def _publish(broker: Broker, numbers: range) -> None:
    producer = make_producer(broker.bootstrap, broker.kind)
    await producer.start()
    try:
        for n in numbers:
            value = b"junk" if n == 5 else _decision(n)
            await producer.send(DECISIONS.name, value, key=b"a%d" % n, partition=n % _PARTITIONS)
        await producer.flush()
    finally:
        await producer.stop()


async def _run_until(broker: Broker, notices: int) -> Counter[str]:
    """Run agents until so many notices stand, and a little longer; return the decisions told."""
    stop = asyncio.Event()
    notifier = Notifier(broker.bootstrap, broker.kind)
    running = asyncio.create_task(run_agents([notifier], stop))
    consumer = make_consumer(broker.bootstrap)
    await consumer.start()
    told: Counter[str] = Counter()
    try:
        consumer.assign([TopicPartition(NOTICES.name, n) for n in range(_PARTITIONS)])
        async with asyncio.timeout(60):
            quiet = 0
            while told.total() < notices or quiet < 5:
                quiet += 1
                for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                    quiet = 0
                    for record in records:
                        notice = orjson.loads(record.value)
                        assert record.key == notice["applicant"].encode()
                        assert partition.partition == int(notice["decision"], 16) % _PARTITIONS
                        told[notice["decision"]] += 1
    finally:
        stop.set()
        await consumer.stop()
        await running
    return told


async def test_one_notice_per_decision(fresh_broker: Broker) -> None:
    """Each decision gives one notice, in its own partition; repeats and a restart add none."""
    await ensure_topics(fresh_broker.bootstrap, _PARTITIONS)
    await _publish(fresh_broker, range(40))
    await _publish(fresh_broker, range(10, 20))
    expected = Counter(f"{n:032x}" for n in range(40) if n != 5)
    assert await _run_until(fresh_broker, 39) == expected
    # A worker that died before its commit writes decisions again; another agent process meets them.
    await _publish(fresh_broker, range(30, 50))
    expected += Counter(f"{n:032x}" for n in range(40, 50))
    assert await _run_until(fresh_broker, 49) == expected


async def test_a_decision_that_was_given_up_is_not_told(fresh_kafka_broker: Broker) -> None:
    """Agents read committed transactions: no notice of a decision that never came to stand."""
    broker = fresh_kafka_broker
    await ensure_topics(broker.bootstrap, _PARTITIONS)
    producer = make_producer(broker.bootstrap, "kafka", transactional_id="decider")
    await producer.start()
    for numbers, stands in ((range(10, 20), False), (range(20, 30), True)):
        await producer.begin_transaction()
        for n in numbers:
            part = n % _PARTITIONS
            await producer.send(DECISIONS.name, _decision(n), key=b"a%d" % n, partition=part)
        await producer.flush()
        await (producer.commit_transaction() if stands else producer.abort_transaction())
    await producer.stop()
    told = await _run_until(broker, 10)
    assert told == Counter({f"{n:032x}": 1 for n in range(20, 30)})
