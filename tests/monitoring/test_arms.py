"""Verdicts and outcomes by arm, as a scrape shows them."""

import pytest
from prometheus_client import CollectorRegistry

from monitoring.arms import VERDICTS, Arms
from monitoring.quality import AgentCollector, DecisionQuality
from streams.config import load_deployment
from streams.deployment import Deployment
from streams.evidence import evidence_rows
from streams.replay import replay
from streams.study.arms import arms
from streams.topology import OUT_EVIDENCE
from tests.naive.deployments import LIMITS, write_deployment, write_segments
from tests.streams.study.test_arms import requests


def test_a_scrape_counts_arms_as_the_study_does(segmented: Deployment) -> None:
    """Requests and approvals of each arm are those that `streams.study.arms` finds in the same
    decisions; each arm stands at 0 before anybody asks, and none that is not configured.
    """
    counted = Arms(segmented)
    assert set(counted.decided.values()) == {0}
    names = {("dawn", "dawn/instalment_loan", arm) for arm in ("champion", "challenger")}
    expected = {(*name, verdict) for name in names for verdict in VERDICTS}
    expected |= {("dawn", "dawn/instalment_loan", "at_random", "approved")}
    assert set(counted.decided) == expected
    result = replay(requests(300), segmented, partitions=2)
    counted.take(evidence_rows(result.read(OUT_EVIDENCE), segmented))
    assert set(counted.decided) == expected
    found = {
        (row["institution"], row["experiment"], row["arm"]): (row["requests"], row["approved"])
        for row in arms(result.candidates).iter_rows(named=True)
    }
    assert len(found) == 3
    for name, (asked, approved) in found.items():
        assert sum(counted.decided[*name, verdict] for verdict in VERDICTS) == asked
        assert counted.decided[*name, "approved"] == approved > 0


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """The same deployment with room in Dawn's caps by day and segment, and no cheaper lender."""
    folder = write_segments(write_deployment(tmp_path_factory.mktemp("rich")))
    (folder / "institutions" / "north" / "instalment_loan.toml").unlink()
    path = folder / "institutions" / "dawn" / "institution.toml"
    text = path.read_text().replace("125_001", "900_000_000").replace("75_000", "900_000_000")
    path.write_text(text)
    return load_deployment(folder, LIMITS)


def test_outcomes_go_to_the_arm_that_decided(rich: Deployment) -> None:
    """A loan that has come to its end counts in the arm whose offer won and, let in by chance, at
    random besides; what foretold it counts there too.
    """
    # Of more than Meadow lends, so that Dawn's offer wins.
    result = replay(requests(300, 400_000), rich, partitions=1)
    quality = DecisionQuality(rich, pace=86_400.0)
    quality.on_evidence(result.read(OUT_EVIDENCE))
    approved = result.decisions.filter(result.decisions["outcome"] == "approved")
    lent = approved.select("institution", decision="id")
    won = result.candidates.join(lent, on=["decision", "institution"])
    mine = [row for row in won.iter_rows(named=True) if row["arm"] and row["pd_ppm"] >= 0]
    assert {row["arm"] for row in mine} == {"champion", "challenger"}
    at = max(row["at"] for row in result.evidence.iter_rows(named=True))
    for number, row in enumerate(mine):
        fields = {"applicant": f"a{number}", "loan": "l", "decision": row["decision"], "at": at}
        quality.on_loan(0, fields | {"step": "disbursed"})
        quality.on_loan(0, fields | {"step": "due", "due_at": at + 1, "principal_cents": 5})
        if row["arm"] == "champion":
            quality.on_loan(0, fields | {"step": "payment", "principal_cents": 5})
    quality.on_tick(0, at + 10**9)
    registry = CollectorRegistry()
    registry.register(AgentCollector(dict, quality))
    for arm in ("champion", "challenger", "at_random"):
        chosen = [
            row
            for row in mine
            if row["arm"] == arm or (arm == "at_random" and row["propensity"] is not None)
        ]
        labels = {"institution": "dawn", "experiment": "dawn/instalment_loan", "arm": arm}
        shown = [
            registry.get_sample_value(f"dipper_arm_{name}_total", labels)
            for name in ("matured_loans", "bad_loans", "expected_bad_loans")
        ]
        bad = sum(row["arm"] != "champion" for row in chosen)
        assert shown[:2] == [len(chosen), bad]
        assert abs((shown[2] or 0) - sum(row["pd_ppm"] for row in chosen) / 1e6) < 1e-6
        assert chosen


def test_nothing_is_shown_before_a_fold_has_caught_up(segmented: Deployment) -> None:
    """While agents that start again read what stood before, a scrape shows none of their counts;
    then all at once, so that a rate sees no storm.
    """
    up: list[bool] = []
    collector = AgentCollector(dict, DecisionQuality(segmented), dict, lambda: bool(up))
    registry = CollectorRegistry()
    registry.register(collector)
    assert {family.name for family in registry.collect()} == {"dipper_notices"}
    up.append(True)
    assert registry.get_sample_value("dipper_watched_decisions_total", {"result": "new"}) == 0.0
