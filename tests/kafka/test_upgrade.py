"""Another version of the engine takes over from one that runs: at one offset, without a stop."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from streams import handover
from streams.adopt import Adopted, adopt
from streams.broker.topics import ensure_topics
from streams.config import load_deployment
from streams.control.keys import load_private_key
from streams.control.process import ControlProcess
from streams.deployment import Deployment
from streams.errors import SnapshotError
from streams.keep import Every, keep_snapshots
from streams.kernel_cache import code_hash
from streams.live import GROUP, Worker
from streams.replay import replay
from streams.snapshot.store import Store
from streams.topology import DECISIONS, OUT_DECISION
from tests.conftest import Broker
from tests.deployment import make_deployment
from tests.kafka.life import NUMBERS, PARTITIONS, Life
from tests.kafka.logs import read_topic, until
from tests.kafka.running import at_work, ready
from tests.streams.lives import LIMITS, write_lives

NEVER = Every(10**9, 10**9)
_ANOTHER = "another-engine"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """The example policies with small scorecards and small tables."""
    return load_deployment(make_deployment(tmp_path_factory.mktemp("config") / "d", LIMITS))


@pytest.fixture(autouse=True)
def _engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let code in threads of one name have another hash than all others in this process."""

    def hash_here(path: Path) -> str:
        another = threading.current_thread().name.startswith(_ANOTHER)
        return "f" * 64 if another else code_hash(path)

    monkeypatch.setattr(handover, "code_hash", hash_here)


def _new(worker: Worker) -> Worker:
    """Return the worker as one of the new engine."""
    worker._pool = ThreadPoolExecutor(thread_name_prefix=_ANOTHER)
    return worker


async def _adopt(life: Life, store: Store | None, wait_s: float) -> list[Adopted]:
    """Hand over to the new engine."""
    folder = life.deployment.folder
    with ThreadPoolExecutor(1, thread_name_prefix=_ANOTHER) as pool:
        return await asyncio.get_running_loop().run_in_executor(
            pool, lambda: asyncio.run(adopt(life.bootstrap, folder, store, GROUP, wait_s))
        )


@asynccontextmanager
async def _ticking(life: Life) -> AsyncIterator[None]:
    key, stop = load_private_key(life.deployment.folder), asyncio.Event()
    async with ControlProcess(life.bootstrap, PARTITIONS, key, life.deployment.caps) as control:
        ticking = asyncio.create_task(control.run_file_clock(stop))
        yield
        stop.set()
        await ticking


@asynccontextmanager
async def _followed(life: Life) -> AsyncIterator[None]:
    """Run a follower of the old engine that writes nothing until it must."""
    stop = asyncio.Event()
    following = asyncio.create_task(
        keep_snapshots(
            life.bootstrap, life.deployment.folder, life.snapshots, GROUP, None, NEVER, stop
        )
    )
    yield
    stop.set()
    await following


async def _stands_by(worker: Worker) -> None:
    async def holds() -> bool:
        return (worker.not_ready or "").startswith("stands by")

    await until(holds, 240)


def _parts(events: Path, count: int) -> list[Path]:
    lines = events.read_bytes().splitlines(keepends=True)
    parts = [events.with_name(f"part-{k}.jsonl") for k in range(count)]
    for k, part in enumerate(parts):
        first, stop = (len(lines) * at // count for at in (k, k + 1))
        part.write_bytes(b"".join(lines[first:stop]))
    return parts


@pytest.mark.timeout(900)
async def test_a_new_engine_takes_over_from_one_that_runs(
    fresh_kafka_broker: Broker, deployment: Deployment, tmp_path: Path
) -> None:
    """A worker of a new engine stands by and disturbs nobody; a handover that fails gives the old
    one its partitions back; one that does not lets the new one go on at the same offset, the old
    one stands by, and each request is decided once, as if there had been one worker.
    """
    events = tmp_path / "events.jsonl"
    write_lives(events, deployment, 40)
    parts = _parts(events, 5)
    life = Life(fresh_kafka_broker, deployment, tmp_path)
    await ensure_topics(life.bootstrap, PARTITIONS)
    old, new = life.worker(), _new(life.worker())
    async with _ticking(life), at_work(old):
        await life.publish(parts[0])
        await life.caught_up(old)
        await life.kept(1)
        dealt = old.meter.rebalances
        async with at_work(new):
            await _stands_by(new)
            assert "another version of the engine" in (new.not_ready or "")
            assert new.not_alive is None
            await life.publish(parts[1])
            await life.caught_up(old)
            assert old.meter.rebalances == dealt
            with pytest.raises(SnapshotError, match="let dipper state keep of the old deployment"):
                await _adopt(life, life.snapshots, 0.1)
            await life.publish(parts[2])
            await life.caught_up(old)
            assert new.meter.commits == 0
            async with _followed(life):
                publishing = asyncio.create_task(life.publish(parts[3]))
                handed = await _adopt(life, life.snapshots, 120)
                await publishing
                await life.publish(parts[4])
                await life.caught_up(new)
                await _stands_by(old)
            assert ready(old) == set()
            assert ready(new) == set(NUMBERS)
            assert new.meter.commits > 0
            assert not old.meter.halted
    assert [each.partition for each in handed] == list(NUMBERS)
    found = await read_topic(life.bootstrap, DECISIONS.name, PARTITIONS)
    expected = replay(events, deployment, partitions=PARTITIONS).read(OUT_DECISION)
    assert [value for part in found for value in part] == expected.splitlines()


@pytest.mark.timeout(900)
async def test_another_engine_is_noticed_without_snapshots(
    fresh_kafka_broker: Broker, deployment: Deployment, tmp_path: Path
) -> None:
    """With no snapshot anywhere a worker of another engine decides nothing either, until somebody
    says that it shall fold the log by its own rules.
    """
    events = tmp_path / "events.jsonl"
    write_lives(events, deployment, 20)
    parts = _parts(events, 2)
    life = Life(fresh_kafka_broker, deployment, tmp_path)
    await ensure_topics(life.bootstrap, PARTITIONS)
    old, new = life.worker(without_snapshots=True), _new(life.worker(without_snapshots=True))
    async with _ticking(life):
        async with at_work(old):
            await life.publish(parts[0])
            await life.caught_up(old)
        async with at_work(new):
            await _stands_by(new)
            assert new.meter.commits == 0
            ends = [end for _, end in await life.bounds()]
            manifest = deployment.manifest_hash(PARTITIONS)
            assert await _adopt(life, None, 0) == [
                Adopted(number, ends[number], manifest) for number in NUMBERS
            ]
            await life.publish(parts[1])
            await life.caught_up(new)
    found = await read_topic(life.bootstrap, DECISIONS.name, PARTITIONS)
    expected = replay(events, deployment, partitions=PARTITIONS).read(OUT_DECISION)
    assert [value for part in found for value in part] == expected.splitlines()
