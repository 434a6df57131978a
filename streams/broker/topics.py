"""The topics, as data, and a coroutine that makes them."""

from typing import NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, for_code

from streams.errors import BrokerError

EVENTS = "dipper.events"
DECISIONS = "dipper.decisions"
EVIDENCE = "dipper.evidence"
FUNDING = "dipper.funding"
NOTICES = "dipper.notices"
DEAD_LETTERS = "dipper.dead-letters"
CONTROL = "dipper.control"
CLOCK = "dipper.clock"

EVENT_BYTES_MAX = 1_572_864  # 1.5 MiB: a megabyte of junk still arrives, and becomes a dead letter
DEAD_LETTER_BYTES_MAX = 2_359_296  # 2.25 MiB: the largest event, its headers, a batch around it

_TOPIC_ALREADY_EXISTS = 36
_FOREVER = ("retention.ms", "-1")
_ONE_DAY = ("retention.ms", "86400000")


class Topic(NamedTuple):
    """One topic: whether it has a partition per input partition (else 1), settings, content."""

    name: str
    per_input_partition: bool
    settings: tuple[tuple[str, str], ...]
    holds: str


TOPICS = (
    Topic(
        EVENTS,
        True,
        (_FOREVER, ("max.message.bytes", str(EVENT_BYTES_MAX))),
        "every input event: one totally ordered log per partition",
    ),
    Topic(DECISIONS, True, (_FOREVER,), "one decision per application or drawdown (JSON)"),
    Topic(EVIDENCE, True, (_FOREVER,), "behind each decision: features, scores, masks, candidates"),
    Topic(FUNDING, True, (_FOREVER,), "reserve, draw, release, expire, low-water, lease-return"),
    Topic(NOTICES, True, (_FOREVER,), "what agents tell applicants and institutions"),
    Topic(
        DEAD_LETTERS,
        True,
        (_FOREVER, ("max.message.bytes", str(DEAD_LETTER_BYTES_MAX))),
        "refused bytes untouched; headers: reason, byte position, source topic, partition, offset",
    ),
    Topic(
        CONTROL,
        False,
        (("cleanup.policy", "compact"),),
        "bodies of policies, institutions, lists, small models, approvals, by hash",
    ),
    Topic(
        CLOCK,
        False,
        (_ONE_DAY,),
        "unsigned tick lines of a file, handed from publish to control",
    ),
)


async def ensure_topics(bootstrap: str, partitions: int, *, replication: int = 1) -> None:
    """Make every topic that is missing, `partitions` for those that follow the input.

    Idempotent, and safe when several processes call it at once. Call it before any other client
    names a topic: the embedded broker makes a topic of four partitions of any name it is asked
    about. `BrokerError` if a topic stands already with another number of partitions, since the
    partition of an applicant would then change, or if the broker cannot be reached.
    """
    assert partitions >= 1
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        present = set(await admin.list_topics())
        missing = [topic for topic in TOPICS if topic.name not in present]
        if missing:
            await _create(admin, missing, partitions, replication)
        await _check_partitions(admin, partitions)
    except (KafkaError, OSError) as error:
        message = f"cannot make topics on {bootstrap}: {error}; is a broker running there?"
        raise BrokerError(message) from error
    finally:
        await admin.close()


def _partitions_of(topic: Topic, partitions: int) -> int:
    return partitions if topic.per_input_partition else 1


async def _create(
    admin: AIOKafkaAdminClient, missing: list[Topic], partitions: int, replication: int
) -> None:
    new = [
        NewTopic(
            topic.name,
            _partitions_of(topic, partitions),
            replication,
            topic_configs=dict(topic.settings),
        )
        for topic in missing
    ]
    answer = await admin.create_topics(new, timeout_ms=30_000)
    for name, code, *reason in answer.topic_errors:
        if code not in {0, _TOPIC_ALREADY_EXISTS}:
            message = f"cannot make topic {name}: {reason[0] if reason else for_code(code)}"
            raise BrokerError(message)


async def _check_partitions(admin: AIOKafkaAdminClient, partitions: int) -> None:
    present = set(await admin.list_topics())
    wanted = {topic.name: _partitions_of(topic, partitions) for topic in TOPICS}
    for found in await admin.describe_topics(sorted(present & set(wanted))):
        name, count = found["topic"], len(found["partitions"])
        if count != wanted[name]:
            message = (
                f"topic {name} has {count} partitions where {wanted[name]} are asked for: "
                f"say --partitions {count}, or delete it"
            )
            raise BrokerError(message)
