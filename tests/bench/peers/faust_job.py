"""Both jobs on Faust: an agent, a table, a topic to send to; at least once, as Faust is fastest.

Settings as its documentation advises for throughput (user guide, "settings" and "agents"): the
memory store, no web server, no leader topic, `take` where many events are handled at once, a longer
linger of the producer, commits once a second. State stands in a table with its changelog, which is
Faust's keyed state; where it is a dict, the documentation says to assign it anew on each change.
"""

import asyncio
import sys
from collections.abc import MutableMapping
from typing import Any

import faust
import orjson
from faust import Stream
from faust.types import StreamT

from tests.bench.peers.task import Task, read_task

TAKE_MAX, TAKE_S = 1_000, 0.05
_SESSION_S = 10.0


def make_app(task: Task) -> faust.App:
    """Return the application with the job's agent."""
    app = faust.App(
        task.group,
        broker=f"kafka://{task.broker}",
        store="memory://",
        datadir=task.folder,
        web_enabled=False,
        topic_disable_leader=True,
        topic_partitions=task.partitions,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=_SESSION_S,
        broker_heartbeat_interval=0.5,  # how soon one member learns that another has come
        broker_commit_interval=1.0,
        broker_max_poll_records=4_096,
        stream_buffer_maxsize=16_384,
        stream_wait_empty=False,
        producer_acks=-1,
        producer_linger=0.01,
        producer_max_batch_size=512 * 1024,
        table_standby_replicas=0,
    )
    source = app.topic(task.source, key_serializer="raw", value_serializer="raw")
    sink = app.topic(task.sink, key_serializer="raw", value_serializer="raw")
    (_add_thin if task.job == "thin" else _add_full)(app, source, sink, task)
    return app


def _add_thin(app: faust.App, source: Any, sink: Any, task: Task) -> None:
    sums = app.Table("sums", default=int, partitions=task.partitions)

    async def add(stream: StreamT[bytes]) -> None:
        async for value in stream:
            event = orjson.loads(value)
            name = event["k"]
            sums[name] += event["v"]
            await sink.send(key=name, value=orjson.dumps({"k": name, "sum": sums[name]}))

    app.agent(source, name="add")(add)


def _add_full(app: faust.App, source: Any, sink: Any, task: Task) -> None:
    from tests.bench.peers.batches import FullBatch
    from tests.bench.peers.lender import Person

    # Raw keys and Kafka's own partitioner put the changelog beside the input, whichever event of
    # those taken together is the current one.
    people: MutableMapping[bytes, Person] = app.Table(
        "people", partitions=task.partitions, key_type=bytes, use_partitioner=True
    )
    jobs: dict[int, FullBatch] = {}

    async def decide(stream: StreamT[bytes]) -> None:
        assert isinstance(stream, Stream)
        async for events in stream.take_events(TAKE_MAX, within=TAKE_S):
            for partition in {event.message.partition for event in events}:
                job = jobs.get(partition)
                if job is None:
                    job = FullBatch(task.lender(partition), people)
                    jobs[partition] = job
                mine = [event for event in events if event.message.partition == partition]
                for key, decision in job.run((e.key, e.message.offset, e.value) for e in mine):
                    await sink.send(key=key, value=decision, partition=partition)

    app.agent(source, name="decide")(decide)


async def main(task: Task) -> None:
    """Run until killed."""
    app = make_app(task)
    await app.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    given = read_task()
    sys.argv[1:] = []  # Faust looks at the command line too
    asyncio.run(main(given))
