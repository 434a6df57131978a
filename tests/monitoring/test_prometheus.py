"""A real run, scraped by a real Prometheus: every query of every dashboard, every alert."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from monitoring import grafana_files
from monitoring.draw import NOTE
from monitoring.metrics import all_metrics
from monitoring.panels import BOARDS, Panel, fill
from monitoring.prometheus_server import PrometheusServer
from streams.demo.run import Options, run_demo
from streams.demo.tally import Tally
from streams.demo.watch import draw_boards

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "monitoring" / "prometheus"
_PANELS = [(board, panel) for board in BOARDS for panel in board.panels]
_SUFFIXES = ("_bucket", "_sum", "_count")
_FOREIGN = {"process_cpu_seconds_total", "process_resident_memory_bytes"}


class Watched(NamedTuple):
    """What a run left behind: answers by query, rules, pictures, the demo's own count."""

    answers: dict[str, int]
    counted: dict[str, float]
    rules: list[dict[str, Any]]
    firing: set[str]
    up: int
    pictures: Path
    tally: Tally
    summary: dict[str, Any]


def _queries(panel: Panel) -> Iterator[str]:
    for query in panel.queries:
        yield fill(query.expr, "20s", "dawn")


def _settle(server: PrometheusServer) -> None:
    """Wait until the agents have read what was decided, and all is scraped."""
    left = "sum(dipper_decided_total) - sum(dipper_watched_decisions_total{result='new'})"
    end = time.monotonic() + 30
    # No answer: agents show nothing until they reach what stood at their start.
    while time.monotonic() < end and [each.points[0][1] for each in server.query(left)] != [0]:
        time.sleep(0.5)
    time.sleep(2.0)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """Run a demo with hostile input on the embedded broker, scraped every second."""
    folder = tmp_path_factory.mktemp("watched")
    found: dict[str, Any] = {}

    def watcher(server: PrometheusServer, began: float) -> None:
        _settle(server)
        exprs = {expr for _, panel in _PANELS for expr in _queries(panel)}
        found["answers"] = {expr: len(server.query(expr)) for expr in exprs}
        found["counted"] = {
            name: server.query(f"sum({name})")[0].points[0][1]
            for name in ("dipper_decided_total", 'dipper_decided_total{outcome="approved"}',
                         "dipper_approved_total", 'dipper_watched_decisions_total{result="new"}')
        }  # fmt: skip
        found["rules"] = server.rules()
        found["firing"] = {r["name"] for r in found["rules"] if r.get("state") == "firing"}
        found["up"] = server.targets_up()
        draw_boards(folder / "pictures", "dawn")(server, began)

    options = Options("embedded", ROOT / "examples" / "policies", 14.0, 400.0, 600, 2, 2, 1, 0.05)
    summary, tally = run_demo(options, lambda _: None, lambda _, __: None, watcher)
    return Watched(**found, pictures=folder / "pictures", tally=tally, summary=summary)


def test_every_query_answers_or_says_why_not(watched: Watched) -> None:
    """Each panel of each dashboard shows data of a real run, or is documented as empty."""
    assert watched.up == 4
    silent = [
        f"{board.title}, {panel.title}: {expr}"
        for board, panel in _PANELS
        if not panel.empty
        for expr in _queries(panel)
        if not watched.answers[expr]
    ]
    assert not silent, "\n".join(silent)


def test_counters_agree_with_what_came_back(watched: Watched) -> None:
    """Prometheus counts as many decisions and approvals as a consumer of dipper.decisions read, and
    the agents saw the evidence of each.
    """
    decided = watched.counted["dipper_decided_total"]
    assert decided == watched.summary["decided"] > 0
    assert (
        watched.counted['dipper_decided_total{outcome="approved"}'] == (watched.summary["approved"])
    )
    assert watched.counted["dipper_approved_total"] == watched.summary["approved"]
    assert watched.counted['dipper_watched_decisions_total{result="new"}'] == decided


def test_every_alert_is_evaluated_and_none_fires_without_cause(watched: Watched) -> None:
    """Prometheus takes every rule as it stands, and a healthy run wakes nobody."""
    assert len(watched.rules) == len(_alerts())
    broken = [rule["name"] for rule in watched.rules if rule["health"] == "err"]
    assert not broken, broken
    assert not watched.firing


def test_pictures_show_what_was_answered(watched: Watched) -> None:
    """Each dashboard is drawn as a small SVG that says what it is, with every panel in it."""
    for board in BOARDS:
        text = (watched.pictures / f"{board.uid}.svg").read_text()
        assert NOTE in text
        assert all(panel.title.replace("&", "&amp;") in text for panel in board.panels)
        assert len(text) < 200_000
        assert "no data" not in text


def _alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_promtool_passes_the_rules_and_their_cases() -> None:
    """`promtool check rules` and `test rules` pass; each alert has a case in which it fires."""
    assert shutil.which("promtool"), "promtool is missing: run `make tools`"
    for command in (("check", "rules", "alerts.yml"), ("test", "rules", "alerts.test.yml")):
        done = subprocess.run(
            ["promtool", *command], cwd=PROMETHEUS, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    cases = yaml.safe_load((PROMETHEUS / "alerts.test.yml").read_text())["tests"]
    fires = {
        test["alertname"]
        for case in cases
        for test in case["alert_rule_test"]
        if test["exp_alerts"]
    }
    assert fires == set(_alerts())


def test_promtool_sees_a_wrong_threshold(tmp_path: Path) -> None:
    """The cases hold the thresholds: with another one they fail."""
    text = (PROMETHEUS / "alerts.yml").read_text()
    assert "> 0.95" in text
    (tmp_path / "alerts.yml").write_text(text.replace("> 0.95", "> 0.97"))
    shutil.copy(PROMETHEUS / "alerts.test.yml", tmp_path)
    command = ["promtool", "test", "rules", "alerts.test.yml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "DipperCapNearlyUsed" in done.stdout + done.stderr


def test_every_alert_has_a_page_in_the_runbook() -> None:
    """docs/RUNBOOK.md has a section for each alert and none for another, each saying what it means,
    what to look at and what to do.
    """
    text = (ROOT / "docs" / "RUNBOOK.md").read_text()
    sections = dict(re.findall(r"^## (Dipper\w+)$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(_alerts())
    for name, body in sections.items():
        for asked in ("**Means.**", "**Look.**", "**Do.**"):
            assert asked in body, f"{name}: no {asked}"


def test_dashboards_are_what_the_code_says() -> None:
    """The files that Grafana reads are those that `python -m monitoring.grafana_files` writes."""
    said = dict(grafana_files.dashboards())
    stored = {path.name: path.read_text() for path in grafana_files.FOLDER.glob("*.json")}
    assert said == stored
    uids = {json.loads(text)["uid"] for text in stored.values()}
    assert uids == {board.uid for board in BOARDS}


def test_queries_name_metrics_that_exist() -> None:
    """A dashboard or an alert asks only for metrics of the catalogue with labels that these have,
    and every metric of the catalogue is asked for somewhere.
    """
    shown = [query.expr for _, panel in _PANELS for query in panel.queries]
    alerts = [rule["expr"] for rule in _alerts().values()]
    asked = set(re.findall(r"\bdipper_\w+", " ".join(shown + alerts)))
    known: dict[str, set[str]] = {}
    for metric in all_metrics():
        suffixes = _SUFFIXES if metric.kind == "histogram" else ("",)
        known |= {metric.name + suffix: {*metric.labels, "le"} for suffix in suffixes}
        assert any(metric.name + suffix in asked for suffix in suffixes), metric.name
    for expr in (*shown, *alerts):
        for name, _, chosen in re.findall(r"\b((?:dipper|process)_\w+)(\{([^}]*)\})?", expr):
            assert name in known or name in _FOREIGN, f"{name} in {expr}"
            labels = set(re.findall(r"(\w+)(?:=|!)", re.sub(r'"[^"]*"', "", chosen)))
            assert labels <= known.get(name, set()), f"{labels} of {name} in {expr}"
