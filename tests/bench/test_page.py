"""docs/PERFORMANCE.md is what the results say, and the charts are drawn from the same figures."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from streams.bench import svg
from streams.bench.goals import GOALS
from streams.bench.page import draw, render, write_page
from streams.bench.results import Benchmark, benchmark, load, machine, save


def bench(name: str, *rows: dict[str, Any]) -> Benchmark:
    """Return a benchmark with these rows."""
    return benchmark(name, f"dipper bench {name}", rows, "ab" * 32, 12.3)


def peer(job: str, system: str, guarantee: str, rate: float, failed: str = "") -> dict[str, Any]:
    """Return a row of peers."""
    return {
        "job": job, "system": system, "guarantee": guarantee, "processes": 1, "failed": failed,
        "events_per_second": rate, "cpu_us_per_event": 2.0, "sha256": "x",
    }  # fmt: skip


def scaled(traffic: str, workers: int, partitions: int, rate: float) -> dict[str, Any]:
    """Return a row of scale."""
    return {
        "traffic": traffic, "workers": workers, "partitions": partitions, "failed": "",
        "events_per_second": rate, "cpu_us_per_event": 3.0, "broker_cpu_us_per_event": 1.0,
        "resident_mib": 500.0,
    }  # fmt: skip


@pytest.fixture
def runs() -> dict[str, Benchmark]:
    """Give results in which some goals are reached, some missed, one peer is faster, one failed."""
    late = {"events_per_second": 20_000, "requests": 9_000, "p50_ms": 5.0, "p90_ms": 9.0,
            "p99_ms": 16.0, "p99_9_ms": 30.0, "max_ms": 31.0, "late_ms_p99": 1.0, "fault": "",
            "curve": [(0.0, 2.0), (90.0, 9.0), (99.0, 16.0)]}  # fmt: skip
    return {
        "peers": bench(
            "peers",
            peer("thin", "dipper", "exactly once", 300_000.0),
            peer("thin", "Flink tuned", "exactly once", 600_000.0),
            peer("full", "dipper", "at least once", 200_000.0),
            peer("full", "Faust", "at least once", 1_000.0),
            peer("full", "Quix Streams", "at least once", 0.0, "quixstreams is not installed"),
        ),
        "latency": bench("latency", late),
        "scale": bench(
            "scale", scaled("mixed", 1, 1, 100_000.0), scaled("mixed", 1, 2, 180_000.0),
            scaled("requests", 1, 2, 90_000.0),
        ),
    }  # fmt: skip


def row_of(page: str, text: str) -> str:
    """Return the line of a table that begins so."""
    return next(line for line in page.splitlines() if line.startswith(f"| {text}"))


def test_goals_say_reached_or_missed(runs: dict[str, Benchmark]) -> None:
    """Each goal has its row, with the figure of the run and what follows from it."""
    page = render(runs)
    assert "| 5 ms | reached |" in row_of(page, "event to visible decision at 20,000/s, p50")
    assert "| 16 ms | **missed** |" in row_of(page, "event to visible decision at 20,000/s, p99")
    assert "| 200 × | reached |" in row_of(page, "same decisions, to Faust")
    assert "| 0.50 × | **missed** |" in row_of(page, "thin job, to Apache Flink tuned")
    assert "not measured in this run" in row_of(page, "replay, mixed")
    assert all(row_of(page, goal.what) for goal in GOALS)


def test_a_faster_peer_is_named(runs: dict[str, Benchmark]) -> None:
    """Where a peer is faster the page says so, and a peer that could not run is not left out."""
    page = render(runs)
    assert "**Faster than dipper here: Flink tuned, exactly once (2.00 × dipper).**" in page
    assert "could not run: quixstreams is not installed" in page


def test_a_rate_that_is_not_sustained_is_said(runs: dict[str, Benchmark]) -> None:
    """The page names the rate and why its figure is none of delays."""
    row = dict(runs["latency"].figures[0]) | {"fault": "not sustained: 99 decisions behind"}
    page = render(runs | {"latency": bench("latency", row)})
    assert "**At 20,000 events/s**: not sustained: 99 decisions behind." in page
    assert "not sustained" not in render(runs)


def test_nothing_measured_is_said(tmp_path: Path) -> None:
    """Without results every part says that it was not measured."""
    page = render({})
    assert page.count("Not measured in this run.") == 3
    assert draw({}) == {}


def test_the_page_and_its_charts_are_written(runs: dict[str, Benchmark], tmp_path: Path) -> None:
    """Every chart that the page shows is a file beside it, and is XML."""
    for run in runs.values():
        save(run, tmp_path / "results")
    write_page(load(tmp_path / "results"), tmp_path / "docs" / "PERFORMANCE.md")
    page = (tmp_path / "docs" / "PERFORMANCE.md").read_text()
    charts = sorted(path.name for path in (tmp_path / "docs" / "performance").iterdir())
    assert charts == ["latency.svg", "peers-full.svg", "peers-thin.svg", "scale.svg"]
    for name in charts:
        assert f"(performance/{name})" in page
        ET.parse(tmp_path / "docs" / "performance" / name)


def test_nothing_says_where_it_ran() -> None:
    """Machine facts hold neither a host's name nor a path."""
    import platform

    told = " ".join(machine().values())
    assert platform.node() not in told
    assert "/work" not in told


@pytest.mark.parametrize(
    ("axis", "value", "share"),
    [
        (svg.Axis("x", 0, 10), 5, 0.5),
        (svg.Axis("x", 1, 100, log=True), 10, 0.5),
        (svg.Axis("x", 1, 100, log=True), 0, 0.0),
    ],
)
def test_values_stand_where_the_axis_says(axis: svg.Axis, value: float, share: float) -> None:
    """A linear axis shares by value, a logarithmic one by its logarithm."""
    assert axis.share(value) == pytest.approx(share)
