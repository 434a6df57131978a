"""`dipper bench start | memory | replay | recover` at a small size."""

from pathlib import Path

import pytest

from streams.bench.memory import bench_memory
from streams.bench.recover import bench_recover
from streams.bench.replayed import bench_replay
from tests.tidy.source import ROOT

EXAMPLE = ROOT / "examples" / "policies"


@pytest.mark.timeout(600)
def test_a_replay_decides_every_request_and_alike() -> None:
    """Each request of the simulated history has its decision, and twice the same bytes."""
    first, again = (bench_replay(EXAMPLE, 2_000) for _ in range(2))
    assert first.requests > 100
    assert first.events_per_second > 0
    assert first.sha256 == again.sha256


@pytest.mark.timeout(600)
def test_more_memory_is_reserved_than_one_applicant_uses(tmp_path: Path) -> None:
    """An applicant with 20 recent events uses its rows, and has more than that set aside."""
    found = bench_memory(tmp_path)
    assert 500 < found.state_bytes_per_applicant < found.reserved_bytes_per_applicant < 10_000


def test_what_recovery_loads_is_what_was_written(tmp_path: Path) -> None:
    """The measured way gives the state back bit for bit, and its image grows with applicants."""
    few, more = (bench_recover(tmp_path / str(n), n) for n in (1_000, 20_000))
    assert few.image_bytes < more.image_bytes
    assert more.load_cpu_s > 0
