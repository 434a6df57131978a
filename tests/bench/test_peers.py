"""The peers of `dipper bench peers` without a broker: their decisions are dipper's bytes."""

import asyncio
import sys

import numpy as np
import orjson
import pytest

from streams.bench.digest import Digest
from streams.bench.feed import Feeder, Probe, Written, read
from streams.bench.logs import FullLog, Share, ThinLog
from streams.bench.peers import (
    Measured,
    Scale,
    Stand,
    _cost,
    _rate,
    bench_peers,
    comparison,
    faults,
    ratio,
)
from streams.bench.prepare import make_step, prepare, run, signing_key
from streams.bench.systems import ALO, SYSTEMS, THIN, Job, System, chosen
from streams.bench.thin import ThinStep
from streams.bench.traffic import Record
from streams.bench.workload import Cohort, cohorts_for, is_request, opening
from streams.buffers import append_record
from streams.deployment import Deployment
from streams.errors import DipperError
from streams.limits import Limits
from streams.topology import OUT_DECISION
from tests.bench.peers.aiokafka_job import thin_job
from tests.bench.peers.batches import FullBatch
from tests.bench.peers.lender import Lender, new_person
from tests.conftest import Broker

PARTITIONS = 2
_TINY = {("dipper", "exactly once"), ("aiokafka", "at least once")}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Give the deployment of the benchmarks with a small model."""
    return prepare(tmp_path_factory.mktemp("config"), trees=10, leaves=7)


@pytest.fixture(scope="module")
def log(deployment: Deployment) -> list[Record]:
    """Give the first two cohorts of one partition, behind its grants and its tick."""
    head = opening(signing_key(deployment), deployment.caps, PARTITIONS)[0]
    rows: list[Record] = [(None, value) for value in head]
    for number in range(2):
        rows += Cohort(number, deployment.platform.decision_key).by_partition(PARTITIONS)[0]
    return rows


@pytest.fixture(scope="module")
def expected(deployment: Deployment, log: list[Record]) -> list[bytes]:
    """Give what the step decides."""
    return run(make_step(deployment, 0, PARTITIONS), log, 0, OUT_DECISION)


def test_the_log_is_the_traffic_it_says(log: list[Record], expected: list[bytes]) -> None:
    """One event in ten is a request; each gets one decision; approvals and declines both occur."""
    asked = sum(is_request(value) for _, value in log)
    assert len(expected) == asked
    assert 0.07 < asked / len(log) < 0.13
    outcomes = {orjson.loads(decision)["outcome"] for decision in expected}
    assert "approved" in outcomes
    assert len(outcomes) > 1


def test_plain_python_decides_the_same_bytes(
    deployment: Deployment, log: list[Record], expected: list[bytes]
) -> None:
    """One event at a time, with state that went through JSON as stores of peers do."""
    lender = Lender(deployment, 0, PARTITIONS)
    people: dict[bytes, bytes] = {}
    found = []
    for offset, (key, value) in enumerate(log):
        event = orjson.loads(value)
        if key is None:
            lender.control(event)
            continue
        person = orjson.loads(people[key]) if key in people else new_person()
        decision = lender.decide(event, offset, person)
        people[key] = orjson.dumps(person)
        found += [decision] if decision else []
    assert found == expected


@pytest.mark.parametrize("size", [7, 5_000])
def test_scoring_many_at_once_decides_the_same_bytes(
    deployment: Deployment, log: list[Record], expected: list[bytes], size: int
) -> None:
    """Whatever the batch, requests that wait for a score change nothing for those behind them."""
    job = FullBatch(Lender(deployment, 0, PARTITIONS))
    rows = [(key, offset, value) for offset, (key, value) in enumerate(log)]
    found: list[bytes] = []
    for start in range(0, len(rows), size):
        found += [value for _, value in job.run(rows[start : start + size])]
    assert Digest(found).hex == Digest(expected).hex
    assert sorted(found) == sorted(expected)


class _Record:
    def __init__(self, key: bytes | None, value: bytes) -> None:
        self.key, self.value = key, value


def test_thin_sums_are_the_same_bytes() -> None:
    """The kernel on dipper's pipe, plain Python and the log's own answers agree, in order."""
    log = ThinLog(1, [1_000, 3_000])
    rows: list[Record] = [record for _, part in log.parts() for record in part]
    plain = [value for _, value in thin_job()([_Record(*row) for row in rows])]
    limits = Limits(batch_rows=700)
    step = ThinStep(0, limits)
    found = []
    rows[1:1] = [(None, b"{}"), (None, b'{"k":"'), (b"a", b'{"k":"a","v":')]  # passed over
    for start in range(0, len(rows), 700):
        for offset, row in enumerate(rows[start : start + 700], start):
            assert append_record(step.batch, offset, *row)
        for out in step.run():
            for written in out.rows[: out.used[0]]:
                at, length = int(written["value_start"]), int(written["value_len"])
                found.append(out.data[at : at + length].tobytes())
    assert found == plain
    assert [Digest(found[:1_000]).hex, Digest(found).hex] == [each.sha256 for each in log.shares]


def test_the_log_says_what_to_expect_of_each_share(deployment: Deployment) -> None:
    """Sections are prefixes: what is expected of a longer share begins with the shorter one's."""
    log = FullLog(deployment, PARTITIONS, [1, 2])
    parts: list[list[Record]] = [[], []]
    for partition, records in log.parts():
        parts[partition] += records
    first, second = log.shares
    assert second.records == [len(part) for part in parts]
    assert all(a < b for a, b in zip(first.outputs, second.outputs, strict=True))
    assert first.sha256 != second.sha256


@pytest.mark.parametrize("events", [1, 1_850, 1_851, 74_000, 74_001, 500_000])
def test_enough_cohorts_are_taken(events: int) -> None:
    """The cohorts taken hold so many events, and one fewer would not."""
    keys = [bytes(16)] * cohorts_for(events)
    sizes = [Cohort(number, key).applicants * 37 for number, key in enumerate(keys)]
    assert sum(sizes) >= events
    assert len(sizes) == 1 or sum(sizes[:-1]) < events


@pytest.mark.parametrize("spoil", ["lost", "repeated", "changed"])
def test_a_digest_sees_what_differs_but_not_the_order(spoil: str) -> None:
    """Order does not count; a loss, a repeat or a changed byte does."""
    values = [b"a", b"b", b"c"]
    other = {"lost": values[:2], "repeated": [*values, b"c"], "changed": [b"a", b"b", b"d"]}[spoil]
    assert Digest(values).hex == Digest(reversed(values)).hex
    assert Digest(values).hex != Digest(other).hex


def test_a_rate_counts_from_where_it_is_warm() -> None:
    """Start and warm-up do not count: 1,000 results, 200 in an hour, the rest in 4 s."""
    times = [3_600_000] * 200 + list(np.linspace(3_600_005, 3_604_000, 800).astype(int))
    share = Share([1_000], [1_000], "")
    events, seconds = _rate(THIN, [Written([b""] * 1_000, times)], share, [200.0])
    assert (events, seconds) == (800, 4.0)


def test_ratios_compare_like_with_like() -> None:
    """Dipper's rate over the peer's, of the same guarantee where both were measured."""

    def row(system: str, guarantee: str, rate: float) -> Measured:
        return Measured(system, guarantee, THIN, 1, 1, 1.0, rate, "x")

    rows = [row("dipper", "at least once", 300.0), row("dipper", "exactly once", 200.0)]
    rows += [row("a", "at least once", 100.0), row("b", "exactly once", 400.0)]
    assert [ratio(rows, each) for each in rows] == [1.0, 1.0, 3.0, 0.5]
    assert comparison(rows)["systems"]["b, exactly once"][THIN]["dipper_to_it"] == 0.5


def test_an_unknown_system_is_refused_in_a_sentence() -> None:
    """The sentence says which name is not known."""
    with pytest.raises(DipperError, match="no such system: spark"):
        chosen("dipper,spark", small=False)


def _ends_at_once(code: str) -> System:
    def command(_: System, __: Job, ___: int) -> list[str]:
        return [sys.executable, "-c", code]

    return System("fragile", ALO, {THIN: 100}, 1, command)


def test_the_thin_job_on_apache_kafka(kafka_broker: Broker) -> None:
    """dipper, exactly once, and plain aiokafka add up the same log on a real Kafka, alike; a system
    that ends says why in its row, and takes nothing from the others.
    """
    systems = [system for system in SYSTEMS if (system.name, system.guarantee) in _TINY]
    systems[1:1] = [_ends_at_once("raise SystemExit('out of luck')")]
    first, failed, last = bench_peers(systems, Scale(0.1, 5, 7, 5_000), jobs=[THIN])
    assert failed.failed == "ended with 1: out of luck"
    assert [first.failed, last.failed] == ["", ""]
    assert first.sha256 == last.sha256
    assert first.events_per_second > 0
    assert last.events_per_second > 0
    assert faults([first, failed, last]) == []


def test_what_must_not_be_is_a_fault() -> None:
    """Wrong results, differing systems and a dipper that did not run are faults; a peer that could
    not run is none.
    """

    def row(system: str, sha256: str, failed: str = "", *, wrong: bool = False) -> Measured:
        rate = 0.0 if failed else 1.0
        return Measured(system, ALO, THIN, 1, 1, 1.0, rate, sha256, failed=failed, wrong=wrong)

    assert faults([row("dipper", "x"), row("a", "x"), row("b", "", "not installed")]) == []
    assert faults([row("dipper", "x"), row("a", "y")]) == ["thin: systems differ in their results"]
    assert faults([row("a", "", "missing", wrong=True)]) == ["a, thin: missing"]
    assert faults([row("dipper", "", "ended with 1")]) == ["dipper, thin: ended with 1"]


def test_the_cost_of_an_event_leaves_out_what_came_before_the_clock() -> None:
    """Processor time counts from the last look before half of the way; start is not in it."""
    stands = [Stand(0.0, 4, 1), Stand(0.4, 5, 2), Stand(0.7, 6.5, 2.5), Stand(1.0, 8, 3.2)]
    worker_us, broker_us = _cost(stands, 0.5, 1_000_000)
    assert (worker_us, broker_us) == pytest.approx((5.0, 2.0))
    assert _cost([stands[0], stands[-1]], 0.5, 1_000_000) == pytest.approx((4.0, 2.2))


@pytest.mark.asyncio
async def test_a_hidden_log_shows_at_once(kafka_broker: Broker) -> None:
    """Who reads what is committed sees nothing of a hidden log until it is shown, and then all."""
    topic = "hidden"
    records: list[Record] = [(b"k", b"%d" % number) for number in range(1_000)]
    async with Probe(kafka_broker.bootstrap) as probe:
        await probe.make_topics([topic], 1)
        async with Feeder(kafka_broker.bootstrap, topic, hidden=True) as feeder:
            await feeder.publish(0, records)
            assert await probe.ends(topic, 1) == [0]
            await feeder.show()
            await feeder.show()
            # The coordinator answers first and then marks the partition.
            while not (end := (await probe.ends(topic, 1))[0]):
                await asyncio.sleep(0.01)
        (written,) = await read(kafka_broker.bootstrap, topic, [0], [end])
        await probe.drop_topics([topic])
    assert written.values == [value for _, value in records]
