"""A shadow's counts in a scrape: all of them from the start, lost coverage under its own name."""

from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from monitoring.quality import AgentCollector
from streams.config import load_deployment
from streams.deployment import Deployment
from streams.study.shadow import Said, Seen, Shadow
from tests.naive.deployments import LIMITS, change, write_deployment


def _scrape(shadow: Shadow) -> dict[tuple[str, str], float]:
    registry = CollectorRegistry()
    registry.register(AgentCollector(dict, None, shadow.counts))
    return {
        (sample.labels["institution"], sample.labels["said"]): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
        if sample.name == "dipper_shadow_verdicts_total"
    }


def test_a_scrape_shows_what_the_shadow_said(step_deployment: Deployment, tmp_path: Path) -> None:
    """Every institution has each word from the first scrape on, so that a rate sees the first
    count; what nobody can read counts under `unknown`, and labels are bounded by configuration.
    """
    folder = change(write_deployment(tmp_path / "other"))
    shadow = Shadow(step_deployment, load_deployment(folder, LIMITS, features="all"))
    names = {"unknown", *step_deployment.institution_ids}
    before = _scrape(shadow)
    assert set(before) == {(name, said.value) for name in names for said in Said}
    assert not any(before.values())
    shadow.take([Seen(b"p", b'junk"} 1\n'), Seen(b"p", b"other junk")])
    after = _scrape(shadow)
    assert set(after) == set(before)
    assert {key: n for key, n in after.items() if n} == {("unknown", Said.ERROR.value): 2}
