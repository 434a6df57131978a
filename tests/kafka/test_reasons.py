"""The agent that tells why each lender refused, on a broker."""

import asyncio
from collections import Counter
from pathlib import Path

import orjson

from streams.agents.app import Notifier, reason_notices
from streams.agents.run import run_agents
from streams.broker.client import make_producer
from streams.broker.topics import ensure_topics
from streams.config import load_deployment
from streams.deployment import Deployment
from streams.evidence import evidence_rows
from streams.reasons.refusals import Reasoner
from streams.reasons.tell import as_notice
from streams.replay import replay
from streams.topology import EVIDENCE, NOTICES, OUT_EVIDENCE
from tests.conftest import Broker
from tests.deployment import make_deployment
from tests.kafka.logs import read_topic, until
from tests.streams.lives import LIMITS, write_lives


async def _publish(broker: Broker, records: list[bytes]) -> None:
    async with make_producer(broker.bootstrap, broker.kind, linger_ms=200) as producer:
        sent = [
            await producer.send(EVIDENCE.name, value, key=b"p%d" % place, partition=0)
            for place, value in enumerate(records)
        ]
        await asyncio.gather(*sent)


async def _tell(broker: Broker, deployment: Deployment, notices: int, unread: int = 0) -> Notifier:
    """Run the agent until so many notices stand and so many records could not be read."""
    stop = asyncio.Event()
    notifier = Notifier(broker.bootstrap, broker.kind, reason_notices(Reasoner(deployment)))
    running = asyncio.create_task(run_agents([notifier], stop))

    async def enough() -> bool:
        stand = len((await read_topic(broker.bootstrap, NOTICES.name, 1))[0])
        return stand >= notices and notifier.unread >= unread

    try:
        await until(enough, 120)
    finally:
        stop.set()
        await running
    return notifier


async def test_one_notice_for_each_lender_that_refused(
    fresh_embedded_broker: Broker, tmp_path: Path
) -> None:
    """Evidence that repeats, before and after a restart, gives each refusing lender's notice once,
    and its bytes are what the evidence says.
    """
    deployment = load_deployment(make_deployment(tmp_path / "config", LIMITS))
    write_lives(tmp_path / "events.jsonl", deployment, applicants=60)
    evidence = replay(tmp_path / "events.jsonl", deployment).read(OUT_EVIDENCE)
    records = [row.tobytes() for row in evidence_rows(evidence, deployment)]
    reasoner = Reasoner(deployment)
    expected = [
        as_notice(refusal, f"p{place}")
        for place, value in enumerate(records)
        for refusal in reasoner.refusals(value)
    ]
    assert len(expected) > 10
    await ensure_topics(fresh_embedded_broker.bootstrap, 1)
    await _publish(fresh_embedded_broker, [*records, *records[:20]])
    await _tell(fresh_embedded_broker, deployment, len(expected))
    await _publish(fresh_embedded_broker, records[:30])
    await _publish(fresh_embedded_broker, [b"junk"])
    again = await _tell(fresh_embedded_broker, deployment, len(expected), unread=1)
    assert again.counts["sent"] == 0
    (told,) = await read_topic(fresh_embedded_broker.bootstrap, NOTICES.name, 1)
    assert Counter(told) == Counter(value for _, value in expected)
    assert {orjson.loads(value)["kind"] for value in told if value} == {"reasons"}
