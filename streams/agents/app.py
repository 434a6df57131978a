"""The Faust applications that write notices: at least once, idempotent by the notice's id.

One tells the applicant of each decision, another why each lender refused. A record's offset counts
as done only when its notices are acknowledged, so none is lost. Repeats are kept out twice: by the
ids that this process has sent, and, for partitions that come to it, by the ids at the end of
`dipper.notices` itself. What slips through (a repeat that comes after more notices than that tail
holds) is the same bytes under the same id.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import faust
import orjson
from aiokafka import TopicPartition
from faust import Stream
from faust.auth import Credentials
from faust.types import EventT, StreamT

from streams.agents.committed import read_committed
from streams.agents.notice import make_notice
from streams.broker.access import load_access
from streams.broker.client import Kind, log_end, make_consumer
from streams.errors import DipperError
from streams.reasons.refusals import Reasoner
from streams.reasons.tell import KIND, as_notice
from streams.topology import DECISIONS, EVIDENCE, NOTICES, Topic

REMEMBERED_IDS = 200_000  # about 30 MB; far more than a producer repeats after a failure
_TAIL_RECORDS = 20_000  # of each partition of notices, read again when it comes to us
_UNACKED_MAX = 1_000
# The embedded broker lets a first member wait half its session for others.
_SESSION_S: dict[Kind, float] = {"embedded": 2.0, "kafka": 10.0}


class Remembered:
    """The last ids of a given number, oldest forgotten first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._ids: OrderedDict[str | bytes, None] = OrderedDict()

    def add(self, name: str | bytes) -> bool:
        """Remember the id; False where it is known already."""
        known = name in self._ids
        self._ids[name] = None
        self._ids.move_to_end(name)
        if len(self._ids) > self._size:
            self._ids.popitem(last=False)
        return not known


class Task(NamedTuple):
    """What a notifier reads, under which group, and the notices that a record makes.

    `make` takes key and value, and returns (id, notice) for each; None where it is no such record.
    """

    name: str
    topic: Topic
    make: Callable[[bytes, bytes], list[tuple[str, bytes]] | None]


def _of_decision(_key: bytes, value: bytes) -> list[tuple[str, bytes]] | None:
    found = make_notice(value)
    return None if found is None else [found]


DECISION_NOTICES = Task("dipper-notices", DECISIONS, _of_decision)


def reason_notices(reasoner: Reasoner) -> Task:
    """Return the task that tells, of each request that nobody approved, why each lender refused."""

    def make(key: bytes, value: bytes) -> list[tuple[str, bytes]] | None:
        try:
            found = reasoner.refusals(value)
        except DipperError:
            return None  # another version's evidence, or none at all
        return [as_notice(refusal, key.decode()) for refusal in found]

    return Task("dipper-reasons", EVIDENCE, make)


def notice_id(record: Mapping[str, Any]) -> str:
    """Return the id of a notice that stands on the topic."""
    decision = str(record["decision"])
    return f"{decision}/{record['institution']}" if record.get("kind") == KIND else decision


class Notifier:
    """Reads records, writes notices; counts those `sent`, `repeated`, and records `unread`."""

    def __init__(self, bootstrap: str, kind: Kind, task: Task = DECISION_NOTICES) -> None:
        self.sent = self.repeated = self.unread = 0
        self.failure: BaseException | None = None
        self.failed = asyncio.Event()
        self._bootstrap = bootstrap
        self._known = Remembered(REMEMBERED_IDS)
        self._tails: set[int] = set()
        self._room = asyncio.Semaphore(_UNACKED_MAX)
        self._unacked: set[asyncio.Task[None]] = set()
        self._make = task.make
        self.app = make_app(task.name, bootstrap, kind)
        self._notices = self.app.topic(NOTICES.name, key_serializer="raw", value_serializer="raw")
        source = self.app.topic(task.topic.name, key_serializer="raw", value_serializer="raw")
        self.app.agent(source, name="notices")(self._notify)
        self.app.on_partitions_revoked.connect(self._forget_tails)

    @property
    def counts(self) -> dict[str, int]:
        """What has become of the records read so far."""
        return {"sent": self.sent, "repeated": self.repeated, "unread": self.unread}

    async def _notify(self, stream: StreamT[bytes]) -> None:
        assert isinstance(stream, Stream)
        # Acknowledged by hand: Faust would count an event as done when the loop comes round.
        async for event in stream.noack().events():
            partition = event.message.partition
            if partition not in self._tails:
                await self._read_tail(partition)
            found = self._make(event.key or b"", event.value)
            new = [notice for name, notice in found or () if self._known.add(name)]
            self.unread += found is None
            self.repeated += len(found or ()) - len(new)
            if not new:
                event.ack()
                continue
            await self._room.acquire()
            sent = [
                await self._notices.send(key=event.key, value=notice, partition=partition)
                for notice in new
            ]
            task = asyncio.create_task(self._settle(event, sent))
            self._unacked.add(task)
            task.add_done_callback(self._unacked.discard)

    async def _settle(self, event: EventT[bytes], sent: Sequence[Awaitable[object]]) -> None:
        try:
            await asyncio.gather(*sent)
        except Exception as error:  # noqa: BLE001 whatever it was, this notice does not stand
            # Its record is not acknowledged, so it comes again to whoever runs next.
            self.failure = error
            self.failed.set()
        else:
            self.sent += len(sent)
            event.ack()
        finally:
            self._room.release()

    async def _forget_tails(self, *_: object, **__: object) -> None:
        self._tails.clear()

    async def _read_tail(self, partition: int) -> None:
        consumer = make_consumer(self._bootstrap)
        await consumer.start()
        try:
            tail = TopicPartition(NOTICES.name, partition)
            consumer.assign([tail])
            begin = (await consumer.beginning_offsets([tail]))[tail]
            end = await log_end(consumer, tail)
            consumer.seek(tail, max(begin, end - _TAIL_RECORDS))
            while await consumer.position(tail) < end:
                for record in (await consumer.getmany(tail, timeout_ms=200)).get(tail, ()):
                    self._known.add(notice_id(orjson.loads(record.value)))
        finally:
            await consumer.stop()
        self._tails.add(partition)


def make_app(name: str, bootstrap: str, kind: Kind) -> faust.App:
    """Return a Faust application, not started, whose consumer group is `name`."""
    session_s = _SESSION_S[kind]
    app = faust.App(
        name,
        broker=f"kafka://{bootstrap}",
        broker_credentials=_credentials(load_access().client_settings()),
        store="memory://",
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,  # topics are made by streams/broker/topics.py
        producer_acks=-1,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=session_s,
        broker_heartbeat_interval=session_s / 5,
        broker_commit_interval=0.5,
        stream_wait_empty=False,
    )
    return read_committed(app)


def _credentials(settings: dict[str, Any]) -> Credentials | None:
    """Return in Faust's words what our own clients show."""
    if not settings:
        return None
    if "sasl_mechanism" not in settings:
        return faust.SSLCredentials(settings["ssl_context"])
    return faust.SASLCredentials(
        username=settings["sasl_plain_username"],
        password=settings["sasl_plain_password"],
        ssl_context=settings["ssl_context"],
        mechanism=settings["sasl_mechanism"],
    )
