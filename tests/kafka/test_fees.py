"""A statement from the topics of a broker is that of the log decided again."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
from aiokafka import TopicPartition

from streams.broker.client import make_consumer, make_producer
from streams.broker.topics import ensure_topics
from streams.fees.run import state_month
from streams.live import GROUP
from streams.partition import Output, Partition, input_of
from streams.sources import open_source
from streams.step import Step
from streams.topology import EVENTS, STEP_OUTPUTS
from tests.conftest import Broker
from tests.streams.fees.conftest import Month, month

__all__ = ["month"]
_PARTITIONS = 2


async def _fill(broker: Broker, month: Month) -> None:
    """Put the log and all that the step makes of it on the topics, the outputs of one batch twice,
    as an at-least-once broker may; then one payment more that no worker has come to.
    """
    deployment = month.result.deployment
    key = deployment.platform.decision_key
    opened = open_source(month.events, _PARTITIONS, deployment.caps, key)
    assert opened.verify is not None
    lanes = [Partition(Step(deployment, n, _PARTITIONS, opened.verify)) for n in range(_PARTITIONS)]
    await ensure_topics(broker.bootstrap, _PARTITIONS)
    # Few large batches: on this broker a fetch costs more the more of them there are.
    async with make_producer(broker.bootstrap, broker.kind, linger_ms=500) as producer:
        payment = b""
        for block in opened.blocks:
            for row, number in enumerate(block.partition.tolist()):
                record = input_of(block, row)
                if number == 0 and b'"step":"payment"' in (record.value or b""):
                    payment = record.value or b""
                await producer.send(EVENTS.name, record.value, record.key, partition=number)
            for lane in lanes:
                await _send_twice(lane.step.partition, lane.decide_block(block), producer.send)
        await producer.flush()
        await _commit(broker, lanes)
        late = orjson.dumps(orjson.loads(payment) | {"id": "late", "interest_cents": 10**6})
        await producer.send_and_wait(EVENTS.name, late, b"anybody", partition=0)


async def _send_twice(number: int, outputs: Iterator[Output], send: Callable[..., Any]) -> None:
    for output in outputs:
        name = STEP_OUTPUTS[output.topic].name
        for _ in range(2):
            await send(
                name, output.value, output.key, partition=number, headers=list(output.headers)
            )


async def _commit(broker: Broker, lanes: list[Partition]) -> None:
    async with make_consumer(broker.bootstrap, group=GROUP) as consumer:
        at = {TopicPartition(EVENTS.name, n): lane.position for n, lane in enumerate(lanes)}
        consumer.assign(list(at))
        await consumer.commit(at)


async def test_topics_and_the_log_give_one_statement(
    fresh_embedded_broker: Broker, month: Month
) -> None:
    """From topics on which records repeat, and with an event that nobody has decided yet, each
    institution's statement is that of the log decided again.
    """
    await _fill(fresh_embedded_broker, month)
    address = f"kafka://{fresh_embedded_broker.bootstrap}"
    for institution in ("dawn", "north"):
        sources: tuple[str | Path, ...] = (address, month.events)
        topics, log = [
            await asyncio.to_thread(
                state_month, institution, "2026-01", month.config, each, partitions=_PARTITIONS
            )
            for each in sources
        ]
        assert topics == log
        assert topics.total_cents > 0
