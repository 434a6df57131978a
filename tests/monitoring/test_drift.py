"""Drift: the figures, and a simulated population whose incomes halve."""

import json
import shutil
import subprocess
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.artifact import add_reference
from models.errors import ModelError
from models.reference import make_bins, make_reference, parse_reference, render_reference
from monitoring.drift import ROWS_MIN, SCORE, WINDOW_ROWS, DriftWindow, noise, psi
from monitoring.quality import DecisionQuality
from streams.config import load_deployment
from streams.control.keys import init_keys
from streams.deployment import Deployment
from streams.limits import SECOND_MS
from streams.replay import replay
from streams.simulate.log import write_log
from streams.simulate.world import WorldConfig
from streams.topology import OUT_EVIDENCE

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "monitoring" / "prometheus" / "alerts.yml"
_STEP_MS = 600_000  # of the log, shown to Prometheus as a minute
FOR_MIN = 5  # that a PSI must hold before its alert fires
_START_MS = 1_767_225_600_000
_DAYS = 1.5
_WATCHED_MS = _START_MS + int(_DAYS / 3 * 86_400 * SECOND_MS)  # a history has built up by then
_SHIFT_MS = _START_MS + int(_DAYS * 2 / 3 * 86_400 * SECOND_MS)
_floats = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, float("nan")]))


@given(st.lists(_floats, min_size=1, max_size=60), st.lists(_floats, min_size=1, max_size=60))
def test_psi_is_its_formula(then: list[float], now: list[float]) -> None:
    """PSI is the sum over bins of (a − e) ln(a / e) with half a row more in each; nothing is lost
    in binning, and a population does not drift from itself.
    """
    bins = make_bins(np.array(then))
    shares = np.array([*bins.shares, bins.missing])
    assert sum(bins.shares) + bins.missing == pytest.approx(1.0)
    counts = [0] * len(shares)
    for value in now:
        place = sum(value > edge for edge in bins.edges)
        counts[-1 if value != value else place] += 1  # noqa: PLR0124
    width = len(counts)
    naive = 0.0
    for share, count in zip(shares, counts, strict=True):
        e = (share * len(then) + 0.5) / (len(then) + 0.5 * width)
        a = (count + 0.5) / (len(now) + 0.5 * width)
        naive += (a - e) * np.log(a / e)
    assert psi(shares, len(then), np.array(counts)) == pytest.approx(naive)
    mine = np.round(shares * len(then)).astype(np.int64)
    assert psi(shares, len(then), mine) == pytest.approx(0.0, abs=1e-9)


def test_noise_is_what_chance_explains() -> None:
    """Of windows without drift about one in a thousand lies above the noise; its χ² agrees with
    SciPy's.
    """
    for bins in (2, 5, 11):
        exact = stats.chi2.ppf(0.999, bins - 1) * (1 / 500 + 1 / 5_000)
        assert noise(bins, 500, 5_000) == pytest.approx(exact, rel=0.05)
    rng = np.random.default_rng(1)
    shares = np.full(10, 0.1)
    above = sum(
        psi(rng.multinomial(5_000, shares) / 5_000, 5_000, rng.multinomial(500, shares))
        > noise(10, 500, 5_000)
        for _ in range(4_000)
    )
    assert 0 <= above <= 14  # four expected; 14 or more has a chance below 1 in 10,000


def test_a_window_holds_the_last_rows_and_shows_none_too_early() -> None:
    """Before ROWS_MIN rows nothing is shown; then figures are of the last WINDOW_ROWS alone."""
    rng = np.random.default_rng(2)
    reference = make_reference(["x"], rng.normal(size=(5_000, 1)), rng.normal(size=5_000))
    window = DriftWindow(reference, ["x"])
    window.add(rng.normal(size=(ROWS_MIN - 1, 1)), rng.normal(size=ROWS_MIN - 1))
    assert window.readings() == []
    window.add(rng.normal(3.0, 1.0, (WINDOW_ROWS, 1)), rng.normal(size=WINDOW_ROWS))
    moved, score = window.readings()
    assert (moved.column, score.column, window.rows) == ("x", SCORE, WINDOW_ROWS)
    assert moved.psi > 1.0
    assert score.psi < 0.05
    window.add(rng.normal(size=(WINDOW_ROWS, 1)), np.full(WINDOW_ROWS, np.nan))
    calm, score = window.readings()
    assert calm.psi < 0.05
    assert (score.missing, score.missing_reference) == (1.0, 0.0)


def test_a_reference_is_refused_in_a_sentence() -> None:
    """A reference comes back from its file as it was; one that is not whole is refused."""
    reference = make_reference(["x"], np.arange(20.0).reshape(-1, 1), np.arange(20.0))
    assert parse_reference(Path("r.json"), render_reference(reference)) == reference
    broken = json.loads(render_reference(reference))
    broken["score"]["missing"] = 0.5
    with pytest.raises(ModelError, match=r"r\.json: score: .*add up to 1; train"):
        parse_reference(Path("r.json"), json.dumps(broken).encode())


class Run(NamedTuple):
    """A simulated log decided: when each batch of evidence stood, and its bytes."""

    deployment: Deployment
    evidence: bytes
    at_ms: list[int]


def _simulate(folder: Path, config: Path, seed: int, income_factor: float = 1.0) -> Run:
    world = WorldConfig(
        applicants=12_000, rate_per_second=8_000 / 86_400, request_share=0.8, seed=seed,
        firm_share=0.05, closed_loop=False, for_file=True, income_factor=income_factor,
        shift_ms=_SHIFT_MS - _START_MS,
    )  # fmt: skip
    log = folder / f"events-{seed}-{income_factor}.jsonl"
    write_log(world, _START_MS, _DAYS, log, None)
    result = replay(log, config, partitions=1)
    at = result.evidence["at"].to_list()
    evidence = result.read(OUT_EVIDENCE)
    first = next(place for place, when in enumerate(at) if when >= _WATCHED_MS)
    return Run(result.deployment, evidence[first * len(evidence) // len(at) :], at[first:])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example deployment, whose consumer model has a reference from such a population."""
    folder = tmp_path_factory.mktemp("drift")
    config = folder / "config"
    shutil.copytree(ROOT / "examples" / "policies", config, ignore=shutil.ignore_patterns("keys"))
    init_keys(config)
    run = _simulate(folder, config, 1)
    quality = DecisionQuality(run.deployment)
    for model in ("consumer", "business"):
        add_reference(config / "models" / model, quality.reference(run.evidence, model))
    return config


def _by_minute(run: Run) -> Iterator[dict[str, tuple[float, float]]]:
    """Yield what a scrape would show at the end of each 10 minutes of the log: PSI and noise."""
    quality = DecisionQuality(run.deployment)
    size = len(run.evidence) // len(run.at_ms)
    waiting = deque(range(len(run.at_ms)))
    for until in range(_WATCHED_MS, _START_MS + int(_DAYS * 86_400_000), _STEP_MS):
        taken = b""
        while waiting and run.at_ms[waiting[0]] <= until:
            at = waiting.popleft() * size
            taken += run.evidence[at : at + size]
        if taken:
            quality.on_evidence(taken)
        found = quality.windows["consumer"].readings()
        yield {one.column: (one.psi, one.noise) for one in found}


def _alerts(folder: Path, run: Run) -> int | None:
    """Return at which step of `_by_minute` Prometheus fires DipperPsiHigh for incomes; None never.

    The steps become minutes of series for `promtool test rules`, which runs the rules themselves.
    """
    steps = list(_by_minute(run))
    raised = [n for n, s in enumerate(steps) if any(p > 0.25 and p > q for p, q in s.values())]
    fires = raised[0] + FOR_MIN + 1 if raised else None
    columns = sorted({column for step in steps for column in step})
    series = []
    for column in columns:
        for place, name in enumerate(("dipper_psi", "dipper_psi_noise")):
            values = " ".join(str(s[column][place]) if column in s else "_" for s in steps)
            label = f'{name}{{model="consumer",column="{column}"}}'
            series.append({"series": label, "values": values})
    at = fires if fires is not None else len(steps) - 1
    firing = 'sum(ALERTS{alertname="DipperPsiHigh",alertstate="firing"}) > bool 0 or vector(0)'
    said = [{"labels": "{}", "value": int(fires is not None)}]
    asked = [{"expr": firing, "eval_time": f"{at}m", "exp_samples": said}]
    test = {"interval": "1m", "input_series": series, "promql_expr_test": asked}
    probe = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]}
    path = folder / "probe.yml"
    path.write_text(json.dumps(probe))
    done = subprocess.run(
        ["promtool", "test", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return fires


def test_halved_incomes_raise_the_alert_and_an_equal_population_none(
    folder: Path, tmp_path: Path
) -> None:
    """Incomes that halve in the middle of a log raise DipperPsiHigh before a window's worth of
    applications has passed, as Prometheus itself evaluates the rule; without it nothing fires.
    """
    deployment = load_deployment(folder)
    assert all(info.reference is not None for info in deployment.model_infos)
    shifted = _simulate(tmp_path, folder, 2, 0.5)
    fires = _alerts(tmp_path, shifted)
    assert fires is not None
    fired_ms = _WATCHED_MS + fires * _STEP_MS
    needed = sum(_SHIFT_MS < at <= fired_ms for at in shifted.at_ms)
    print(f"fired {needed} applications after the shift")
    assert fired_ms > _SHIFT_MS
    assert needed <= WINDOW_ROWS
    assert _alerts(tmp_path, _simulate(tmp_path, folder, 2)) is None


def test_a_repeat_of_evidence_counts_once(folder: Path, tmp_path: Path) -> None:
    """Evidence that a producer wrote twice changes no figure but the count of repeats."""
    run = _simulate(tmp_path, folder, 3)
    size = len(run.evidence) // len(run.at_ms)
    once, twice = DecisionQuality(run.deployment), DecisionQuality(run.deployment)
    once.on_evidence(run.evidence)
    for at in range(0, len(run.evidence), 100 * size):
        twice.on_evidence(run.evidence[at : at + 100 * size])
        twice.on_evidence(run.evidence[at : at + 10 * size])
    assert (once.decisions, once.repeated) == (len(run.at_ms), 0)
    assert twice.decisions == len(run.at_ms)
    assert twice.repeated > 0
    assert once.segments == twice.segments
    assert once.fees == twice.fees
    assert once.windows["consumer"].readings() == twice.windows["consumer"].readings()
    stated = {name for name, _, _ in once.segments}
    assert "region" in stated
    assert sum(n for (a, _, _), n in once.segments.items() if a == "region") == len(run.at_ms)
