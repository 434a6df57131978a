"""How throughput grows with partitions and workers, exactly once, and what all requests cost.

The log is made anew for each number of partitions; each run is checked as in `streams.bench.peers`.
"""

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from streams.bench.digest import Digest
from streams.bench.feed import Feeder, Probe
from streams.bench.logs import FullLog, Log, Share
from streams.bench.peers import Measured, measure
from streams.bench.prepare import make_step, prepare, run, signing_key
from streams.bench.systems import EOS, FULL, Job, dipper
from streams.bench.traffic import Record
from streams.bench.workload import Population, cohorts_for, opening
from streams.broker.kafka import KafkaBroker
from streams.broker.topics import ensure_topics
from streams.codec.hashing import partition_of_key
from streams.deployment import Deployment
from streams.topology import DECISIONS, EVENTS, OUT_DECISION, TOPICS

PARTITIONS = (1, 2, 4, 8, 16)
TWO_WORKERS = (2, 4, 16)
REQUESTS_PARTITIONS = 2


class Scaled(NamedTuple):
    """One run of dipper, exactly once."""

    traffic: str  # mixed, or requests alone
    workers: int
    partitions: int
    events_per_second: float
    cpu_us_per_event: float
    broker_cpu_us_per_event: float
    resident_mib: float
    sha256: str
    failed: str


class RequestLog:
    """A population with lines, then requests alone; the clock starts behind the population."""

    def __init__(self, deployment: Deployment, partitions: int, people: int, count: int) -> None:
        self.partitions = partitions
        self.shares: list[Share] = []
        self.first: list[list[Record]] = [[] for _ in range(partitions)]
        self._deployment, self._people, self._count = deployment, Population(people), count

    def parts(self) -> Iterator[tuple[int, list[Record]]]:
        """Yield what stands before the requests as one share, and all as the next."""
        deployment, n = self._deployment, self.partitions
        steps = [make_step(deployment, number, n) for number in range(n)]
        head = opening(signing_key(deployment), deployment.caps, n)
        parts: list[list[Record]] = [[(None, value) for value in part] for part in head]
        records, outputs, digest = [0] * n, [0] * n, Digest()
        setting = self._people.setting(deployment.platform.decision_key)
        for rows in (setting, self._people.traffic(self._count, 1.0)):
            for key, value in rows:
                assert key is not None
                parts[partition_of_key(key, n)].append((key, value))
            for partition, mine in enumerate(parts):
                found = run(steps[partition], mine, records[partition], OUT_DECISION)
                records[partition] += len(mine)
                outputs[partition] += len(found)
                digest.add(found)
                yield partition, mine
            self.shares.append(Share(list(records), list(outputs), digest.hex))
            parts = [[] for _ in range(n)]


def bench_scale(
    events: int = 900_000,
    partitions: Sequence[int] = PARTITIONS,
    two_workers: Sequence[int] = TWO_WORKERS,
    on_stage: Callable[[str], None] = lambda _: None,
) -> list[Scaled]:
    """Measure one worker on each number of partitions, two on some, and requests alone."""
    with tempfile.TemporaryDirectory(prefix="dipper-bench-") as name:
        folder = Path(name)
        on_stage("train the model")
        deployment = prepare(folder / "config")
        cohorts = cohorts_for(events)
        logs: list[tuple[str, Log]] = [
            ("mixed", FullLog(deployment, count, [cohorts])) for count in partitions
        ]
        requests = RequestLog(deployment, REQUESTS_PARTITIONS, events // 60, events // 3)
        logs.append(("requests", requests))
        return asyncio.run(_all(deployment, folder, logs, two_workers, on_stage))


async def _all(
    deployment: Deployment,
    folder: Path,
    logs: Sequence[tuple[str, Log]],
    two_workers: Sequence[int],
    on_stage: Callable[[str], None],
) -> list[Scaled]:
    """Run log after log on one broker, which is warm after the first."""
    found = []
    async with KafkaBroker() as broker:
        for number, (traffic, log) in enumerate(logs):
            two = traffic == "mixed" and log.partitions in two_workers
            job = Job(
                FULL, broker.bootstrap, f"scale-{number}", log.partitions, deployment.folder,
                folder, broker.pid,
            )  # fmt: skip
            found += await _runs(job, traffic, log, [1, 2] if two else [1], on_stage)
            async with Probe(broker.bootstrap) as probe:
                await probe.drop_topics([topic.name for topic in TOPICS])
    return found


async def _runs(
    job: Job, traffic: str, log: Log, workers: Sequence[int], on_stage: Callable[[str], None]
) -> list[Scaled]:
    found = []
    async with Probe(job.broker) as probe:
        await probe.make_topics([EVENTS.name, DECISIONS.name], log.partitions)
    await ensure_topics(job.broker, log.partitions)
    on_stage(f"{traffic}, partitions {log.partitions}: make the log")
    async with Feeder(job.broker, EVENTS.name, hidden=True) as feeder:
        for partition, records in log.parts():
            await feeder.publish(partition, records)
        first, whole = log.shares[0], log.shares[-1]
        warm_up = first if len(log.shares) > 1 else None
        # Two workers share partitions out before the log is there to be read: else the first to
        # join is well on its way when the second one takes half of them over.
        for place, count in enumerate(sorted(workers, reverse=True)):
            on_stage(f"{traffic}, partitions {log.partitions}, workers {count}")
            mine = job._replace(group=f"{job.group}-{count}")
            late = None if place else feeder.show
            one = await measure(dipper(EOS, count), mine, first, whole, warm_up=warm_up, late=late)
            await feeder.show()  # where the first run failed before
            found.append(_row(traffic, count, log.partitions, one))
    return found[::-1]


def _row(traffic: str, workers: int, partitions: int, one: Measured) -> Scaled:
    return Scaled(
        traffic, workers, partitions, one.events_per_second, one.cpu_us_per_event,
        one.broker_cpu_us_per_event, one.resident_mib, one.sha256, one.failed,
    )  # fmt: skip
