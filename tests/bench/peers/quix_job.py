"""Both jobs on Quix Streams 3: a streaming data frame with state, RocksDB behind it.

Settings as its documentation advises: state by `stateful=True` (section "stateful processing"),
commits by interval (section "configuration"), librdkafka's linger and batch size raised through
`producer_extra_config` for throughput. Exactly once is `processing_guarantee="exactly-once"`.
State is JSON a key; control records have no key, so they are taken out before the state is asked.
"""

from typing import Any

import orjson
from quixstreams import Application, State, message_context

from tests.bench.peers.task import Task, read_task

_PRODUCER = {"linger.ms": 20, "batch.size": 1_048_576, "queue.buffering.max.messages": 1_000_000}
_CONSUMER = {
    "fetch.message.max.bytes": 4_194_304,
    "queued.max.messages.kbytes": 65_536,
    "heartbeat.interval.ms": 500,  # how soon one member learns that another has come
}


def main(task: Task) -> None:
    """Run until killed."""
    app = Application(
        broker_address=task.broker,
        consumer_group=task.group,
        auto_offset_reset="earliest",
        state_dir=task.folder,
        loglevel="WARNING",
        commit_interval=1.0,
        processing_guarantee="exactly-once" if task.exactly_once else "at-least-once",
        producer_extra_config=dict(_PRODUCER),
        consumer_extra_config=dict(_CONSUMER),
        request_timeout=30,
    )
    source = app.topic(task.source, key_deserializer="bytes", value_deserializer="bytes")
    sink = app.topic(task.sink, key_serializer="bytes", value_serializer="bytes")
    frame = app.dataframe(source)
    if task.job == "thin":
        frame = frame.apply(_add, stateful=True)
    else:
        frame = _decide(frame, task)
    frame.to_topic(sink)
    app.run()


def _add(value: bytes, state: State[str, Any]) -> bytes:
    event = orjson.loads(value)
    total = state.get("sum", 0) + event["v"]
    state.set("sum", total)
    return orjson.dumps({"k": event["k"], "sum": total})


def _decide(frame: Any, task: Task) -> Any:
    from tests.bench.peers.lender import Lender, new_person

    lenders: dict[int, Lender] = {}

    def lender() -> Lender:
        partition = message_context().partition
        if partition not in lenders:
            lenders[partition] = task.lender(partition)
        return lenders[partition]

    def control(event: dict[str, Any]) -> bool:
        if "applicant" in event:
            return True
        lender().control(event)
        return False

    def decide(event: dict[str, Any], state: State[str, Any]) -> bytes | None:
        person = state.get("person") or new_person()
        decision = lender().decide(event, message_context().offset, person)
        state.set("person", person)
        return decision

    frame = frame.apply(orjson.loads).filter(control).apply(decide, stateful=True)
    return frame.filter(lambda decision: decision is not None)


if __name__ == "__main__":
    main(read_task())
