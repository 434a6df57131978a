"""Make the topics that `streams.topology` lists, with the settings that each needs."""

import asyncio
from collections.abc import Iterable

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from streams.broker.access import make_admin
from streams.broker.client import broker_kind, log_end, make_consumer, stop_client
from streams.errors import BrokerError
from streams.topology import (
    CLOCK,
    CONTROL,
    DEAD_LETTERS,
    DECISIONS,
    EVENTS,
    EVIDENCE,
    FUNDING,
    INGRESS_PREFIX,
    TOPICS,
    Topic,
)

EVENT_BYTES_MAX = 2_097_152  # 2 MiB: a megabyte of junk still arrives, and becomes a dead letter
DEAD_LETTER_BYTES_MAX = 2_359_296  # 2.25 MiB: the largest event, its headers, a batch around it

_TOPIC_ALREADY_EXISTS = 36
_VISIBLE_S_MAX = 30
_POLL_S = 0.02
# Logs and answers for the auditor stay until an archive says otherwise; the clock is talk of a day.
_KEEP = {"retention.ms": "-1"}
_SETTINGS = {
    EVENTS: _KEEP | {"max.message.bytes": str(EVENT_BYTES_MAX)},
    DECISIONS: _KEEP,  # fee statements are made of these two, too
    EVIDENCE: _KEEP,  # years later somebody asks why
    FUNDING: _KEEP,
    DEAD_LETTERS: _KEEP | {"max.message.bytes": str(DEAD_LETTER_BYTES_MAX)},
    CONTROL: {"cleanup.policy": "compact"},
    CLOCK: {"retention.ms": "86400000"},
}
assert CONTROL.compacted
assert {topic for topic in TOPICS if topic.compacted} == {CONTROL}


async def ensure_topics(
    bootstrap: str, partitions: int, *, institutions: Iterable[str] = (), replication: int = 1
) -> None:
    """Make every topic that is missing, `partitions` for those that follow the input, and one
    ingress topic an institution.

    Idempotent, and safe when several processes call it at once. Call it before any other client
    names a topic: the embedded broker makes a topic of four partitions of any name it is asked
    about. `BrokerError` if a topic stands already with another number of partitions, since the
    partition of an applicant would then change, or if the broker cannot be reached.
    """
    assert partitions >= 1
    topics = _all_topics(institutions)
    admin = make_admin(bootstrap)
    try:
        await admin.start()
        present = set(await admin.list_topics())
        missing = [topic for topic in topics if topic.name not in present]
        if missing:
            await _create(admin, missing, partitions, replication)
        await _check_partitions(admin, topics, partitions)
    except (KafkaError, OSError) as error:
        message = f"cannot make topics on {bootstrap}: {error}; is a broker running there?"
        raise BrokerError(message) from error
    finally:
        await admin.close()


async def settings_amiss(bootstrap: str, institutions: Iterable[str] = ()) -> list[str]:
    """Return a sentence for each topic that stands with another setting than it needs, as one that
    Kafka or another hand made; what is set there on purpose is not ours to alter.

    Nothing is asked of the embedded broker, which keeps all while it runs.
    """
    if await broker_kind(bootstrap) == "embedded":
        return []
    topics = _all_topics(institutions)
    admin = make_admin(bootstrap)
    try:
        await admin.start()
        asked = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
        answers = await admin.describe_configs(asked)
    except (KafkaError, OSError) as error:
        raise BrokerError(f"settings of topics on {bootstrap} cannot be read: {error}") from error
    finally:
        await admin.close()
    found = {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for answer in answers
        for resource in answer.resources
        if resource[0] == 0
    }
    return [
        f"{topic.name} has {name}={found[topic.name][name]} where {wanted} is needed; set it: "
        f"kafka-configs.sh --alter --topic {topic.name} --add-config {name}={wanted}"
        for topic in topics
        for name, wanted in _settings(topic).items()
        if name in found.get(topic.name, {}) and found[topic.name][name] != wanted
    ]


async def count_partitions(bootstrap: str, topic: str = EVENTS.name) -> int:
    """Return how many partitions the topic has; `BrokerError` where it does not stand."""
    admin = make_admin(bootstrap)
    try:
        await admin.start()
        if topic not in await admin.list_topics():
            message = f"{bootstrap} has no topic {topic}; `dipper control` makes dipper's topics"
            raise BrokerError(message)
        (found,) = await admin.describe_topics([topic])
        return len(found["partitions"])
    except (KafkaError, OSError) as error:
        message = f"cannot read topics of {bootstrap}: {error}; is a broker running there?"
        raise BrokerError(message) from error
    finally:
        await admin.close()


async def log_ends(bootstrap: str) -> list[int]:
    """Return the offset after the last record of each partition of `dipper.events`."""
    count = await count_partitions(bootstrap)
    consumer = make_consumer(bootstrap)
    ends = []
    try:
        await consumer.start()
        for number in range(count):
            partition = TopicPartition(EVENTS.name, number)
            consumer.assign([partition])
            ends.append(await log_end(consumer, partition))
    except (KafkaError, OSError) as error:
        raise BrokerError(f"{EVENTS.name} at {bootstrap} cannot be read: {error}") from error
    finally:
        await stop_client(consumer)
    return ends


def _all_topics(institutions: Iterable[str]) -> tuple[Topic, ...]:
    return (*TOPICS, *(_ingress(name) for name in institutions))


def _settings(topic: Topic) -> dict[str, str]:
    return _SETTINGS.get(topic, _KEEP)


def _ingress(institution: str) -> Topic:
    # One partition: what an institution says stays in its order.
    return Topic(INGRESS_PREFIX + institution, f"loan events of {institution}", 1)


def _partitions_of(topic: Topic, partitions: int) -> int:
    return topic.partitions or partitions


async def _create(
    admin: AIOKafkaAdminClient, missing: list[Topic], partitions: int, replication: int
) -> None:
    new = [
        NewTopic(
            topic.name,
            _partitions_of(topic, partitions),
            replication,
            topic_configs=_settings(topic),
        )
        for topic in missing
    ]
    answer = await admin.create_topics(new, timeout_ms=30_000)
    for name, code, *reason in answer.topic_errors:
        if code not in {0, _TOPIC_ALREADY_EXISTS}:
            message = f"cannot make topic {name}: {reason[0] if reason else for_code(code)}"
            raise BrokerError(message)


async def _check_partitions(
    admin: AIOKafkaAdminClient, topics: Iterable[Topic], partitions: int
) -> None:
    wanted = {topic.name: _partitions_of(topic, partitions) for topic in topics}
    # A topic that is made is not at once known to the node that we ask.
    async with asyncio.timeout(_VISIBLE_S_MAX):
        while not wanted.keys() <= set(await admin.list_topics()):
            await asyncio.sleep(_POLL_S)
    for found in await admin.describe_topics(list(wanted)):
        name, count = found["topic"], len(found["partitions"])
        if count != wanted[name]:
            message = (
                f"topic {name} has {count} partitions where {wanted[name]} are asked for: "
                f"say --partitions {count}, or delete it"
            )
            raise BrokerError(message)
