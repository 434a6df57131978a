"""Metrics, scraped as Prometheus does."""

import socket
import urllib.request

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from monitoring.catalogue import catalogue
from monitoring.collector import PartitionStatus, StepCollector
from monitoring.endpoint import serve_metrics
from streams import counters
from streams.errors import DipperError

_INSTITUTIONS = ("dawn", "north")


def _scrape(port: int) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_scrape_shows_every_slot_of_every_partition() -> None:
    """Each slot of the step's array is one sample with its own labels, read when asked for."""
    size = counters.size(len(_INSTITUTIONS))
    counts = [np.arange(size, dtype=np.int64) + 1_000 * n for n in range(2)]
    held = [PartitionStatus(n, 70 + n, 60 + n, n == 1, counts[n]) for n in range(2)]
    with serve_metrics(StepCollector(_INSTITUTIONS, lambda: held), 0) as port:
        first = _scrape(port)
        counts[1][0] += 5
        second = _scrape(port)
    for family in counters.layout(_INSTITUTIONS):
        for slot, value in enumerate(family.values, family.start):
            for n in range(2):
                labels = {"partition": str(n)} | ({family.label: value} if family.label else {})
                key = (f"dipper_{family.name}_total", tuple(sorted(labels.items())))
                assert first[key] == slot + 1_000 * n
    assert first["dipper_partition_offset", (("partition", "1"),)] == 71
    assert first["dipper_partition_committed_offset", (("partition", "0"),)] == 60
    assert first["dipper_partition_ready", (("partition", "0"),)] == 0
    assert first["dipper_partition_ready", (("partition", "1"),)] == 1
    changed = {key for key in first if first[key] != second[key]}
    assert {dict(labels)["partition"] for _, labels in changed} == {"1"}
    assert len(changed) == 1


def test_the_catalogue_names_what_a_scrape_shows() -> None:
    """Names, kinds and labels of a scrape are those of the catalogue, no more and no fewer."""
    counts = np.zeros(counters.size(len(_INSTITUTIONS)), np.int64)
    held = [PartitionStatus(0, 0, 0, True, counts)]
    with serve_metrics(StepCollector(_INSTITUTIONS, lambda: held), 0) as port:
        shown = {(name, tuple(key for key, _ in labels)) for name, labels in _scrape(port)}
    named = {(m.name, tuple(sorted(m.labels))) for m in catalogue(_INSTITUTIONS)}
    assert shown == named


def test_a_taken_port_is_a_sentence() -> None:
    """A port that another program has is named, with the option that changes it."""
    collector = StepCollector(_INSTITUTIONS, list)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(DipperError, match=rf"{port}.*--metrics-port"),
            serve_metrics(collector, port),
        ):
            pytest.fail("two programs on one port")
