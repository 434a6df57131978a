"""From an event's due time to its decision before a `read_committed` reader, under open-loop load.

1. A population with history and lines stands in the log, and the worker has caught up.
2. Traffic is made beforehand: bursts of records, one every millisecond, each with its due time.
3. Bursts are sent when they are due, whether or not decisions come, all of 5 ms in one batch: what
   stalls makes those behind it late, and that counts; so does the wait for the batch.
4. A reader notes when each decision is visible; times go into an HdrHistogram, to three digits.
5. The decisions are compared with what the step decides without Kafka.

One partition: on two cores a second one adds transactions, which cost the broker as much as the
first one's, and nothing that can be used. Where the load itself came late, or decisions were far
behind when it ended, the rate is not one that this machine sustains, and its row says so.
"""

import asyncio
import gc
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

from streams.bench.cpu import cpu_seconds, family
from streams.bench.digest import Digest
from streams.bench.feed import Feeder, Probe
from streams.bench.prepare import make_step, prepare, run, signing_key
from streams.bench.systems import EOS, FULL, Job, Running, dipper
from streams.bench.traffic import Record
from streams.bench.workload import Population, is_request, opening
from streams.broker.client import make_consumer, make_producer, stop_client
from streams.broker.kafka import KafkaBroker
from streams.broker.topics import ensure_topics
from streams.codec.hashing import partition_of_key
from streams.deployment import Deployment
from streams.errors import DipperError
from streams.step import Step
from streams.topology import DECISIONS, EVENTS, OUT_DECISION

RATES = (5_000, 20_000, 50_000)  # events a second, one in ten a request
PARTITIONS = 1
BURST_S = 0.001
_BATCH_BYTES = 128 * 1024  # half of what a batch takes
WARM_S = 1.0  # of each rate: not counted
# Before the first rate: rounds at the highest one, until the compilers of the broker's JVM are done
# and a round costs it about what the last one did.
_WARM_UP_S = 6.0
_WARM_UP_ROUNDS_MAX = 12
_SETTLED = 0.95
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9, "max": 100.0}
DRAIN_S_MAX = 0.25  # after the last event; more is a backlog, not a delay
LOAD_LATE_SHARE_MAX = 0.3  # of the p99: beyond it the load would be measured, not the system
_HISTOGRAM_US_MAX = 120_000_000
_DIGITS = 3
_LATE_S_MAX = 60.0
_CATCH_UP_S_MAX = 120.0
LINGER_S = 0.005  # how long a batch of the load waits for more, as is usual for producers


class Latency(NamedTuple):
    """One rate; times in milliseconds from due to visible, `late_ms_p99` from due to sent."""

    events_per_second: int
    requests: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p99_9_ms: float
    max_ms: float
    late_ms_p99: float
    behind: int  # decisions that were not visible when the last event was due
    drained_s: float  # from then until the last one was
    fault: str  # why the rate was not sustained, "" where it was
    histogram: str  # HdrHistogram V2, compressed, base64; microseconds
    sha256: str
    curve: list[tuple[float, float]]  # percentile, milliseconds


class Burst(NamedTuple):
    """What is due at once: records by partition, and the ids of the requests among them."""

    due_s: float  # since the start of its rate
    parts: list[list[Record]]
    requests: list[bytes]


def make_bursts(
    records: Sequence[Record], rate: int, partitions: int, burst_s: float = BURST_S
) -> list[Burst]:
    """Cut records into bursts such that `rate` of them are due each second."""
    per_burst = rate * burst_s
    found = []
    for number in range(round(len(records) / per_burst)):
        part = records[round(number * per_burst) : round((number + 1) * per_burst)]
        parts: list[list[Record]] = [[] for _ in range(partitions)]
        requests = []
        for key, value in part:
            assert key is not None
            parts[partition_of_key(key, partitions)].append((key, value))
            if is_request(value):
                requests.append(request_id(value, b'"id":"'))
        found.append(Burst(number * burst_s, parts, requests))
    return found


def request_id(value: bytes, name: bytes = b'"request":"') -> bytes:
    """Return the id of a request in its decision (or, by `"id":"`, in itself)."""
    start = value.index(name) + len(name)
    return value[start : value.index(b'"', start)]


def make_histogram(seconds: NDArray[np.float64]) -> HdrHistogram:
    """Return the times as a histogram of microseconds."""
    histogram = HdrHistogram(1, _HISTOGRAM_US_MAX, _DIGITS)
    for value in np.clip(seconds * 1e6, 1, _HISTOGRAM_US_MAX).astype(np.int64).tolist():
        histogram.record_value(value)
    return histogram


def percentiles(histogram: HdrHistogram) -> dict[str, float]:
    """Return the named percentiles in milliseconds."""
    return {
        f"{name}_ms": round(histogram.get_value_at_percentile(share) / 1_000, 2)
        for name, share in PERCENTILES.items()
    }


def curve(histogram: HdrHistogram) -> list[tuple[float, float]]:
    """Return (percentile, milliseconds) for a chart: closer to 100 as far as samples reach."""
    shares = [1 - 10 ** (-step / 5) for step in range(26)]
    kept = [100 * share for share in shares if (1 - share) * histogram.get_total_count() >= 1]
    return [(share, histogram.get_value_at_percentile(share) / 1_000) for share in kept]


def fault_of(behind: int, drained_s: float, late_ms_p99: float, p99_ms: float) -> str:
    """Return in a sentence why a rate was not sustained, "" where it was.

    A batch of the load waits for the answer to the one before, so a busy broker makes it late too:
    that is part of the latency, and no fault where it is a small part.
    """
    if drained_s > DRAIN_S_MAX:
        return f"not sustained: {behind:,} decisions behind at the end, for {drained_s:.1f} s"
    if late_ms_p99 > LOAD_LATE_SHARE_MAX * p99_ms:
        return f"the load itself was late, by {late_ms_p99:.0f} ms (p99): the machine was too busy"
    return ""


def bench_latency(
    rates: Sequence[int] = RATES,
    seconds: float = 10.0,
    applicants: int = 6_000,
    on_stage: Callable[[str], None] = lambda _: None,
) -> list[Latency]:
    """Measure each rate; raise `DipperError` where a decision is missing or not the expected."""
    with tempfile.TemporaryDirectory(prefix="dipper-bench-") as name:
        on_stage("train the model")
        deployment = prepare(Path(name) / "config")
        bench = _Bench(deployment, Path(name), Population(applicants), on_stage)
        return asyncio.run(bench.run(rates, seconds))


class _Bench:
    def __init__(
        self,
        deployment: Deployment,
        folder: Path,
        people: Population,
        on_stage: Callable[[str], None],
    ) -> None:
        self._deployment, self._folder, self._people = deployment, folder, people
        self._on_stage = on_stage
        self._steps = [make_step(deployment, number, PARTITIONS) for number in range(PARTITIONS)]
        self._offsets = [0] * PARTITIONS

    async def run(self, rates: Sequence[int], seconds: float) -> list[Latency]:
        deployment, key = self._deployment, self._deployment.platform.decision_key
        async with KafkaBroker() as broker:
            async with Probe(broker.bootstrap) as probe:
                await probe.make_topics([EVENTS.name, DECISIONS.name], PARTITIONS)
            await ensure_topics(broker.bootstrap, PARTITIONS)
            self._on_stage("population")
            head = opening(signing_key(deployment), deployment.caps, PARTITIONS)
            parts: list[list[Record]] = [[(None, value) for value in part] for part in head]
            for record in self._people.setting(key):
                assert record[0] is not None
                parts[partition_of_key(record[0], PARTITIONS)].append(record)
            async with Feeder(broker.bootstrap, EVENTS.name) as feeder:
                for partition, records in enumerate(parts):
                    await feeder.publish(partition, records)
                    self._expect(partition, records)
            job = Job(
                FULL, broker.bootstrap, "latency", PARTITIONS, deployment.folder, self._folder,
                broker.pid,
            )  # fmt: skip
            with Running(dipper(EOS), job) as worker:
                self._on_stage("the worker catches up")
                await self._caught_up(worker, job)
                await self._warm_up(worker, job, max(rates))
                return [await self._one(worker, job, rate, seconds) for rate in rates]

    def _expect(self, partition: int, records: Sequence[Record]) -> list[bytes]:
        step: Step = self._steps[partition]
        found = run(step, records, self._offsets[partition], OUT_DECISION)
        self._offsets[partition] += len(records)
        return found

    async def _caught_up(self, worker: Running, job: Job) -> None:
        deadline = time.monotonic() + _CATCH_UP_S_MAX
        async with Probe(job.broker) as probe:
            while True:
                if (words := worker.last_words()) is not None:
                    raise DipperError(f"the worker ended: {words}")
                done = await probe.committed(job.group, EVENTS.name)
                if all(done.get(n, 0) >= end for n, end in enumerate(self._offsets)):
                    return
                if time.monotonic() > deadline:
                    raise DipperError(f"the worker did not catch up in {_CATCH_UP_S_MAX:.0f} s")
                await asyncio.sleep(0.1)

    async def _warm_up(self, worker: Running, job: Job, rate: int) -> None:
        before_s = math.inf
        for _ in range(_WARM_UP_ROUNDS_MAX):
            began_s = cpu_seconds(family(job.broker_pid))
            await self._one(worker, job, rate, _WARM_UP_S)
            taken_s = cpu_seconds(family(job.broker_pid)) - began_s
            if taken_s > _SETTLED * before_s:
                return
            before_s = taken_s

    async def _one(self, worker: Running, job: Job, rate: int, seconds: float) -> Latency:
        self._on_stage(f"{rate:,} a second: make the load")
        records = list(self._people.traffic(round(rate * seconds)))
        bursts = make_bursts(records, rate, PARTITIONS)
        expected = Digest()
        for partition in range(PARTITIONS):
            rows = [row for burst in bursts for row in burst.parts[partition]]
            expected.add(self._expect(partition, rows))
        self._on_stage(f"{rate:,} a second: measure")
        seen, late = await _drive(job.broker, bursts, expected.count)
        if (words := worker.last_words()) is not None:
            raise DipperError(f"the worker ended: {words}")
        found = Digest(value for value, _ in seen)
        if found.hex != expected.hex:
            raise DipperError(
                f"at {rate:,} a second {found.count} decisions came that are not the "
                f"{expected.count} expected ones"
            )
        due = {name: burst.due_s for burst in bursts for name in burst.requests}
        pairs = [(due[request_id(value)], at) for value, at in seen]
        samples = np.array([at - at_due for at_due, at in pairs if at_due >= WARM_S])
        histogram = make_histogram(samples)
        end_s = bursts[-1].due_s
        behind = sum(at > end_s for _, at in pairs)
        drained_s = max(0.0, max(at for _, at in pairs) - end_s)
        late_ms = float(np.percentile(np.array(late), 99)) * 1_000
        found_ms = percentiles(histogram)
        return Latency(
            events_per_second=rate, requests=len(samples), **found_ms,
            late_ms_p99=round(late_ms, 2), behind=behind, drained_s=round(drained_s, 3),
            fault=fault_of(behind, drained_s, late_ms, found_ms["p99_ms"]),
            histogram=histogram.encode().decode(), sha256=found.hex, curve=curve(histogram),
        )  # fmt: skip


async def _drive(
    bootstrap: str, bursts: Sequence[Burst], expected: int
) -> tuple[list[tuple[bytes, float]], list[float]]:
    """Send the bursts on schedule; return each decision with when it came (seconds since the first
    was due), and how late each burst was sent.
    """
    producer = make_producer(bootstrap, "kafka")
    consumer = make_consumer(bootstrap)
    await producer.start()
    await consumer.start()
    try:
        where = [TopicPartition(DECISIONS.name, number) for number in range(PARTITIONS)]
        consumer.assign(where)
        await consumer.seek_to_end(*where)
        for each in where:
            await consumer.position(each)
        gc.collect()
        gc.freeze()
        gc.disable()
        begin = time.perf_counter() + 0.2
        reading = asyncio.create_task(_read(consumer, where, begin, expected))
        sending = (_send(producer, bursts, number, begin) for number in range(PARTITIONS))
        late = [seconds for part in await asyncio.gather(*sending) for seconds in part]
        seen = await asyncio.wait_for(reading, _LATE_S_MAX)
    except TimeoutError as error:
        message = f"decisions were still missing {_LATE_S_MAX:.0f} s after the last event"
        raise DipperError(message) from error
    finally:
        gc.enable()
        gc.unfreeze()
        await stop_client(consumer)
        await stop_client(producer)
    return seen, late


async def _send(
    producer: AIOKafkaProducer, bursts: Sequence[Burst], partition: int, begin: float
) -> list[float]:
    """Send a partition's records, all that are due in one batch; return how late each burst was.

    Taking a batch, the producer waits until the one before is on its way; what falls due meanwhile
    goes with the next, as in any producer that batches.
    """
    late: list[float] = []
    sent: list[asyncio.Future[Any]] = []
    at = 0
    while at < len(bursts):
        if (wait := begin + bursts[at].due_s + LINGER_S - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        batch, first, now = producer.create_batch(), at, time.perf_counter() - begin
        while at < len(bursts) and bursts[at].due_s <= now and batch.size() < _BATCH_BYTES:
            for key, value in bursts[at].parts[partition]:
                added = batch.append(key=key, value=value, timestamp=None)
                assert added is not None, "a burst is small, and the batch was not half full"
            at += 1
        if batch.record_count():
            sent.append(await producer.send_batch(batch, EVENTS.name, partition=partition))
        now = time.perf_counter() - begin
        late += [now - burst.due_s for burst in bursts[first:at]]
    await asyncio.gather(*sent)
    return late


async def _read(
    consumer: AIOKafkaConsumer, where: Sequence[TopicPartition], begin: float, expected: int
) -> list[tuple[bytes, float]]:
    seen: list[tuple[bytes, float]] = []
    while len(seen) < expected:
        found = await consumer.getmany(*where, timeout_ms=100)
        at = time.perf_counter() - begin
        for records in found.values():
            seen += [(record.value, at) for record in records]
    return seen
