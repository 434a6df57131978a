"""Where a fold over the log must come to before its counts are shown."""

import pytest
from aiokafka import TopicPartition

from streams.agents.caught import Caught, last_records
from streams.broker.client import make_producer
from streams.broker.topics import ensure_topics
from streams.topology import EVENTS, EVIDENCE
from tests.conftest import Broker


@pytest.mark.parametrize(
    ("read", "up"),
    [
        ([], False),
        ([(0, 4), (1, 0)], False),
        ([(0, 5)], False),
        ([(0, 5), (1, 0)], True),
        ([(0, 5), (1, 0), (0, 6)], True),
        ([(0, 9), (2, 7), (1, 0)], True),
    ],
)
def test_a_fold_has_caught_up_with_its_last_partition(
    read: list[tuple[int, int]], up: bool
) -> None:
    """Each partition must be read to its last record; another log does not count, nor what comes
    later.
    """
    caught = Caught({TopicPartition("t", 0): 5, TopicPartition("t", 1): 0})
    for partition, offset in read:
        caught.reach(TopicPartition("t", partition), offset)
    assert caught.up == up


async def test_the_last_records_of_a_log_are_found(fresh_broker: Broker) -> None:
    """The goal is the last record that stands, in each partition that has one."""
    await ensure_topics(fresh_broker.bootstrap, 3)
    producer = make_producer(fresh_broker.bootstrap, fresh_broker.kind)
    await producer.start()
    try:
        for number in range(7):
            await producer.send_and_wait(EVENTS.name, b"v", partition=number % 2)
        await producer.send_and_wait(EVIDENCE.name, b"v", partition=2)
    finally:
        await producer.stop()
    assert await last_records(fresh_broker.bootstrap, (EVENTS, EVIDENCE)) == {
        TopicPartition(EVENTS.name, 0): 3,
        TopicPartition(EVENTS.name, 1): 2,
        TopicPartition(EVIDENCE.name, 2): 0,
    }


async def test_markers_and_what_was_given_up_are_no_goal(fresh_kafka_broker: Broker) -> None:
    """Behind the last committed record many given-up transactions may stand: it is found still,
    since a fold that waits for one of them would wait for ever.
    """
    broker = fresh_kafka_broker
    await ensure_topics(broker.bootstrap, 1)
    producer = make_producer(broker.bootstrap, "kafka", transactional_id="decider")
    await producer.start()
    try:
        for number in range(45):
            await producer.begin_transaction()
            await producer.send_and_wait(EVIDENCE.name, b"v", partition=0)
            stands = number < 2
            await (producer.commit_transaction() if stands else producer.abort_transaction())
    finally:
        await producer.stop()
    found = await last_records(broker.bootstrap, (EVIDENCE,))
    assert found == {TopicPartition(EVIDENCE.name, 0): 2}
