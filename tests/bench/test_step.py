"""`dipper bench step` at a small size: it runs, and its answers are the expected ones."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streams import cli
from streams.bench import step as bench
from streams.bench.allocations import run_counted
from streams.bench.step_growth import grow
from streams.errors import DipperError

SMALL = bench.Size(events=3_000, applicants=300, history=5, trees=5, leaves=7, rounds=1)


def test_the_bench_runs_and_checks_its_answers() -> None:
    """Each kind of traffic is decided in full, alike whatever the batches, and told as JSON."""
    arguments = ["bench", "step", "--requests", "3000", "--applicants", "300", "--history", "5"]
    arguments += ["--trees", "5", "--leaves", "7", "--rounds", "1", "--summary", "json"]
    done = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    print(done.output)
    results = json.loads(done.stdout.splitlines()[-1])
    assert results["requests"]["requests"] == 3_000
    assert 200 < results["mixed"]["requests"] < 400
    assert results["requests_per_second"] == results["requests"]["requests_per_second"]
    assert results["lightgbm_batch_microseconds_per_row"] > 0
    assert results["allocations_per_event"] == 0
    assert 0 < results["state_bytes_per_applicant"] < 1_536
    for each in (results["requests"], results["mixed"]):
        assert 0 < each["approved"] < each["requests"]
        assert re.fullmatch("[0-9a-f]{64}", each["sha256"])
        assert each["requests_per_second"] <= each["events_per_second"]


def test_an_object_an_event_is_counted(tmp_path: Path) -> None:
    """The counter of allocations sees a program that takes one block an event, and one that does
    not.
    """
    program = tmp_path / "wasteful.py"
    program.write_text(
        "from streams.bench.allocations import taken\n"
        "def count(events):\n"
        "    before = taken()\n"
        "    for _ in range(events): bytes(100)\n"
        "    return taken() - before\n"
        "count(1); print([count(1_000), count(5_000)])\n"
    )
    few, many = run_counted(tmp_path, str(program))
    assert many - few >= 4_000


@pytest.mark.parametrize(
    ("axis", "values"),
    [("history", [0, 40]), ("institutions", [2]), ("rules", [70]), ("models", [2]),
     ("hot_share", [0.5]), ("platform", [2]), ("applicants", [500])],
)  # fmt: skip
def test_cost_is_told_as_it_grows(axis: str, values: list[float]) -> None:
    """One thing grows, the answers stay those expected, and each row has a hash of its own."""
    rows = grow(axis, SMALL._replace(events=1_000), values=values)
    assert [row[0] for row in rows] == values
    assert len({row[2].sha256 for row in rows}) == len(values)
    assert all(row[2].requests == row[2].events for row in rows)


def test_a_wrong_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round whose bytes differ from the others ends the benchmark with a sentence."""
    run = bench._run
    rounds = iter(range(9))

    def spoilt(*arguments: object) -> object:
        result = run(*arguments)  # type: ignore[arg-type]
        return result._replace(sha256=f"{next(rounds)}")

    monkeypatch.setattr(bench, "_run", spoilt)
    with pytest.raises(DipperError, match="differ in their bytes"):
        bench.bench_step(SMALL)
