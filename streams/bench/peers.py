"""dipper and other systems side by side: the same log, the same Kafka, the same answers.

1. On one Kafka each job has its log: a first section for the slowest system, further ones for
   faster systems.
2. Each system reads the log from its start with a group of its own, until its offsets are
   committed.
3. Its rate is taken from the broker's own times on its results, from half of the way on: neither
   start nor warm-up count.
4. Its results are compared, as a hash in which order does not count, with what is expected.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka.errors import KafkaError
from rich.table import Table

from streams.bench.cpu import cpu_seconds, family, resident_bytes
from streams.bench.digest import Digest
from streams.bench.feed import Feeder, Probe, Written, read
from streams.bench.logs import FullLog, Log, Share, ThinLog, source_offset
from streams.bench.prepare import prepare
from streams.bench.systems import EOS, FULL, SYSTEMS, THIN, Job, Running, System, missing
from streams.bench.traffic import Record
from streams.bench.workload import cohorts_for
from streams.broker.kafka import KafkaBroker
from streams.broker.topics import ensure_topics
from streams.deployment import Deployment
from streams.errors import DipperError
from streams.topology import DECISIONS, EVENTS, TOPICS

PARTITIONS = 2
WARM_SHARE = 0.5  # of the log, before the clock starts: compilers of the JVM take their time
_STALL_S_MAX = 60.0
_START_S_MAX = 120.0  # until something moves for the first time
_SYSTEM_S_MAX = 240.0
_POLL_S = 0.1
_SETTLE_S = 1.0  # a member that has joined still looks up its offsets and tables
_VISIBLE_S_MAX = 10.0


class Scale(NamedTuple):
    """How long each system is to be measured, and on how large a model."""

    seconds: float
    trees: int
    leaves: int
    events_min: int


SMALL = Scale(0.9, 50, 31, 3_500)
USUAL = Scale(8.0, 200, 31, 5_000)


class Measured(NamedTuple):
    """One system at one job."""

    system: str
    guarantee: str
    job: str
    processes: int
    events: int
    seconds: float
    events_per_second: float
    sha256: str  # of its results on the first section
    cpu_us_per_event: float = 0.0  # of its processes while the clock ran
    broker_cpu_us_per_event: float = 0.0
    resident_mib: float = 0.0
    failed: str = ""  # why it could not run
    wrong: bool = False  # its results are not those that are expected


class _WrongResultsError(DipperError):
    """A system's results are missing, or not the expected ones."""


class Stand(NamedTuple):
    """How far a system was when somebody looked, as a share of what it is to do, and what it had
    used by then: processor time of its own processes and of the broker.
    """

    share: float
    cpu_s: float
    broker_cpu_s: float


def bench_peers(
    systems: Sequence[System] = SYSTEMS,
    scale: Scale = USUAL,
    on_stage: Callable[[str], None] = lambda _: None,
    jobs: Sequence[str] = (THIN, FULL),
) -> list[Measured]:
    """Measure each system at each job that it takes.

    A system that cannot be run, ends, stalls or gives results that are not the expected ones has a
    row that says so; the others are measured all the same.
    """
    with tempfile.TemporaryDirectory(prefix="dipper-bench-") as name:
        return asyncio.run(_bench(systems, scale, Path(name), on_stage, jobs))


async def _bench(
    systems: Sequence[System],
    scale: Scale,
    folder: Path,
    on_stage: Callable[[str], None],
    jobs: Sequence[str],
) -> list[Measured]:
    on_stage("start Apache Kafka, train the model")
    training = asyncio.create_task(
        asyncio.to_thread(prepare, folder / "config", trees=scale.trees, leaves=scale.leaves)
    )
    found: list[Measured] = []
    async with KafkaBroker() as broker:
        deployment = await training
        for job in jobs:
            asked = Job(
                job, broker.bootstrap, "", PARTITIONS, deployment.folder, folder, broker.pid
            )
            taking = [system for system in systems if job in system.rates]
            found += await _measure_job(asked, taking, scale, deployment, on_stage)
    return found


async def _measure_job(
    job: Job,
    systems: Sequence[System],
    scale: Scale,
    deployment: Deployment,
    on_stage: Callable[[str], None],
) -> list[Measured]:
    lengths = {
        system.id: max(scale.events_min, int(scale.seconds * system.rates[job.name]))
        for system in systems
    }
    topics = {EVENTS.name, DECISIONS.name}
    topics |= {name for system in systems for name in (system.source, system.sink())}
    async with Probe(job.broker) as probe:
        await probe.make_topics(topics, PARTITIONS)
    await ensure_topics(job.broker, PARTITIONS)
    log, which = _make_log(job.name, deployment, lengths)
    on_stage(f"{job.name}: make the log")
    await _publish(job.broker, EVENTS.name, log.parts())
    found = []
    for system in systems:
        on_stage(f"{job.name}: {system.name}, {system.guarantee}")
        asked = job._replace(group=f"{system.id}-{job.name}")
        shares = log.shares[0], log.shares[which[system.id]]
        late = None
        if system.joins_first:
            assert which[system.id] == 0
            late = partial(_publish, job.broker, system.source, enumerate(log.first))
        found.append(await measure(system, asked, *shares, late=late))
    # The next job has the same topics, and a broker that is warm.
    async with Probe(job.broker) as probe:
        await probe.drop_topics(topics | {topic.name for topic in TOPICS})
    return found


def _make_log(
    job: str, deployment: Deployment, lengths: dict[str, int]
) -> tuple[Log, dict[str, int]]:
    """Return the log, and by system the section that it reads up to."""
    sizes = lengths if job == THIN else {id: cohorts_for(n) for id, n in lengths.items()}
    sections = sorted(set(sizes.values()))
    which = {id: sections.index(size) for id, size in sizes.items()}
    if job == THIN:
        return ThinLog(PARTITIONS, sections), which
    return FullLog(deployment, PARTITIONS, sections), which


async def measure(
    system: System,
    job: Job,
    common: Share,
    share: Share,
    *,
    warm_up: Share | None = None,
    late: Callable[[], Awaitable[None]] | None = None,
) -> Measured:
    """Run a system over `share` of the log, hold its results to what is expected, return its rate.

    The clock starts where `warm_up` ends, by default half of the way. `common` is the share
    whose results are hashed, to compare systems by. `late` makes the log visible to a system whose
    members are to join before. Where the system fails, `failed` says why.
    """
    row = Measured(
        system.name, system.guarantee, job.name, system.processes, 0, 0.0, 0.0, "",
        failed=missing(system),
    )  # fmt: skip
    if row.failed:
        return row
    try:
        return await _measure(row, system, job, common, share, warm_up, late)
    except (DipperError, KafkaError, OSError) as error:
        wrong = isinstance(error, _WrongResultsError)
        return row._replace(failed=str(error) or repr(error), wrong=wrong)


async def _measure(
    row: Measured,
    system: System,
    job: Job,
    common: Share,
    share: Share,
    warm_up: Share | None,
    late: Callable[[], Awaitable[None]] | None,
) -> Measured:
    warm = warm_up.records if warm_up else [WARM_SHARE * count for count in share.records]
    async with Probe(job.broker) as probe:
        before = await probe.ends(system.sink(), job.partitions)
        with Running(system, job) as running:
            if late is not None:
                await _joined(probe, system, job, running)
                await late()
            stands = await _until_done(probe, system, running, job, share, before)
            resident_mib = resident_bytes(running.pids) / (1 << 20)
        results = await _results(probe, system, job, share, before)
    mine, first = Digest(), Digest()
    for written, count, common_count in zip(results, share.outputs, common.outputs, strict=True):
        mine.add(written.values[:count])
        first.add(written.values[:common_count])
    if mine.hex != share.sha256 or (system.ordered and first.hex != common.sha256):
        raise _WrongResultsError("its results are not those that are expected")
    events, seconds = _rate(job.name, results, share, warm)
    cpu_us, broker_cpu_us = _cost(stands, sum(warm) / sum(share.records), sum(share.records))
    return row._replace(
        events=events,
        seconds=round(seconds, 3),
        events_per_second=round(events / seconds, 1),
        sha256=common.sha256,
        cpu_us_per_event=round(cpu_us, 3),
        broker_cpu_us_per_event=round(broker_cpu_us, 3),
        resident_mib=round(resident_mib, 1),
    )


async def _results(
    probe: Probe, system: System, job: Job, share: Share, before: Sequence[int]
) -> list[Written]:
    """Return what the system wrote, when as much of it can be read as is expected."""
    deadline = time.monotonic() + _VISIBLE_S_MAX
    while True:
        stop = await probe.ends(system.sink(), job.partitions)
        results = await read(job.broker, system.sink(), before, stop)
        if all(len(w.values) >= n for w, n in zip(results, share.outputs, strict=True)):
            return results
        if time.monotonic() > deadline:
            raise _WrongResultsError("results are missing")


async def _joined(probe: Probe, system: System, job: Job, running: Running) -> None:
    """Return when all its members are in the group and have settled."""
    deadline = time.monotonic() + _STALL_S_MAX
    while await probe.members(job.group) < system.processes:
        _must_run(running)
        if time.monotonic() > deadline:
            raise DipperError(f"its members did not join in {_STALL_S_MAX:.0f} s")
        await asyncio.sleep(_POLL_S)
    await asyncio.sleep(_SETTLE_S)


async def _publish(broker: str, topic: str, parts: Iterable[tuple[int, Sequence[Record]]]) -> None:
    async with Feeder(broker, topic) as feeder:
        for partition, records in parts:
            await feeder.publish(partition, records)


async def _until_done(
    probe: Probe, system: System, running: Running, job: Job, share: Share, before: Sequence[int]
) -> list[Stand]:
    """Return how it went until the share was done.

    Exactly once: until the group has committed it. At least once a result stands as soon as it is
    written, and some systems commit late: until there are as many results as the share has.
    Raises `DipperError` where it ends, stalls or is too slow.
    """

    def look(share_done: float) -> Stand:
        broker = family(job.broker_pid)
        return Stand(share_done, cpu_seconds(running.pids), cpu_seconds(broker))

    done: list[int] = []
    stands = [look(0.0)]
    began = moved = time.monotonic()
    wanted = share.records if system.guarantee == EOS else share.outputs
    while not done or any(at < count for at, count in zip(done, wanted, strict=True)):
        await asyncio.sleep(_POLL_S)
        _must_run(running)
        if system.guarantee == EOS:
            offsets = await probe.committed(job.group, EVENTS.name)
            now = [offsets.get(number, 0) for number in range(job.partitions)]
        else:
            stand = await probe.ends(system.sink(), job.partitions)
            now = [end - start for end, start in zip(stand, before, strict=True)]
        stall_s = _STALL_S_MAX if any(done) else _START_S_MAX
        if now != done:
            done, moved = now, time.monotonic()
        elif time.monotonic() - moved > stall_s:
            raise DipperError(f"nothing moved for {stall_s:.0f} s, at {done} of {wanted}")
        if time.monotonic() - began > _SYSTEM_S_MAX:
            raise DipperError(f"not done in {_SYSTEM_S_MAX:.0f} s, at {done} of {wanted}")
        stands.append(look(sum(map(min, now, wanted)) / sum(wanted)))
    return stands


def _must_run(running: Running) -> None:
    if (words := running.last_words()) is not None:
        raise DipperError(words)


def _rate(
    job: str, results: Sequence[Written], share: Share, warm: Sequence[float]
) -> tuple[int, float]:
    """Return events and seconds from the first `warm` records to the end, by the broker's clock."""
    progress = []
    for written, count in zip(results, share.outputs, strict=True):
        values = written.values[:count]
        at = range(1, count + 1) if job == THIN else [source_offset(v) + 1 for v in values]
        progress.append(list(zip(at, written.times_ms, strict=False)))
    warm_ms = max(
        next(time_ms for at, time_ms in steps if at >= records)
        for steps, records in zip(progress, warm, strict=True)
    )
    before = sum(max(at for at, time_ms in steps if time_ms <= warm_ms) for steps in progress)
    end_ms = max(steps[-1][1] for steps in progress)
    total = sum(steps[-1][0] for steps in progress)
    if end_ms <= warm_ms:
        raise DipperError("the log was too short to measure anything: take a larger one")
    return total - before, (end_ms - warm_ms) / 1_000


def _cost(stands: Sequence[Stand], warm: float, events: int) -> tuple[float, float]:
    """Return microseconds of processor time an event, of its processes and of the broker.

    They count from the last look at which no more than the share `warm` was done: in a run that is
    over within a few looks, start is among them.
    """
    first = max(each for each in stands if each.share <= warm)
    last = stands[-1]
    per_event = 1e6 / (events * (last.share - first.share))
    return (
        per_event * (last.cpu_s - first.cpu_s),
        per_event * (last.broker_cpu_s - first.broker_cpu_s),
    )


def faults(found: Sequence[Measured]) -> list[str]:
    """Return in a sentence each what must not be: wrong results, systems that differ, and dipper
    itself not having run.
    """
    said = [f"{each.system}, {each.job}: {each.failed}" for each in found
            if each.wrong or (each.failed and each.system == "dipper")]  # fmt: skip
    for job in (THIN, FULL):
        if len({each.sha256 for each in found if each.job == job and not each.failed}) > 1:
            said.append(f"{job}: systems differ in their results")
    return said


def ratio(found: Sequence[Measured], each: Measured) -> float:
    """Return how many times as fast dipper is, with the same guarantee where it was measured."""
    own = [other for other in found if (other.system, other.job) == ("dipper", each.job)]
    alike = [other for other in own if other.guarantee == each.guarantee] or own
    fastest = max((other.events_per_second for other in alike), default=0.0)
    return round(fastest / each.events_per_second, 2) if each.events_per_second else 0.0


def comparison(found: Sequence[Measured]) -> dict[str, Any]:
    """Return what `--summary json` prints."""
    systems: dict[str, dict[str, Any]] = {}
    for each in found:
        rows = systems.setdefault(f"{each.system}, {each.guarantee}", {})
        rows[each.job] = {
            "events_per_second": each.events_per_second,
            "dipper_to_it": ratio(found, each),
            "processes": each.processes,
            "cpu_us_per_event": each.cpu_us_per_event,
            "events": each.events,
            "sha256": each.sha256,
        } | ({"could_not_run": each.failed} if each.failed else {})
    return {"systems": systems, "hashes_agree": not faults(found), "partitions": PARTITIONS}


def table(found: Sequence[Measured]) -> Table:
    """Return the comparison for a terminal."""
    shown = Table(
        "job", "system", "guarantee", "processes", "events/s", "dipper to it", "hash",
        title="one Apache Kafka on the same machine, the same answers",
    )  # fmt: skip
    for each in found:
        rate = each.failed or f"{each.events_per_second:,.0f}"
        shown.add_row(
            each.job, each.system, each.guarantee, str(each.processes), rate,
            f"{ratio(found, each):.1f} ×", each.sha256[:12],
        )  # fmt: skip
    return shown
