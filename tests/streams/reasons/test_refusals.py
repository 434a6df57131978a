"""Why a lender refused: exact shares of a score, at most four sentences, fraud never told."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from typer.testing import CliRunner

from models.lean_lightgbm import lgb
from models.policy.reasons import REASONS
from streams.cli import app
from streams.config import load_deployment
from streams.errors import DipperError
from streams.reasons.contributions import make_explainer
from streams.reasons.refusals import Reasoner, Refusal
from streams.reasons.tell import as_notice, for_applicant, for_regulator
from streams.reasons.texts import OWN_FILE, check_texts, load_texts
from streams.replay import ReplayResult, replay
from streams.schema import Outcome
from streams.simulate.log import write_log
from streams.simulate.world import WorldConfig
from streams.topology import OUT_EVIDENCE
from tests.deployment import make_deployment
from tests.streams.change.conftest import replace
from tests.tidy.source import ROOT

POLICIES = ROOT / "examples" / "policies"
START = 1_767_225_600_000


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two days of applications of people and firms."""
    path = tmp_path_factory.mktemp("reasons") / "events.jsonl"
    world = WorldConfig(
        applicants=300, firm_share=0.3, rate_per_second=300 * 4 / 86_400, request_share=0.4,
        closed_loop=False, for_file=True,
    )  # fmt: skip
    write_log(world, START, 2, path)
    return path


@pytest.fixture(scope="module")
def result(events: Path) -> ReplayResult:
    """The same, decided by the example's LightGBM models."""
    return replay(events, POLICIES)


@pytest.fixture(scope="module")
def refusals(result: ReplayResult) -> list[Refusal]:
    """All refusals, of approved requests too."""
    return Reasoner(result.deployment).refusals(result.read(OUT_EVIDENCE), declined_only=False)


def test_each_refusing_lender_keeps_its_own(result: ReplayResult, refusals: list[Refusal]) -> None:
    """There is one refusal for each candidate that did not approve, with reasons of its own
    verdict, in their order, and no other's.
    """
    declined = result.candidates.filter(pl.col("outcome") != "approved")
    assert len(refusals) == declined.height > 100
    order = {reason.code: place for place, reason in enumerate(REASONS)}
    fraud = {reason.code for reason in REASONS if reason.outcome is Outcome.FRAUD}
    for refusal, row in zip(refusals, declined.to_dicts(), strict=True):
        assert (refusal.decision, refusal.policy) == (row["decision"], row["policy"])
        codes = [cause.code.partition(".")[0] for cause in refusal.causes]
        allowed = set(row["reasons"]) - fraud
        if fraud & set(row["reasons"]) or "score_above_cut_off" in row["reasons"]:
            allowed.add("not_verified")
        assert set(codes) <= allowed
        known = [order[code] for code in codes if code != "not_verified"]
        assert known == sorted(known)
        texts = [cause.text["en"] for cause in refusal.causes]
        assert 1 <= len(texts) == len(set(texts)) <= 4


def test_a_score_is_told_by_what_raised_it_most(
    result: ReplayResult, refusals: list[Refusal]
) -> None:
    """For a refusal by score alone, LightGBM's own shares, summed by theme, rank as told."""
    texts = load_texts()
    evidence = {row["decision"]: row for row in result.evidence.to_dicts()}
    tried = 0
    for refusal in refusals:
        themes = [each for each in refusal.causes if each.code.startswith("score_above_cut_off.")]
        if len(themes) != len(refusal.causes) or not themes:
            continue
        info = next(i for i in result.deployment.model_infos if i.name == refusal.model)
        booster = lgb.Booster(model_str=(info.folder / "model.txt").read_text())
        row = evidence[refusal.decision]
        vector = np.array([[row[name] for name in booster.feature_name()]])
        parts = np.asarray(booster.predict(vector, pred_contrib=True))[0]
        assert parts.sum() == pytest.approx(row[f"raw.{refusal.model}"], rel=1e-9, abs=1e-9)
        sums: dict[str, float] = {}
        for name, part in zip(booster.feature_name(), parts[:-1], strict=True):
            theme = texts.theme(name)
            assert theme is not None
            sums[theme.id] = sums.get(theme.id, 0.0) + part
        best = sorted(sums, key=lambda theme: -sums[theme])[:4]
        assert [each.code.partition(".")[2] for each in themes] == [
            theme for theme in best if sums[theme] > 0
        ]
        tried += 1
        if tried == 20:
            break
    assert tried >= 5


def test_it_is_a_function_of_the_evidence(result: ReplayResult, refusals: list[Refusal]) -> None:
    """From the same bytes another reasoner tells the same bytes, record by record."""
    again = Reasoner(result.deployment).refusals(result.read(OUT_EVIDENCE), declined_only=False)
    assert [as_notice(each, "p") for each in again] == [as_notice(each, "p") for each in refusals]
    assert [for_regulator(each) for each in again] == [for_regulator(each) for each in refusals]


def test_fraud_is_never_told(events: Path, tmp_path: Path) -> None:
    """A lender's and the platform's rules of fraud, their own words and values reach nobody: what
    is told is one sentence.
    """
    folder = make_deployment(tmp_path / "config")
    dawn = folder / "institutions" / "dawn"
    replace(dawn / "institution.toml", "[reasons]", '[reasons]\nF66 = "identity_mismatch"')
    for product in ("cash_line", "instalment_loan"):
        path = dawn / f"{product}.toml"
        replace(path, '18 and 70"\nreason = "D10"', '40 and 70"\nreason = "F66"')
        path.write_text(path.read_text().partition("\n[[cases]]")[0])
    found = replay(events, folder)
    fraud = {reason.code for reason in REASONS if reason.outcome is Outcome.FRAUD}
    suspected = found.candidates.filter(pl.col("outcome") == "fraud")
    assert suspected.height > 5
    told = 0
    for refusal in Reasoner(found.deployment).refusals(found.read(OUT_EVIDENCE)):
        said = orjson.dumps([for_applicant(refusal, "p"), for_regulator(refusal)]).decode()
        assert not any(f'"{code}' in said for code in (*fraud, "F66", "fraud"))
        told += "We could not verify the application." in said
    assert told


def test_a_scorecard_tells_what_its_bins_lack(tmp_path: Path) -> None:
    """Of a scorecard, a feature's part is what its bin lacks to the best one; missing is a bin."""
    deployment = load_deployment(make_deployment(tmp_path / "config"))
    explain = make_explainer(deployment, 0)
    asked: dict[str, Any] = {"request_amount_cents": 60_000.0, "age_years": float("nan")}
    assert explain(asked, 40.0) == {"request_amount_cents": 20.0, "age_years": 30.0}
    with pytest.raises(DipperError, match="gives a score of 40, the evidence says 41"):
        explain(asked, 41.0)


def test_every_feature_and_code_has_its_words(tmp_path: Path) -> None:
    """All columns of the default catalog have a theme; a model's feature without one is refused
    with the file to mend, and a deployment's own theme counts first.
    """
    deployment = load_deployment(POLICIES, features="all")
    texts = check_texts(deployment, POLICIES)
    assert [name for name in deployment.catalog.columns if texts.theme(name) is None] == []
    for words in texts.reasons.values():
        assert all(words[language].strip() for language in ("en", "zh"))
    assert all(re.search(r"[\u4e00-\u9fff]", words["zh"]) for words in texts.reasons.values())
    own = tmp_path / OWN_FILE
    own.write_text('[[themes]]\nid = "years"\nfeatures = ["age_*"]\nen = "Years."\nzh = "岁。"\n')
    theme = load_texts(tmp_path).theme("age_years")
    assert theme is not None
    assert theme.id == "years"
    for line, sentence in (
        ('[reasons]\nshoe_size = "x"\n', "shoe_size: is no reason code"),
        ('[reasons]\nvelocity = "太快"\n', "tells reasons of fraud apart"),
        ('[[themes]]\nid = "a"\nfeatures = []\nen = "A"\nzh = "B"\n', "at least 1"),
        ('[[themes]]\nid = "a"\nfeatures = ["b"]\nen = "A"\n', "zh: is missing"),
    ):
        own.write_text(line)
        with pytest.raises(DipperError, match=sentence):
            load_texts(tmp_path)


def test_a_feature_without_words_stops_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one feature of one model has no text, no notice is written at all."""
    texts = load_texts()
    fewer = texts.__class__(texts.reasons, tuple(t for t in texts.themes if t.id != "age"))
    monkeypatch.setattr("streams.reasons.texts.load_texts", lambda _: fewer)
    deployment = load_deployment(make_deployment(tmp_path / "config"))
    with pytest.raises(DipperError, match="no text for its feature age_years; add a"):
        Reasoner(deployment)


def test_the_command_tells_either_reader(events: Path, refusals: list[Refusal]) -> None:
    """The applicant reads words alone; the regulator also hashes, the probability and shares."""
    one = next(each for each in refusals if each.causes[0].code.startswith("score_above_cut_off."))
    said = {}
    for audience in ("applicant", "regulator"):
        done = CliRunner().invoke(
            app,
            ["reasons", one.decision, "--events", str(events), "--config", str(POLICIES),
             "--institution", one.institution, "--audience", audience],
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        said[audience] = orjson.loads(done.stdout)
    assert said["regulator"] == orjson.loads(orjson.dumps(for_regulator(one)))
    assert said["regulator"]["reasons"][0]["features"]
    assert said["applicant"]["text"]["zh"] == [cause.text["zh"] for cause in one.causes]
    assert "pd_ppm" not in said["applicant"]
