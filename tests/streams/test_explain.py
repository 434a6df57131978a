"""One decision explained from the log alone."""

from pathlib import Path

import orjson
import polars as pl
import pytest

from streams.errors import DipperError
from streams.explain import explain
from streams.replay import replay
from streams.simulate.log import write_log
from streams.simulate.world import WorldConfig

_CONFIG = Path("examples/policies")


_START_MS = 1_760_000_000_000


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an hour of a small population."""
    events = tmp_path_factory.mktemp("log") / "events.jsonl"
    world = WorldConfig(
        applicants=200, rate_per_second=0.5, request_share=0.2, closed_loop=False, for_file=True
    )
    write_log(world, _START_MS, 1 / 24, events)
    return events


def test_an_explanation_is_the_decision_done_again(log: Path) -> None:
    """The record explained is the replay's own, with every candidate and every known feature."""
    decisions = replay(log, _CONFIG).decisions
    first = decisions.to_dicts()[0]
    found = explain(first["id"], log, _CONFIG)
    assert found["decision"]["request"] == first["request"]
    assert len(found["candidates"]) == len(first["candidates"])
    assert found["features"]["request_amount_cents"] > 0
    assert {row["model"] for row in found["scores"]} == {"business", "consumer"}
    asked = found["input"]["event"]
    assert (asked["applicant"], asked["id"]) == (first["applicant"], first["request"])
    assert asked["amount_cents"] == found["features"]["request_amount_cents"]
    assert (found["input"]["partition"], found["input"]["offset"]) == (
        first["partition"],
        first["offset"],
    )
    assert set(found["versions"]["models"]) == {"business", "consumer"}
    orjson.dumps(found)


def test_a_declined_candidate_names_its_reasons_and_rules(log: Path) -> None:
    """A rule that fired is told with its text; its reason is among those of the candidate."""
    declined = replay(log, _CONFIG).candidates.filter(pl.col("rules").list.len() > 0)
    decision = declined["decision"][0]
    rows = [row for row in explain(decision, log, _CONFIG)["candidates"] if row["rules"]]
    assert rows
    for row in rows:
        assert all(rule["when"] for rule in row["rules"])
        assert all(name in rule["when"] for rule in row["rules"] for name in rule["values"])
        assert any(rule["values"] for rule in row["rules"])
        assert {rule["reason"] for rule in row["rules"]} <= set(row["reasons"])


def test_an_unknown_decision_is_one_sentence(log: Path) -> None:
    """A decision that the log does not lead to is refused with the remedy."""
    with pytest.raises(DipperError, match="none of them 00; give the id"):
        explain("00", log, _CONFIG)
