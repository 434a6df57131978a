"""Metrics, scraped as Prometheus does."""

import socket
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from monitoring import metrics
from monitoring.collector import PartitionStatus, WorkerCollector
from monitoring.endpoint import Health, serve_metrics
from monitoring.meter import WorkerMeter
from monitoring.text import render
from streams import counters
from streams.counters import Dimensions
from streams.errors import DipperError
from streams.limits import Limits
from streams.state.tables import make_state
from streams.topology import STAGES

_NAMES = Dimensions(("dawn", "north"), ("cash",), ("app", "web"), ("score", "age"))
_INFO = {"version": "1", "manifest": "ab"}
_SMALL = Limits(applicants=64, pages=64, ids=64, lines=8, loans=8, dues=8, offers=8, timers=32)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def _read(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def _get(port: int, path: str = "/metrics") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
        return str(answer.read().decode())


def _collector(names: Dimensions, partitions: int) -> tuple[WorkerCollector, WorkerMeter]:
    size = counters.size(names)
    meter = WorkerMeter()
    held = []
    for number in range(partitions):
        state = make_state(_SMALL, len(names.institutions), number, partitions, size)
        meter.begin(number, state.counters, 0.2, kept=False)
        held.append(PartitionStatus(number, 70 + number, 60 + number, 90, number == 1, state))
    segments = [(names.institutions[0], "outstanding_day")]
    return WorkerCollector(names, meter, lambda: held, lambda: _INFO, segments), meter


def test_a_scrape_shows_every_slot_under_its_own_labels() -> None:
    """Each counter is one sample with its own labels; a histogram's buckets add up to its count."""
    collector, meter = _collector(_NAMES, 2)
    size = counters.size(_NAMES)
    meter.commit(1, np.arange(size, dtype=np.int64), 10, 0.001, 0.002)
    with serve_metrics(collector, 0) as port:
        found = _read(_get(port))
    for family in counters.layout(_NAMES):
        metric = metrics.step_metric(family)
        for place, values in enumerate(family.values):
            labels = tuple(sorted(zip(family.labels, values, strict=True)))
            first = family.start + place * family.slots_each
            if family.edges:
                buckets = range(first, first + len(family.edges) + 1)
                assert found[f"{metric.name}_count", labels] == sum(buckets)
                assert found[f"{metric.name}_sum", labels] == (buckets.stop) / family.scale
            elif first > 0 or len(labels) < 3:
                assert found[metric.name, labels] == first
    assert found["dipper_partition_offset", (("partition", "1"),)] == 71
    assert found["dipper_partition_lag_records", (("partition", "0"),)] == 30
    assert found["dipper_partition_ready", (("partition", "0"),)] == 0
    assert found["dipper_record_seconds_bucket", (("le", "0.004"),)] == 10


def test_the_catalogue_names_what_a_scrape_shows() -> None:
    """Names and labels of a scrape are those of the catalogue, no more and no fewer; each metric
    has the unit its kind asks for, and a stage that there is.
    """
    collector, meter = _collector(_NAMES, 1)
    meter.commit(0, np.ones(counters.size(_NAMES), np.int64), 1, 0.0, 0.0)
    registry = CollectorRegistry()
    registry.register(collector)
    shown = {
        (name, tuple(key for key, _ in labels))
        for name, labels in _read(generate_latest(registry).decode())
    }
    named = set()
    for metric in (*metrics.step_metrics(), *metrics.DOOR_METRICS):
        labels = tuple(sorted(metric.labels))
        if metric.kind == "histogram":
            named |= {(f"{metric.name}_{end}", labels) for end in ("sum", "count")}
            named.add((f"{metric.name}_bucket", tuple(sorted((*labels, "le")))))
        else:
            named.add((metric.name, labels))
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert metric.stage in {"", *(stage.name for stage in STAGES)}
    assert shown == named


def test_counters_never_fall_when_partitions_move() -> None:
    """What a worker did adds up over partitions that come and go; what another one did, what was
    folded and what was not committed does not count.
    """
    size = counters.size(_NAMES)
    meter = WorkerMeter()
    mine = np.full(size, 1_000, np.int64)
    meter.begin(0, mine, 0.1, kept=False)
    assert not meter.totals.any()
    mine += 5
    meter.commit(0, mine, 5, 0.0, 0.0)
    mine += 7  # decided, written, and the partition lost before the commit was heard of
    meter.begin(0, mine, 0.0, kept=True)
    assert set(meter.totals.tolist()) == {12}
    meter.begin(0, np.full(size, 9_000, np.int64), 0.1, kept=False)  # back from another worker
    other = np.full(size, 50, np.int64)
    meter.begin(3, other, 0.1, kept=False)
    other += 1
    meter.commit(3, other, 1, 0.0, 0.0)
    assert set(meter.totals.tolist()) == {13}


def test_a_label_from_outside_is_escaped() -> None:
    """A name with quotes, line ends and backslashes comes back from a scrape as it was, and the
    scrape says what the client library's own writer says.
    """
    odd = 'a"b\\c\nd{e="f"} 1'
    collector, _ = _collector(Dimensions((odd,), (odd,), ("app",), ()), 1)
    with serve_metrics(collector, 0) as port:
        found = _read(_get(port))
    assert found["dipper_approved_total", (("institution", odd),)] == 0
    registry = CollectorRegistry()
    registry.register(collector)
    said = _read(generate_latest(registry).decode())
    assert said == _read(render(registry.collect()).decode())
    assert len(said) > 100


def test_a_scrape_of_100_institutions_takes_less_than_50_ms() -> None:
    """With 100 institutions, 16 partitions, 10 products and 10 channels a scrape stays short."""
    many = Dimensions(
        tuple(f"institution-{n}" for n in range(100)), tuple(f"product-{n}" for n in range(10)),
        tuple(f"channel-{n}" for n in range(10)), tuple(f"reason-{n}" for n in range(64)),
    )  # fmt: skip
    collector, _ = _collector(many, 16)
    took = []
    for _ in range(5):
        began = time.thread_time()  # of this thread: other tests run beside it
        text = render(collector.collect())
        took.append(time.thread_time() - began)
    assert text.count(b"\n") > 3_000
    print(f"a scrape of {text.count(bytes([10]))} lines: {min(took) * 1_000:.1f} ms")
    assert min(took) < 0.05


def test_health_says_why_not() -> None:
    """/healthz and /readyz answer 200 or 503 with the reason; other paths are 404."""
    collector, _ = _collector(_NAMES, 1)
    health = Health(lambda: None, lambda: "partition 3 recovers")
    with serve_metrics(collector, 0, health=health) as port:
        assert _get(port, "/healthz") == "ok\n"
        for path, code, said in (("/readyz", 503, "partition 3 recovers\n"), ("/x", 404, "/met")):
            with pytest.raises(urllib.error.HTTPError) as told:
                _get(port, path)
            assert told.value.code == code
            assert told.value.read().decode().startswith(said)
            told.value.close()


def test_a_taken_port_is_a_sentence() -> None:
    """A port that another program has is named, with the option that changes it."""
    collector, _ = _collector(_NAMES, 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(DipperError, match=rf"{port}.*--metrics-port"),
            serve_metrics(collector, port),
        ):
            pytest.fail("two programs on one port")
