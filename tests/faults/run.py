"""One run: a world that never stops applying, and a fault a round, until all is recomputed.

1. Apache Kafka, control and workers start; the world publishes at its own pace and reads decisions
   with `read_committed`, from the first to the last moment.
2. Rounds: a fault, then wait until everything that was asked before the end of the fault is
   decided.
3. Publishing ends, the rest is decided.
4. Every output record is recomputed by replay of the log and compared.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import TopicPartition

from streams.broker.client import make_consumer
from streams.broker.publish import Publisher
from streams.broker.topics import ensure_topics
from streams.config import load_deployment
from streams.demo.run import copy_config
from streams.live import GROUP
from streams.simulate.world import World, WorldConfig
from streams.tasks import end
from streams.topology import EVENTS
from tests.faults.faults import FAULTS, Scene
from tests.faults.fleet import Fleet, MortalKafka
from tests.faults.ledger import Ledger, read
from tests.faults.verify import recompute
from tests.tidy.source import ROOT

_PACE_S = 0.02
_SETTLE_S_MAX = 60.0  # after which a round has failed: something does not go on by itself
_START_S_MAX = 300.0  # a cold start compiles
_LULL_S = 2.0  # of undisturbed work between two faults


class Options(NamedTuple):
    """Size of a run. `events` is the least that is published, `rate` a second; `soak_s` is how long
    work goes on undisturbed after the last fault, with an eye on memory.
    """

    rounds: int
    events: int
    soak_s: float
    rate: float
    workers: int
    partitions: int
    seed: int


Say = Callable[[str], None]


def run(options: Options, say: Say) -> dict[str, Any]:
    """Run it and return the summary."""
    with tempfile.TemporaryDirectory(prefix="dipper-faults-") as name, MortalKafka() as broker:
        folder = Path(name)
        config = copy_config(ROOT / "examples/policies", folder)
        with Fleet(folder, broker.bootstrap, config, options.partitions) as fleet:
            scene = Scene(fleet, broker, random.Random(options.seed))
            return asyncio.run(_Run(options, scene, folder, config, say).go())


class _Run:
    def __init__(
        self, options: Options, scene: Scene, folder: Path, config: Path, say: Say
    ) -> None:
        self._options = options
        self._scene = scene
        self._folder = folder
        self._config = config
        self._say = say
        self._ledger = Ledger(options.partitions)
        now_ms = time.time_ns() // 1_000_000
        world = WorldConfig(
            applicants=max(1_000, int(options.rate * 4)),
            rate_per_second=options.rate,
            pace=86_400.0,
            seed=options.seed,
            keep_truth=False,
        )
        self._world = World(world, now_ms)
        self._published = 0
        self._enough = asyncio.Event()

    async def go(self) -> dict[str, Any]:
        options, bootstrap = self._options, self._scene.broker.bootstrap
        await ensure_topics(bootstrap, options.partitions)
        self._scene.fleet.start_control()
        await self._wait_for_time(bootstrap)
        for _ in range(options.workers):
            self._scene.fleet.start_worker()
        reading = asyncio.create_task(read(bootstrap, self._ledger, self._world.on_decision))
        publishing = asyncio.create_task(self._publish(bootstrap))
        try:
            await self._settle(publishing, reading, _START_S_MAX)
            began = time.monotonic()
            await self._rounds(publishing, reading)
            while self._published < options.events:
                await self._check(publishing, reading)
                await asyncio.sleep(0.2)
            memory = await self._soak(publishing, reading)
            took = time.monotonic() - began
            self._enough.set()
            await publishing
            await self._settle(None, reading, _SETTLE_S_MAX)
            await asyncio.sleep(_LULL_S)  # for repeats behind the last first decision
        finally:
            await asyncio.gather(end(publishing), end(reading))
        gap_s = self._ledger.worst_gap_s(time.monotonic())
        self._say(f"{self._published:,} events in {took:.0f} s; recomputing every output record")
        deployment = load_deployment(self._config)
        verdict = await recompute(
            bootstrap, deployment, options.partitions, self._folder, self._ledger
        )
        return {
            "rounds": options.rounds,
            "events": self._published,
            "requests": self._ledger.requests,
            "records": verdict.records,
            "lost": self._ledger.lost,
            "duplicated": self._ledger.duplicated,
            "differing": verdict.differing,
            "unstable": verdict.unstable,
            "worst_gap_seconds": round(gap_s, 1),
            "seed": options.seed,
        } | memory

    async def _wait_for_time(self, bootstrap: str) -> None:
        """Return when a tick stands in every partition: before it every request is refused."""
        consumer = make_consumer(bootstrap)
        await consumer.start()
        where = [TopicPartition(EVENTS.name, n) for n in range(self._options.partitions)]
        consumer.assign(where)
        waiting = set(where)
        async with asyncio.timeout(_START_S_MAX):
            while waiting:
                for each, records in (await consumer.getmany(timeout_ms=100)).items():
                    if any(b'"type":"tick"' in record.value for record in records):
                        waiting.discard(each)
        await consumer.stop()

    async def _rounds(self, publishing: Any, reading: Any) -> None:
        for number in range(self._options.rounds):
            fault = FAULTS[number % len(FAULTS)]
            await asyncio.sleep(self._scene.dice.uniform(0.5, 1.0) * _LULL_S)
            began = time.monotonic()
            await fault(self._scene)
            for words in self._scene.fleet.mend():
                self._say(f"  ended by itself and was replaced: {words}")
            await self._settle(publishing, reading, _SETTLE_S_MAX)
            took = time.monotonic() - began
            self._say(f"round {number + 1}: {fault.__name__}, whole again after {took:.1f} s")

    async def _soak(self, publishing: Any, reading: Any) -> dict[str, float]:
        """Work undisturbed; return the workers' resident memory after a quarter, and at the end."""
        seconds = self._options.soak_s
        if not seconds:
            return {}
        sums = []
        for share in (0.25, 0.75):
            until = time.monotonic() + share * seconds
            while time.monotonic() < until:
                await self._check(publishing, reading)
                await asyncio.sleep(0.2)
            sums.append(sum(worker.resident_mib for worker in self._scene.fleet.workers))
        return {"resident_mib_after_quarter": round(sums[0]), "resident_mib_at_end": round(sums[1])}

    async def _settle(self, publishing: Any, reading: Any, seconds_max: float) -> None:
        """Return when all that was asked until now is decided and decisions go on."""
        asked_s = time.monotonic()
        at_least = sum(len(seen) for seen in self._ledger.seen) + (publishing is not None)
        while (
            self._ledger.waits_since(asked_s)
            or sum(len(seen) for seen in self._ledger.seen) < at_least
        ):
            await self._check(publishing, reading)
            for words in self._scene.fleet.mend():
                self._say(f"  ended by itself and was replaced: {words}")
            if time.monotonic() - asked_s > seconds_max:
                raise AssertionError(f"seed {self._options.seed}: " + await self._stuck())
            await asyncio.sleep(0.1)

    async def _stuck(self) -> str:
        """Say what waits, and what everybody said last."""
        consumer = make_consumer(self._scene.broker.bootstrap, group=GROUP)
        await consumer.start()
        where = [TopicPartition(EVENTS.name, n) for n in range(self._options.partitions)]
        ends = await consumer.end_offsets(where)
        stand = [f"{await consumer.committed(each)} of {ends[each]}" for each in where]
        await consumer.stop()
        fleet = self._scene.fleet
        logs = [f"{m.log.name}: {m.last_words()}" for m in (*fleet.workers, fleet.control)]
        return (
            f"{self._ledger.lost} requests wait, {self._ledger.decided.total()} decisions seen; "
            f"committed {', '.join(stand)}; {'; '.join(logs)}"
        )

    async def _check(self, publishing: Any, reading: Any) -> None:
        for task in (publishing, reading):
            if task is not None and task.done():
                await task
                raise AssertionError("publishing and reading end last")

    async def _publish(self, bootstrap: str) -> None:
        async with Publisher(bootstrap) as publisher:
            while not self._enough.is_set():
                records = self._world.next_events(time.time_ns() // 1_000_000)
                for record in records:
                    await publisher.send(record.key, record.value)
                now_s = time.monotonic()
                await publisher.hand_over()
                for record in records:
                    if record.is_request and record.admissible:
                        self._ledger.sent((record.applicant, record.id), now_s)
                self._published += len(records)
                await asyncio.sleep(_PACE_S)
            await publisher.flush()
