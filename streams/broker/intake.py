"""Stage 1, intake: records of one partition, as they stand on Kafka, in offset order.

Compressed batches (gzip, snappy, lz4, zstd) are opened by the client.
"""

from aiokafka import TopicPartition

from streams.broker.client import log_end, make_consumer, stop_client
from streams.partition import Input
from streams.topology import EVENTS

_WAIT_MS = 100  # how long a read waits for news; also how soon a partition that is lost stops


class Intake:
    """Reads one partition of `dipper.events` by a client of its own.

    aiokafka asks a broker for all partitions of a client in one request at a time, so a partition
    with news would wait for those without.
    """

    def __init__(self, bootstrap: str, partition: int) -> None:
        self.partition = TopicPartition(EVENTS.name, partition)
        self._consumer = make_consumer(bootstrap)

    async def open(self) -> None:
        """Connect."""
        await self._consumer.start()
        self._consumer.assign([self.partition])

    async def close(self) -> None:
        """Disconnect."""
        await stop_client(self._consumer)

    async def bounds(self) -> tuple[int, int]:
        """Return the first offset of the log and the one after its last; then `seek` anew."""
        begin = await self._consumer.beginning_offsets([self.partition])
        return begin[self.partition], await log_end(self._consumer, self.partition)

    def seek(self, offset: int) -> None:
        """Read from this offset on."""
        self._consumer.seek(self.partition, offset)

    async def position(self) -> int:
        """Return the next offset that will be read; offsets without a record are passed over."""
        return int(await self._consumer.position(self.partition))

    @property
    def end(self) -> int:
        """The offset after the log's last record as of the last fetch, -1 before the first."""
        known = self._consumer.highwater(self.partition)
        return -1 if known is None else int(known)

    async def read(self, rows_max: int) -> list[Input]:
        """Return what is there at once, up to `rows_max` records, waiting a little for the
        first.
        """
        found = await self._consumer.getmany(
            self.partition, timeout_ms=_WAIT_MS, max_records=rows_max
        )
        return [
            Input(record.offset, record.key, record.value)
            for record in found.get(self.partition, ())
        ]
