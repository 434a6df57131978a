"""dipper and other systems side by side: the same log, the same Kafka, the same answers.

1. Both jobs get a Kafka of their own, and its log: a first section for the slowest system, further
   ones for faster systems.
2. Each system reads the log from its start with a group of its own, until its offsets are
   committed.
3. Its rate is taken from the broker's own times on its results, from half of the way on: neither
   start nor warm-up count.
4. Its results are compared, as a hash in which order does not count, with what is expected.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from streams.bench.cpu import cpu_seconds, family, resident_bytes
from streams.bench.digest import Digest
from streams.bench.feed import Feeder, Written, committed, ends, make_topics, members, read
from streams.bench.logs import FullLog, Log, Share, ThinLog, source_offset
from streams.bench.prepare import prepare
from streams.bench.systems import EOS, FULL, SYSTEMS, THIN, Job, Running, System, missing
from streams.bench.traffic import Record
from streams.bench.workload import cohorts_for
from streams.broker.kafka import KafkaBroker
from streams.broker.topics import ensure_topics
from streams.deployment import Deployment
from streams.errors import DipperError
from streams.topology import DECISIONS, EVENTS

PARTITIONS = 2
WARM_SHARE = 0.5  # of the log, before the clock starts: compilers of the JVM take their time
_STALL_S_MAX = 60.0
_POLL_S = 0.25
_SETTLE_S = 2.0  # a member that has joined still looks up its offsets and tables
_VISIBLE_S_MAX = 10.0


class Scale(NamedTuple):
    """How long each system is to be measured, and on how large a model."""

    seconds: float
    trees: int
    leaves: int
    events_min: int


SMALL = Scale(2.0, 50, 31, 1_850)
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
    cpu_us_per_event: float = 0.0  # of its processes, start and all
    broker_cpu_us_per_event: float = 0.0
    resident_mib: float = 0.0
    failed: str = ""  # why it could not run


class Cost(NamedTuple):
    """What a run took: processor time of the system's processes and of the broker, memory."""

    cpu_s: float
    broker_cpu_s: float
    resident_mib: float


def bench_peers(
    systems: Sequence[System] = SYSTEMS,
    scale: Scale = USUAL,
    on_stage: Callable[[str], None] = lambda _: None,
    jobs: Sequence[str] = (THIN, FULL),
) -> list[Measured]:
    """Measure; raise `DipperError` where a system's results are not the expected ones."""
    with tempfile.TemporaryDirectory(prefix="dipper-bench-") as name:
        folder = Path(name)
        on_stage("train the model")
        deployment = prepare(folder / "config", trees=scale.trees, leaves=scale.leaves)
        found = []
        for job in jobs:
            taking = [system for system in systems if job in system.rates]
            found += asyncio.run(_measure_job(job, taking, scale, deployment, folder, on_stage))
        _agree(found)
        return found


async def _measure_job(
    job: str,
    systems: Sequence[System],
    scale: Scale,
    deployment: Deployment,
    folder: Path,
    on_stage: Callable[[str], None],
) -> list[Measured]:
    lengths = {
        system.id: max(scale.events_min, int(scale.seconds * system.rates[job]))
        for system in systems
    }
    async with KafkaBroker() as broker:
        topics = {EVENTS.name, DECISIONS.name}
        topics |= {name for system in systems for name in (system.source, system.sink())}
        await make_topics(broker.bootstrap, topics, PARTITIONS)
        await ensure_topics(broker.bootstrap, PARTITIONS)
        log, which = _make_log(job, deployment, lengths)
        on_stage(f"{job}: make the log")
        async with Feeder(broker.bootstrap, EVENTS.name) as feeder:
            for partition, records in log.parts():
                await feeder.publish(partition, records)
        found = []
        for system in systems:
            on_stage(f"{job}: {system.name}, {system.guarantee}")
            group = f"{system.id}-{job}"
            asked = Job(
                job, broker.bootstrap, group, PARTITIONS, deployment.folder, folder, broker.pid
            )
            shares = log.shares[0], log.shares[which[system.id]]
            late = log.first if system.joins_first else ()
            assert not late or which[system.id] == 0
            found.append(await measure(system, asked, *shares, late=late))
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
    late: Sequence[Sequence[Record]] = (),
) -> Measured:
    """Run a system over `share` of the log, hold its results to what is expected, return its rate.

    The clock starts where `warm_up` ends, by default half of the way. `common` is the share
    whose results are hashed, to compare systems by. `late` is published, by partition, to a system
    that joins first.
    """
    about = (system.name, system.guarantee, job.name, system.processes)
    if why := missing(system):
        return Measured(*about, 0, 0.0, 0.0, "", failed=why)
    before = await ends(job.broker, system.sink(), job.partitions)
    with Running(system, job) as running:
        if late:
            await _publish_late(system, job, late)
        cost = await _until_done(system, running, job, share, before)
    if isinstance(cost, str):
        return Measured(*about, 0, 0.0, 0.0, "", failed=cost)
    deadline = time.monotonic() + _VISIBLE_S_MAX
    results = await read(job.broker, system.sink(), before)
    while any(len(w.values) < n for w, n in zip(results, share.outputs, strict=True)):
        if time.monotonic() > deadline:
            raise DipperError(f"{system.name}, {job.name}: results are missing")
        results = await read(job.broker, system.sink(), before)
    mine = Digest()
    first = Digest()
    for written, count, common_count in zip(results, share.outputs, common.outputs, strict=True):
        mine.add(written.values[:count])
        first.add(written.values[:common_count])
    if mine.hex != share.sha256 or first.hex != common.sha256:
        raise DipperError(f"{system.name}, {job.name}: the results are not those that are expected")
    warm = warm_up.records if warm_up else [WARM_SHARE * count for count in share.records]
    events, seconds = _rate(job.name, results, share, warm)
    records = sum(share.records)
    return Measured(
        *about, events, round(seconds, 3), round(events / seconds, 1), first.hex,
        round(1e6 * cost.cpu_s / records, 3), round(1e6 * cost.broker_cpu_s / records, 3),
        round(cost.resident_mib, 1),
    )  # fmt: skip


async def _publish_late(system: System, job: Job, late: Sequence[Sequence[Record]]) -> None:
    deadline = time.monotonic() + _STALL_S_MAX
    while await members(job.broker, job.group) < system.processes:
        if time.monotonic() > deadline:
            return  # then nothing comes, and that is said
        await asyncio.sleep(_POLL_S)
    await asyncio.sleep(_SETTLE_S)
    async with Feeder(job.broker, system.source) as feeder:
        for partition, records in enumerate(late):
            await feeder.publish(partition, records)


async def _until_done(
    system: System, running: Running, job: Job, share: Share, before: Sequence[int]
) -> Cost | str:
    """Return what it took until the share was done; else why it could not.

    Exactly once: until the group has committed it. At least once a result stands as soon as it is
    written, and some systems commit late: until there are as many results as the share has.
    """
    done: list[int] = []
    moved = time.monotonic()
    broker = cpu_seconds(family(job.broker_pid))
    wanted = share.records if system.guarantee == EOS else share.outputs
    while not done or any(at < count for at, count in zip(done, wanted, strict=True)):
        await asyncio.sleep(_POLL_S)
        if (words := running.last_words()) is not None:
            return words
        if system.guarantee == EOS:
            offsets = await committed(job.broker, job.group, EVENTS.name)
            now = [offsets.get(number, 0) for number in range(job.partitions)]
        else:
            stand = await ends(job.broker, system.sink(), job.partitions)
            now = [end - start for end, start in zip(stand, before, strict=True)]
        if now != done:
            done, moved = now, time.monotonic()
        elif time.monotonic() - moved > _STALL_S_MAX:
            return f"nothing moved for {_STALL_S_MAX:.0f} s, at {done} of {wanted}"
    pids = running.pids
    broker = cpu_seconds(family(job.broker_pid)) - broker
    return Cost(cpu_seconds(pids), broker, resident_bytes(pids) / (1 << 20))


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


def _agree(found: Sequence[Measured]) -> None:
    for job in (THIN, FULL):
        hashes = {each.sha256 for each in found if each.job == job and not each.failed}
        if len(hashes) > 1:
            raise DipperError(f"{job}: systems differ in their results")


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
    return {"systems": systems, "hashes_agree": True, "partitions": PARTITIONS}


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
