"""Has a fold that begins at the start of the log come to where the log ended when it began?

Until then its counts grow far faster than what they count: shown, a restart would look like a storm
to whoever takes a rate of them.
"""

from collections.abc import Mapping, Sequence

from aiokafka import TopicPartition

from streams.broker.client import log_end, make_consumer
from streams.broker.topics import count_partitions
from streams.topology import Topic

_TAIL = 64  # offsets looked at first; behind a log's last record stand markers of transactions
_WAIT_MS = 200


class Caught:
    """Takes the offset of each partition's last record, none of an empty one."""

    def __init__(self, goals: Mapping[TopicPartition, int]) -> None:
        self._goals = dict(goals)

    def reach(self, partition: TopicPartition, offset: int) -> None:
        """Say that the record at `offset` is taken in."""
        if offset >= self._goals.get(partition, offset + 1):
            del self._goals[partition]

    @property
    def up(self) -> bool:
        """Say whether all that stood when the fold began is taken in."""
        return not self._goals


async def last_records(bootstrap: str, topics: Sequence[Topic]) -> dict[TopicPartition, int]:
    """Return the offset of the last committed record of every partition that has one."""
    count = await count_partitions(bootstrap)
    consumer = make_consumer(bootstrap)
    await consumer.start()
    found = {}
    try:
        asked = [TopicPartition(topic.name, n) for topic in topics for n in range(count)]
        consumer.assign(asked)
        begins = await consumer.beginning_offsets(asked)
        for each in asked:
            consumer.assign([each])
            last, tail, end = None, _TAIL, await log_end(consumer, each)
            while last is None and end > begins[each]:
                begin = max(begins[each], end - tail)
                consumer.seek(each, begin)
                while await consumer.position(each) < end:
                    for record in (await consumer.getmany(each, timeout_ms=_WAIT_MS)).get(each, ()):
                        last = record.offset
                if begin == begins[each]:
                    break
                tail *= 8
            if last is not None:
                found[each] = last
    finally:
        await consumer.stop()
    return found
