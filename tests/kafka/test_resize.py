"""Another number of partitions, by the command, from one Apache Kafka to another."""

import asyncio
import sys
from pathlib import Path

import polars as pl
import pytest

from streams.broker.kafka import KafkaBroker
from streams.config import load_deployment
from streams.control.keys import load_trusted, verifier
from streams.live import Worker
from streams.replay import replay
from streams.resize import Generation, compare, publish_generation
from streams.step import Step
from streams.topology import DECISIONS, OUT_DECISION
from tests.conftest import Broker
from tests.deployment import make_deployment
from tests.kafka.logs import read_topic, until
from tests.kafka.running import at_work
from tests.streams.lives import LIMITS, write_lives
from tests.streams.test_resize import write_old_log
from tests.tidy.source import ROOT

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]

_BEFORE, _AFTER = 2, 3


async def _dipper(*arguments: object) -> tuple[int | None, str]:
    """Run the command; return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streams", *map(str, arguments),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=ROOT,
    )  # fmt: skip
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def test_the_command_moves_a_log_to_new_topics(
    fresh_kafka_broker: Broker, tmp_path: Path
) -> None:
    """`dipper state resize` writes the log of one broker to the topics of another; a worker there
    takes every decision that the old partitions took. It is refused where topics hold anything.
    """
    deployment = load_deployment(make_deployment(tmp_path / "d", LIMITS))
    events, old = tmp_path / "events.jsonl", fresh_kafka_broker.bootstrap
    write_lives(events, deployment, 40)
    log = pl.read_parquet(write_old_log(events, deployment, _BEFORE, tmp_path / "old.parquet"))
    await publish_generation(old, Generation(_BEFORE, log, log.height, 0), deployment)
    before = await asyncio.to_thread(replay, f"kafka://{old}", deployment)
    verify = verifier(load_trusted(deployment.folder))
    with KafkaBroker() as other:
        new = other.bootstrap
        resize = ("state", "resize", f"kafka://{old}", "--config", deployment.folder, "--to", new)
        code, said = await _dipper(*resize, "--partitions", _AFTER)
        assert code == 0, said
        assert f"into {_AFTER} partitions" in said
        assert f"{before.decisions.height} decisions, 0 would be others" in said
        again = await asyncio.to_thread(replay, f"kafka://{new}", deployment)
        expected = again.read(OUT_DECISION).splitlines()
        found: list[bytes | None] = []

        async def decided() -> bool:
            parts = await read_topic(new, DECISIONS.name, _AFTER)
            found[:] = [value for part in parts for value in part]
            return len(found) >= len(expected)

        async with at_work(Worker(new, lambda n, count: Step(deployment, n, count, verify))):
            await until(decided, 240)
        assert found == expected
        assert compare(before.decisions, again.decisions) == (len(expected), [])
        code, said = await _dipper(*resize, "--partitions", _AFTER)
        assert code == 2, said
        assert "is not empty; a new generation needs new topics" in said
