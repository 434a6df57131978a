"""Live equals replay, byte for byte, on both kinds of broker: one core, two doors."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from monitoring.collector import WorkerCollector
from monitoring.endpoint import serve_metrics
from streams import live
from streams.broker.client import make_producer
from streams.broker.lines import LineFile
from streams.broker.publish import Publisher, publish
from streams.broker.topics import ensure_topics
from streams.config import load_deployment
from streams.control.keys import load_private_key, load_trusted, verifier
from streams.control.process import ControlProcess
from streams.control.records import signed, tick
from streams.deployment import Deployment
from streams.dump import dump_topics
from streams.live import Worker
from streams.replay import replay
from streams.step import Step
from streams.study.recorded import compare_recorded, read_recorded
from streams.topology import DEAD_LETTERS, DECISIONS, EVENTS
from tests.conftest import Broker
from tests.deployment import make_deployment
from tests.kafka.logs import read_partition, until
from tests.kafka.running import at_work
from tests.streams.lives import LIMITS, write_lives
from tests.tidy.source import ROOT


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """The example policies with small scorecards and small tables."""
    return load_deployment(make_deployment(tmp_path_factory.mktemp("config") / "d", LIMITS))


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory, deployment: Deployment) -> Path:
    """A history of requests, lines, loans and hostile input."""
    path = tmp_path_factory.mktemp("events") / "events.jsonl"
    write_lives(path, deployment)
    return path


def _worker(broker: Broker, deployment: Deployment) -> Worker:
    verify = verifier(load_trusted(deployment.folder))
    return Worker(
        broker.bootstrap,
        lambda number, count: Step(deployment, number, count, verify),
    )


@asynccontextmanager
async def _control(broker: Broker, deployment: Deployment, partitions: int) -> AsyncIterator[None]:
    await ensure_topics(broker.bootstrap, partitions)
    stop = asyncio.Event()
    key = load_private_key(deployment.folder)
    async with ControlProcess(broker.bootstrap, partitions, key, deployment.caps) as control:
        running = asyncio.create_task(control.run_file_clock(stop))
        yield
        stop.set()
        await running


async def _caught_up(workers: tuple[Worker, ...], ends: list[int]) -> None:
    async def holds() -> bool:
        at = {s.partition: s.committed for worker in workers for s in worker.status if s.ready}
        return [at.get(number) for number in range(len(ends))] == ends

    await until(holds, 120)


async def _shared(workers: tuple[Worker, ...], partitions: int) -> None:
    """Wait for the group to settle: a rebalance amid the work may repeat a batch."""

    async def holds() -> bool:
        ready = [{s.partition for s in worker.status if s.ready} for worker in workers]
        busy = sum(1 for each in ready if each)
        return busy == min(partitions, len(workers)) and set().union(*ready) == set(
            range(partitions)
        )

    await until(holds, 240)


async def _ends(broker: Broker, partitions: int) -> list[int]:
    return [
        len(await read_partition(broker.bootstrap, EVENTS.name, number))
        for number in range(partitions)
    ]


def _signing(deployment: Deployment) -> dict[str, Any]:
    sign = load_private_key(deployment.folder).sign
    return {"sign": sign, "institutions": deployment.institution_ids}


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("partitions", [1, 4])
async def test_live_is_replay(
    fresh_broker: Broker, deployment: Deployment, events: Path, tmp_path: Path, partitions: int
) -> None:
    """What two workers wrote live, a replay of the file and one of the topic are the same bytes; so
    none differs from the decisions on the topic.
    """
    bootstrap = fresh_broker.bootstrap
    workers = (_worker(fresh_broker, deployment), _worker(fresh_broker, deployment))
    async with _control(fresh_broker, deployment, partitions), at_work(*workers):
        await _shared(workers, partitions)
        async with Publisher(bootstrap) as publisher:
            await publish(publisher, LineFile(events), raw=True, **_signing(deployment))
        await _caught_up(workers, await _ends(fresh_broker, partitions))
    await dump_topics(bootstrap, tmp_path / "live", partitions)
    replay(events, deployment, partitions=partitions, dump=tmp_path / "file")
    again = replay(f"kafka://{bootstrap}", deployment, dump=tmp_path / "topic")
    live = _files(tmp_path / "live")
    assert len(live) == 4 * partitions
    assert all(live.values())
    assert _files(tmp_path / "file") == live
    assert _files(tmp_path / "topic") == live
    rows = compare_recorded(read_recorded("LIVE", f"kafka://{bootstrap}"), again.decisions)
    assert rows["same"].all()
    assert rows.height == again.decisions.height


async def test_forged_control_events_are_dead_letters(
    fresh_broker: Broker, deployment: Deployment, tmp_path: Path
) -> None:
    """Neither money nor time can be written by others: bad signatures, copies and gaps are
    refused.
    """
    bootstrap = fresh_broker.bootstrap
    key = load_private_key(deployment.folder)
    grant = orjson.dumps(
        {
            "type": "grant", "partition": 0, "seq": 99, "institution": "dawn",
            "cap": "outstanding", "amount_cents": 10**9, "signature": "A" * 86 + "==",
        }
    )  # fmt: skip
    async with _control(fresh_broker, deployment, 1):
        async with Publisher(bootstrap) as publisher:
            await publisher.tick(1_767_225_600_000)
        first = (await read_partition(bootstrap, EVENTS.name, 0))[0].value
        gap = signed(tick(0, 1_000, 1_767_225_700_000), key.sign)
        elsewhere = signed(tick(1, 1, 1_767_225_700_000), key.sign)
        producer = make_producer(bootstrap, fresh_broker.kind)
        await producer.start()
        for value in (grant, first, gap, elsewhere):
            await producer.send_and_wait(EVENTS.name, value, partition=0)
        await producer.stop()
        async with Publisher(bootstrap) as publisher:
            await publisher.tick(1_767_225_800_000)
        worker = _worker(fresh_broker, deployment)
        async with at_work(worker):
            await _caught_up((worker,), await _ends(fresh_broker, 1))
    letters = await read_partition(bootstrap, DEAD_LETTERS.name, 0)
    assert [(dict(r.headers)["reason"], r.value) for r in letters] == [
        (b"bad_signature", grant),
        (b"bad_sequence", first),
        (b"bad_sequence", gap),
        (b"wrong_partition", elsewhere),
    ]
    assert all(letter.key is None for letter in letters)
    result = replay(f"kafka://{bootstrap}", deployment)
    assert result.dead_letters.height == 4


async def test_a_scrape_counts_what_stands_on_kafka(
    fresh_embedded_broker: Broker, deployment: Deployment, events: Path
) -> None:
    """The metrics of a worker sum up to the records that it wrote."""
    broker = fresh_embedded_broker
    worker = _worker(broker, deployment)
    info = {"version": "0", "manifest": ""}
    collector = WorkerCollector(
        deployment.dimensions, worker.meter, lambda: worker.status, lambda: info
    )
    async with _control(broker, deployment, 2), at_work(worker):
        async with Publisher(broker.bootstrap) as publisher:
            await publish(publisher, LineFile(events), raw=True, **_signing(deployment))
        ends = await _ends(broker, 2)
        await _caught_up((worker,), ends)
        with serve_metrics(collector, 0) as port:
            text = await asyncio.to_thread(_scrape, port)
    decided = [
        len(await read_partition(broker.bootstrap, DECISIONS.name, number)) for number in range(2)
    ]
    samples = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    counted = sum(float(v) for name, v in samples if name.startswith("dipper_decided_total"))
    assert counted == sum(decided) > 0
    assert f'dipper_partition_offset{{partition="1"}} {ends[1]}\n' in text


async def test_scrapes_stay_true_through_a_rebalance_and_a_wrong_clock(
    fresh_kafka_broker: Broker,
    deployment: Deployment,
    events: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While a second worker joins and the first leaves, by clocks that are an hour wrong either
    way from call to call, every scrape answers, no counter falls, partition time is the log's, and
    in the end both workers together count each decision once.
    """
    wrong = itertools.cycle((3_600_000, -3_600_000))
    monkeypatch.setattr(live, "_now_ms", lambda: time.time_ns() // 1_000_000 + next(wrong))
    broker = fresh_kafka_broker
    workers = _worker(broker, deployment), _worker(broker, deployment)
    scrapes: list[list[dict[str, float]]] = [[], []]
    stop = asyncio.Event()

    async def scrape(place: int, port: int) -> None:
        while not stop.is_set():
            scrapes[place].append(_samples(await asyncio.to_thread(_scrape, port)))
            await asyncio.sleep(0.05)

    async with _control(broker, deployment, 2):
        with ExitStack() as served:
            ports = [served.enter_context(_shown(worker, deployment)) for worker in workers]
            scraping = [asyncio.create_task(scrape(n, port)) for n, port in enumerate(ports)]
            async with at_work(workers[1]):
                async with at_work(workers[0]):
                    await _shared(workers, 2)
                    async with Publisher(broker.bootstrap) as publisher:
                        signing = _signing(deployment)
                        await publish(publisher, LineFile(events), raw=True, **signing)
                ends = await _ends(broker, 2)
                await _caught_up(workers[1:], ends)
                stop.set()
                await asyncio.gather(*scraping)
            last = [_samples(await asyncio.to_thread(_scrape, port)) for port in ports]
    written = sum([len(await read_partition(broker.bootstrap, DECISIONS.name, n)) for n in (0, 1)])
    counted = [_sum(each, "dipper_decided_total") for each in last]
    assert sum(counted) == written > 0
    result = replay(f"kafka://{broker.bootstrap}", deployment)
    assert written == result.decisions.height
    newest_s = _newest_tick_s(events)
    for mine in scrapes:
        assert len(mine) > 5
        times = [v for one in mine for k, v in one.items() if k.startswith(_TIME)]
        assert max(times, default=0.0) <= newest_s
        for before, after in itertools.pairwise(mine):
            fallen = [k for k in before if "_total" in k and after.get(k, 0.0) < before[k]]
            assert not fallen
        assert mine[-1]["dipper_record_seconds_sum"] <= 600 * sum(ends)
        assert mine[-1]["dipper_record_seconds_sum"] >= 0
    assert max(_sum(one, _TIME) for mine in scrapes for one in mine) > 0


_TIME = "dipper_partition_time_seconds"


def _newest_tick_s(events: Path) -> float:
    lines = events.read_bytes().splitlines()
    ticks = [orjson.loads(line)["at"] for line in lines if line.startswith(b'{"type":"tick"')]
    return float(max(ticks)) / 1_000


@contextmanager
def _shown(worker: Worker, deployment: Deployment) -> Iterator[int]:
    info = {"version": "0", "manifest": ""}
    collector = WorkerCollector(
        deployment.dimensions, worker.meter, lambda: worker.status, lambda: info
    )
    with serve_metrics(collector, 0) as port:
        yield port


def _samples(text: str) -> dict[str, float]:
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def _sum(samples: dict[str, float], name: str) -> float:
    return sum(value for key, value in samples.items() if key.partition("{")[0] == name)


def _scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return str(answer.read().decode())


async def test_the_command_serves_and_leaves_in_order(
    fresh_embedded_broker: Broker, deployment: Deployment, events: Path
) -> None:
    """`dipper live` decides, shows metrics where it says, and exits with 0 when asked to stop."""
    broker = fresh_embedded_broker
    async with _control(broker, deployment, 1):
        command = [sys.executable, "-m", "streams", "live", "--broker", broker.bootstrap]
        command += ["--config", str(deployment.folder), "--metrics-port", "0"]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, cwd=ROOT, env=os.environ
        )
        assert process.stdout is not None
        try:
            address = (await process.stdout.readline()).decode().split()[-1]
            async with Publisher(broker.bootstrap) as publisher:
                await publish(publisher, LineFile(events), raw=True, **_signing(deployment))

            async def decided() -> bool:
                return bool(await read_partition(broker.bootstrap, DECISIONS.name, 0))

            await until(decided, 240)
            port = int(address.rsplit(":", 1)[1].split("/")[0])
            assert "dipper_decided_total" in await asyncio.to_thread(_scrape, port)
        finally:
            process.send_signal(signal.SIGTERM)
            rest = (await process.stdout.read()).decode()
            code = await process.wait()
        assert (code, rest.strip()) == (0, "left the group")


def test_a_worker_imports_neither_faust_nor_lightgbm() -> None:
    """What only the slow lane and training need is not even loaded by a live worker."""
    script = (
        "import sys, streams.live, streams.step, streams.config, monitoring.endpoint;"
        "print(sorted({'faust', 'lightgbm', 'polars'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
