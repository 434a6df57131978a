"""Decide a log through Apache Kafka with the very commands that run it for real: control, worker,
publisher; then read back what stands there.
"""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from aiokafka import TopicPartition

from streams.broker.client import log_end, make_consumer, read_whole
from streams.broker.topics import ensure_topics
from streams.errors import DipperError
from streams.topology import EVENTS, Topic

GROUP = "superlender"
_STOP_S_MAX = 60.0
_STILL_S_MAX = 300.0  # no progress for so long is a fault: a cold start compiles for two minutes
_POLL_S = 0.1


def decide(bootstrap: str, config: Path, events: Path, partitions: int, logs: Path) -> None:
    """Publish `events` beside `dipper control --clock file`, have one `dipper live` decide them.

    Returns when the worker has committed the last record, and both processes have ended in order.
    What they say goes to files in `logs`. Raises `DipperError` where the broker is not fresh or a
    command fails.
    """
    asyncio.run(_prepare(bootstrap, partitions))
    named = ("--broker", bootstrap)
    deployed = (*named, "--config", str(config))
    with ExitStack() as stack:
        control = (*deployed, "--clock", "file", "--partitions", str(partitions))
        running = [
            stack.enter_context(_running(logs, "control", *control)),
            stack.enter_context(_running(logs, "live", *deployed, "--group", GROUP)),
        ]
        log = logs / "publish.log"
        with log.open("wb") as file:
            command = _dipper("publish", *named, "--quiet", str(events))
            done = subprocess.run(  # noqa: S603 our own command
                command, stdout=file, stderr=subprocess.STDOUT, check=False
            )
        if done.returncode:
            raise DipperError(f"dipper publish failed, see {log}: {_last_line(log)}")
        asyncio.run(_until_committed(bootstrap, partitions, running, logs))


async def read_values(bootstrap: str, topic: Topic, partitions: int) -> list[bytes]:
    """Return the values of all records of a topic, partition by partition."""
    consumer = make_consumer(bootstrap)
    await consumer.start()
    try:
        values: list[bytes] = []
        for number in range(partitions):
            partition = TopicPartition(topic.name, number)
            values += [record.value async for record in read_whole(consumer, partition)]
        return values
    finally:
        await consumer.stop()


async def _prepare(bootstrap: str, partitions: int) -> None:
    await ensure_topics(bootstrap, partitions)
    if sum(await _ends(bootstrap, partitions)):
        raise DipperError(f"{EVENTS.name} on {bootstrap} holds records already; name a fresh one")


async def _ends(bootstrap: str, partitions: int) -> list[int]:
    consumer = make_consumer(bootstrap)
    await consumer.start()
    try:
        logs = [TopicPartition(EVENTS.name, number) for number in range(partitions)]
        ends = []
        for each in logs:
            consumer.assign([each])
            ends.append(await log_end(consumer, each))
        return ends
    finally:
        await consumer.stop()


async def _until_committed(
    bootstrap: str, partitions: int, running: list[subprocess.Popen[bytes]], logs: Path
) -> None:
    ends = await _ends(bootstrap, partitions)
    consumer = make_consumer(bootstrap, group=GROUP)
    await consumer.start()
    try:
        known: list[int] = []
        still = 0.0
        while known != ends:
            for process, name in zip(running, ("control", "live"), strict=True):
                if process.poll() is not None:
                    log = logs / f"{name}.log"
                    raise DipperError(f"dipper {name} ended, see {log}: {_last_line(log)}")
            await asyncio.sleep(_POLL_S)
            before = known
            known = [
                await consumer.committed(TopicPartition(EVENTS.name, number)) or 0
                for number in range(partitions)
            ]
            still = still + _POLL_S if known == before else 0.0
            if still > _STILL_S_MAX:
                raise DipperError(f"the worker stands still at {known} of {ends}, see {logs}")
    finally:
        await consumer.stop()


@contextmanager
def _running(logs: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a `dipper` command until the block ends, then ask it to stop and wait."""
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / f"{arguments[0]}.log").open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 our own command
            _dipper(*arguments), stdout=file, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _dipper(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "streams", *arguments]


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines()
    return lines[-1] if lines else "(it said nothing)"
