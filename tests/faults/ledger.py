"""What was published and what a `read_committed` reader saw, kept as plain bytes in order."""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import orjson
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.broker.client import make_consumer, stop_client
from streams.topology import DECISIONS

Request = tuple[str, str]  # applicant, id of the request
Seen = tuple[int, bytes]  # offset, value


class Ledger:
    """Requests that stand on the log against decisions that became visible.

    `worst_gap_s` is the longest that any request waited, from being sent to being seen decided;
    a request still undecided counts with its wait so far.
    """

    def __init__(self, partitions: int) -> None:
        self.seen: list[list[Seen]] = [[] for _ in range(partitions)]
        self.decided: Counter[Request] = Counter()
        self._sent: dict[Request, float] = {}
        self._waiting: dict[Request, float] = {}
        self._worst_s = 0.0

    def sent(self, request: Request, now_s: float) -> None:
        """Note a request, when it was handed to the broker's client."""
        if request not in self._sent:
            self._sent[request] = now_s
            if request not in self.decided:
                self._waiting[request] = now_s

    def on_decision(self, partition: int, offset: int, value: bytes, now_s: float) -> Any:
        """Note a decision that became visible; return it where it is the first on its request."""
        self.seen[partition].append((offset, value))
        decision = orjson.loads(value)
        request = (decision["applicant"], decision["request"])
        self.decided[request] += 1
        sent = self._waiting.pop(request, None)
        if sent is not None:
            self._worst_s = max(self._worst_s, now_s - sent)
        return decision if self.decided[request] == 1 else None

    @property
    def requests(self) -> int:
        """How many distinct requests were sent."""
        return len(self._sent)

    @property
    def lost(self) -> int:
        """How many requests have no decision (yet)."""
        return len(self._waiting)

    @property
    def duplicated(self) -> int:
        """How many decisions stand beyond the first on a request."""
        return self.decided.total() - len(self.decided)

    def waits_since(self, end_s: float) -> bool:
        """Say whether a request sent before `end_s` still waits."""
        # In order of sending, so the first one is the oldest.
        return next(iter(self._waiting.values()), end_s) < end_s

    def worst_gap_s(self, now_s: float) -> float:
        """Return the longest wait for a decision up to now."""
        return max([self._worst_s, *(now_s - sent for sent in self._waiting.values())])


async def read(bootstrap: str, ledger: Ledger, on_first: Any) -> None:
    """Follow the decisions until cancelled, whatever happens to the broker meanwhile."""
    partitions = [TopicPartition(DECISIONS.name, n) for n in range(len(ledger.seen))]
    while True:
        consumer = make_consumer(bootstrap)
        try:
            await consumer.start()
            consumer.assign(partitions)
            for each in partitions:
                last = ledger.seen[each.partition][-1:]
                consumer.seek(each, last[0][0] + 1 if last else 0)
            await _follow(consumer, ledger, on_first)
        except (KafkaError, OSError):
            await asyncio.sleep(0.2)
        finally:
            with suppress(KafkaError, OSError):
                await stop_client(consumer)


async def _follow(consumer: Any, ledger: Ledger, on_first: Any) -> None:
    while True:
        found = await consumer.getmany(timeout_ms=50)
        now_s = time.monotonic()
        for partition, records in found.items():
            for record in records:
                first = ledger.on_decision(partition.partition, record.offset, record.value, now_s)
                if first is not None:
                    on_first(first)
