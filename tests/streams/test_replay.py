"""Replay: from any source, into files or frames, whatever the batches."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from streams.config import load_deployment
from streams.deployment import Deployment
from streams.errors import DipperError
from streams.replay import FILES, Progress, replay
from streams.schema import Refusal
from tests.deployment import make_deployment
from tests.streams.lives import LIMITS, write_lives


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """The example policies with small scorecards and small tables."""
    return load_deployment(make_deployment(tmp_path_factory.mktemp("config") / "d", LIMITS))


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory, deployment: Deployment) -> Path:
    """A history of requests, lines, loans and hostile input."""
    path = tmp_path_factory.mktemp("events") / "events.jsonl"
    write_lives(path, deployment)
    return path


def _dump(
    source: str | Path | pl.DataFrame,
    deployment: Deployment,
    folder: Path,
    partitions: int,
    rows: int,
) -> dict[str, bytes]:
    replay(source, deployment, partitions=partitions, dump=folder, batch_rows=rows)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("partitions", [1, 3])
def test_batch_edges_are_invisible(
    deployment: Deployment, events: Path, tmp_path: Path, partitions: int
) -> None:
    """Batches of 1, 7, 64 and 4,096 records give the same bytes on every output."""
    dumps = [
        _dump(events, deployment, tmp_path / f"{rows}", partitions, rows)
        for rows in (1, 7, 64, 4_096)
    ]
    assert len(dumps[0]) == 4 * partitions
    assert all(dumps[0].values())
    assert all(dump == dumps[0] for dump in dumps)


def test_sources_of_one_log_give_the_same_bytes(
    deployment: Deployment, events: Path, tmp_path: Path
) -> None:
    """A plain file, a compressed one, Parquet and a frame of the same lines cannot be told
    apart.
    """
    zipped = tmp_path / "events.jsonl.gz"
    zipped.write_bytes(gzip.compress(events.read_bytes()))
    frame = pl.DataFrame({"value": events.read_bytes().splitlines()})
    frame.write_parquet(tmp_path / "events.parquet")
    plain = _dump(events, deployment, tmp_path / "plain", 2, 0)
    others: list[Path | pl.DataFrame] = [zipped, tmp_path / "events.parquet", frame]
    for number, source in enumerate(others):
        assert _dump(source, deployment, tmp_path / f"{number}", 2, 0) == plain


def test_frames_and_files_say_the_same(
    deployment: Deployment, events: Path, tmp_path: Path
) -> None:
    """Frames from memory equal those from files; evidence stands behind each decision, in order."""
    seen: list[Progress] = []
    memory = replay(events, deployment, partitions=2, on_progress=seen.append)
    files = replay(events, deployment, partitions=2, out=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)
    for topic in range(len(FILES)):
        assert memory.read(topic) == files.read(topic)
    assert memory.written == files.written
    decisions = files.decisions
    assert decisions.equals(memory.decisions)
    assert decisions.height == memory.written[0] == memory.evidence.height
    assert decisions["id"].is_unique().all()
    assert memory.evidence["decision"].equals(decisions["id"], check_names=False)
    assert memory.evidence["outcome"].equals(decisions["outcome"], check_names=False)
    assert memory.evidence["request_amount_cents"].to_list() == [
        float(cents) for cents in memory.evidence["amount_cents"]
    ]
    assert memory.funding.height == memory.written[2]
    assert memory.dead_letters.height == memory.written[3]
    assert seen[-1] == Progress(memory.records, events.stat().st_size, events.stat().st_size)


def test_candidates_are_those_of_the_decisions(deployment: Deployment, events: Path) -> None:
    """Each candidate that a decision names stands in the evidence with the same words."""
    result = replay(events, deployment)
    named = result.decisions.select("id", "candidates").explode("candidates", empty_as_null=False)
    named = named.unnest("candidates")
    found = result.candidates
    assert found.height == named.height > 0
    for column in ("institution", "outcome", "reasons", "pd_ppm", "apr_bps"):
        assert found[column].to_list() == named[column].to_list()
    assert found.filter(pl.col("rules").list.len() > 0).height > 0


def test_the_history_has_everything_in_it(deployment: Deployment, events: Path) -> None:
    """The comparisons of this file are about something: draws, moves of money, many refusals."""
    result = replay(events, deployment)
    assert set(result.decisions["type"]) == {"application", "drawdown"}
    assert {"reserve", "draw", "release", "expire", "grant"} <= set(result.funding["type"])
    reasons = set(result.dead_letters["reason"])
    assert {"malformed", "unknown_product", "out_of_range", "too_long"} <= reasons
    assert reasons <= {code.name.lower() for code in Refusal}


def test_evidence_of_another_deployment_is_refused(
    deployment: Deployment, events: Path, tmp_path: Path
) -> None:
    """Bytes that are no whole rows under the deployment are one sentence, not a wrong frame."""
    replay(events, deployment, out=tmp_path)
    result = replay(events, deployment, out=tmp_path)
    path = tmp_path / FILES[1]
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DipperError, match="holds no record at byte"):
        _ = result.evidence


def test_a_file_without_an_event_is_one_sentence(deployment: Deployment, tmp_path: Path) -> None:
    """What is no log at all is refused with its first line; one event among junk is enough."""
    path = tmp_path / "README.md"
    path.write_text("# No log\n\nbut text\n")
    with pytest.raises(DipperError, match=r"README\.md holds no event: line 1 is no JSON"):
        replay(path, deployment)
    path.write_text('# No log\n{"type":"tick","at":1}\n')
    assert replay(path, deployment).dead_letters["reason"].to_list() == ["malformed"]
