"""The demo as its user runs it, on the embedded broker."""

import orjson
from typer.testing import CliRunner

from streams.cli import app

_FIELDS = {
    "published",
    "decided",
    "approved",
    "declined",
    "dead_letters",
    "lost",
    "duplicated",
    "decisions_per_second",
    "p50_ms",
    "p99_ms",
    "caps_exceeded",
    "capacity_with_budget_percent",
    "institutions",
    "institutions_deciding",
    "by_institution",
}


def test_a_demo_loses_nothing_and_repeats_nothing_under_hostile_input() -> None:
    """Every admissible request is decided once, by many institutions within their budgets, while
    hostile records become dead letters.
    """
    options = "--institutions 12 --seconds 4 --rate 300 --applicants 300 --hostile-share 0.05"
    options += " --summary json"
    done = CliRunner().invoke(app, ["demo", *options.split()])
    assert done.exit_code == 0, done.output
    result = orjson.loads(done.stdout.strip().splitlines()[-1])
    assert set(result) == _FIELDS
    assert (result["lost"], result["duplicated"]) == (0, 0)
    assert result["decided"] == result["approved"] + result["declined"] > 10
    assert result["dead_letters"] > 0
    assert (result["caps_exceeded"], result["institutions"]) == (0, 12)
    assert 0 < result["institutions_deciding"] <= len(result["by_institution"]) == 12
