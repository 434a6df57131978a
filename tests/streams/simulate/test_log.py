"""A simulated log on disk: ticks in place, labels beside it, same bytes every time."""

import gzip
from pathlib import Path

import orjson
import polars as pl
from typer.testing import CliRunner

from streams.limits import AHEAD_MS_MAX, LATE_MS_MAX
from streams.simulate.log import TICK_MS, truth_path, write_log
from streams.simulate.world import WorldConfig

START = 1_767_225_600_000
CONFIG = WorldConfig(
    applicants=300,
    rate_per_second=0.02,
    request_share=0.1,
    hostile_share=0.02,
    closed_loop=False,
    for_file=True,
)


def test_file_and_labels(tmp_path: Path) -> None:
    """Each request has one label, known after it, and each tick covers its hour's events."""
    out, labels = tmp_path / "events.jsonl.gz", tmp_path / "labels.csv"
    written = write_log(CONFIG, START, 2, out, labels)
    tick, requests = 0, {}
    lines = gzip.decompress(out.read_bytes()).splitlines()
    assert len(lines) == written.events + written.ticks
    honest = 0
    for line in lines:
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if not isinstance(event, dict) or str(event.get("id", "h")).startswith(("h", "i", "m")):
            tick = event["at"] if isinstance(event, dict) and event["type"] == "tick" else tick
            continue
        honest += 1
        assert tick - LATE_MS_MAX < tick - TICK_MS <= event["at"] <= tick + AHEAD_MS_MAX
        if event["type"] == "application":
            requests[event["applicant"], event["id"]] = event["at"]
    assert honest >= written.events - written.hostile
    table = pl.read_csv(labels)
    assert table.columns == ["applicant", "id", "bad", "known_at"]
    assert table.height == written.requests == len(requests)
    for applicant, id, _, known_at in table.iter_rows():
        assert known_at > requests[applicant, id]
    truth = pl.read_csv(truth_path(labels))
    assert truth.drop("true_pd").equals(table)
    assert truth["true_pd"].is_between(0, 1).all()


def test_same_bytes_plain_or_compressed(tmp_path: Path) -> None:
    """A run repeats byte for byte, also in its compressed form."""
    for name in ("a.jsonl", "b.jsonl", "a.jsonl.gz", "b.jsonl.gz"):
        write_log(CONFIG, START, 0.5, tmp_path / name)
    plain = (tmp_path / "a.jsonl").read_bytes()
    assert plain == (tmp_path / "b.jsonl").read_bytes()
    packed = (tmp_path / "a.jsonl.gz").read_bytes()
    assert packed == (tmp_path / "b.jsonl.gz").read_bytes()
    assert gzip.decompress(packed) == plain


def test_command(tmp_path: Path) -> None:
    """`dipper simulate` writes events and labels, and refuses a folder that is not there."""
    from streams.cli import app
    from streams.errors import DipperError

    out, labels = tmp_path / "e.jsonl", tmp_path / "l.csv"
    arguments = ["simulate", "--labels", str(labels), "--applicants", "50", "--days", "1"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert out.stat().st_size > 1_000
    assert pl.read_csv(labels).height > 0
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "no" / "e.jsonl")])
    assert isinstance(result.exception, DipperError)
