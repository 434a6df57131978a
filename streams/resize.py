"""Another number of partitions: the log once more, in a new generation of topics.

An applicant's partition follows from its key and their number, so no state can be carried over: the
new generation's state is a fold over the new generation's log.

1. Read the old log, every partition to its end. Nobody may write to it any more.
2. Join the partitions by ticks and commands: what stood between two stands between them again. An
   applicant's events all come from one partition and go to one, so their order stays.
3. Leave behind what was control's (its grants, ticks and commands are written anew, by its own
   code) and what was refused for its key or partition: there it would count for the first
   time.
4. Decide the new log by replay, and look which decisions would be others: leases are shared out
   anew, so one that the old generation could fund may find another lease empty.
5. Write the new log, to a file, or to a broker whose topics are new.

If it dies within 5, the new topics are half full: delete them, run it again. The old generation is
not touched by any of it.
"""

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import polars as pl
from aiokafka.errors import KafkaError

from streams import frames
from streams.broker.client import broker_kind, make_producer
from streams.broker.publish import partition_of
from streams.broker.topics import ensure_topics, log_ends
from streams.control.keys import load_private_key, load_trusted, verifier
from streams.control.records import VERBS, Command, ControlLog, Position, read_position
from streams.deployment import Deployment
from streams.errors import BrokerError, DipperError
from streams.partition import Input
from streams.replay import replay
from streams.sources import Source, open_source
from streams.step import Verify
from streams.topology import EVENTS

# Where a decision stands and which manifest decided it differ by the very wish.
_ELSEWHERE = ("manifest", "partition", "offset")


class Generation(NamedTuple):
    """A new log: a frame with columns partition, offset, key, value; how many records of the old
    one it has, and how many it leaves behind.
    """

    partitions: int
    log: pl.DataFrame
    kept: int
    left: int


class Compared(NamedTuple):
    """Decisions of the old generation, and the ids of those that the new one takes otherwise."""

    decisions: int
    differing: list[str]


def regenerate(source: Source, verify: Verify, control: ControlLog) -> Generation:
    """Steps 2 and 3: the log of `source` with as many partitions as `control` has positions.

    Holds both logs in memory, a few hundred bytes a record.
    """
    partitions = len(control.positions)
    rows: list[tuple[int, int, bytes | None, bytes | None]] = []
    ends = [0] * partitions
    kept = read = 0

    def put(partition: int, key: bytes | None, value: bytes | None) -> None:
        rows.append((partition, ends[partition], key, value))
        ends[partition] += 1

    for entry in control.grants():
        put(entry.partition, None, entry.value)
    lanes: list[list[Input]] = [[] for _ in range(source.partitions)]
    for number, record in source.records():
        lanes[number].append(record)
        read += 1
    turns = (_turns(number, lane, source.partitions, verify) for number, lane in enumerate(lanes))
    told = set()
    for turn in heapq.merge(*turns, key=lambda turn: turn[:3]):
        for entry in control.ticks(turn.at):
            put(entry.partition, None, entry.value)
        if turn.command is not None and (turn.at, turn.commands, turn.command) not in told:
            told.add((turn.at, turn.commands, turn.command))
            for entry in control.commands(turn.command):
                put(entry.partition, None, entry.value)
        for record in turn.records:
            assert record.key is not None
            put(partition_of(record.key, partitions), record.key, record.value)
            kept += 1
    schema = {"partition": pl.Int64, "offset": pl.Int64, "key": pl.Binary, "value": pl.Binary}
    return Generation(partitions, pl.DataFrame(rows, schema, orient="row"), kept, read - kept)


class _Turn(NamedTuple):
    """What one partition holds from a tick, or a command of control, to the next.

    `commands`: how many have come since that tick; `command`: the one that it begins with.
    """

    at: int
    commands: int
    partition: int
    command: Command | None
    records: list[Input]


def _turns(number: int, lane: Iterable[Input], partitions: int, verify: Verify) -> Iterator[_Turn]:
    """Yield the turns of a partition; control events count as the step counts them."""
    seq = 0
    turn = _Turn(0, 0, number, None, [])
    for record in lane:
        if record.key is not None:
            if partition_of(record.key, partitions) == number:
                turn.records.append(record)
            continue
        told = _read_control(record.value or b"")
        if told is None or told["seq"] != seq + 1:
            continue
        if not verify(number, record.value or b"", record.offset):
            continue
        seq += 1
        found = Command(told["type"], told[VERBS[told["type"]]]) if told["type"] in VERBS else None
        if told["type"] == "tick" and told["at"] > turn.at:
            yield turn
            turn = _Turn(told["at"], 0, number, None, [])
        elif found not in {None, turn.command}:  # a repeat does nothing
            yield turn
            turn = _Turn(turn.at, turn.commands + 1, number, found, [])
    yield turn


def _read_control(value: bytes) -> dict[str, Any] | None:
    if read_position(value) is None:
        return None
    found = orjson.loads(value)
    assert isinstance(found, dict)
    return {"type": "", **found}


def compare(old: pl.DataFrame, new: pl.DataFrame) -> Compared:
    """Step 4: which decisions (`streams.frames.DECISIONS`) of one are not the same in the other."""
    columns = [name for name in frames.DECISIONS.names() if name not in _ELSEWHERE]
    before, after = (
        {row["id"]: row for row in frame.select(columns).to_dicts()} for frame in (old, new)
    )
    ids = sorted(before.keys() | after.keys())
    return Compared(len(before), [id for id in ids if before.get(id) != after.get(id)])


def resize(
    source: str | Path, deployment: Deployment, partitions: int
) -> tuple[Generation, Compared]:
    """Steps 1 to 4. `source` is a log with its partitions (`streams.sources.open_source`).

    The new log is signed with the private key of control in the deployment's folder. Raises
    `DipperError` where the source cannot be read, or has so many partitions already.
    """
    secret = deployment.platform.decision_key
    opened = open_source(source, None, deployment.caps, secret)
    if opened.partitions == partitions:
        raise DipperError(f"{source} has {partitions} partitions already; name another number")
    verify = opened.verify or verifier(load_trusted(deployment.folder))
    sign = load_private_key(deployment.folder).sign
    control = ControlLog(sign, deployment.caps, [Position()] * partitions)
    generation = regenerate(opened, verify, control)
    old = replay(source, deployment).decisions
    new = replay(generation.log, deployment, partitions=partitions).decisions
    return generation, compare(old, new)


async def publish_generation(
    bootstrap: str, generation: Generation, deployment: Deployment
) -> None:
    """Step 5, onto a broker: its topics are made; `BrokerError` where they hold anything."""
    names = deployment.institution_ids
    await ensure_topics(bootstrap, generation.partitions, institutions=names)
    if any(await log_ends(bootstrap)):
        raise BrokerError(
            f"{EVENTS.name} at {bootstrap} is not empty; a new generation needs new topics"
        )
    producer = make_producer(bootstrap, await broker_kind(bootstrap))
    await producer.start()
    try:
        for number, _, key, value in generation.log.iter_rows():
            await producer.send(EVENTS.name, value, key=key, partition=number)
        await producer.flush()
    except KafkaError as error:
        raise BrokerError(f"{bootstrap} did not take a record: {error}; begin anew") from error
    finally:
        await producer.stop()
