"""`dipper train`, from a simulated log to a model that a deployment loads."""

import gzip
from itertools import pairwise
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest
from typer.testing import CliRunner

from features.catalog import load_catalog
from models.artifact import load_models
from models.errors import ModelError
from models.scorecard import parse_scorecard
from models.train.dataset import dataset
from models.train.log import read_features
from streams.cli import app
from streams.config import load_deployment
from streams.replay import replay
from streams.simulate.log import Written, write_log
from streams.simulate.world import WorldConfig

POLICIES = Path(__file__).resolve().parents[2] / "examples" / "policies"
LABEL = POLICIES.parent / "labels" / "ever30.toml"
START_MS = 1_767_225_600_000  # 2026-01-01


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Written]:
    """Write eight days of a few hundred people and firms, with labels."""
    folder = tmp_path_factory.mktemp("log")
    events, labels = folder / "events.jsonl.gz", folder / "labels.csv"
    config = WorldConfig(
        applicants=400,
        firm_share=0.1,
        rate_per_second=400 * 2 / 86_400,
        request_share=0.3,
        closed_loop=False,
        for_file=True,
    )
    return events, labels, write_log(config, START_MS, 8, events, labels)


def test_lenders_change_only_offers_where_none_is_taken(
    log: tuple[Path, Path, Written],
) -> None:
    """Where nobody takes an offer, features with lenders are those without, but for the offers
    themselves: a first model sees what the model after it will see.
    """
    events, labels, written = log
    frames = [dataset(events, labels, POLICIES, policies=policies) for policies in (True, False)]
    assert frames[0].height == written.requests
    differing = [name for name in frames[0].columns if not frames[0][name].equals(frames[1][name])]
    assert differing == ["open_offers", "reserved_cents"]


def test_from_log_to_model(tmp_path: Path, log: tuple[Path, Path, Written]) -> None:
    """A log and its labels give a model that loads, ranks better than chance, and comes out the
    same again.
    """
    events, labels, written = log
    told = []
    for run in ("a", "b"):
        arguments = [
            *("train", str(events), "--label", str(labels), "--config", str(POLICIES), "--first"),
            *("--side", "consumer", "--features", str(POLICIES / "models" / "consumer.txt")),
            *("--trees", "30", "--out", str(tmp_path / run), "--summary", "json"),
        ]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        told.append(orjson.loads(done.stdout.splitlines()[-1]))
    catalog = load_catalog(POLICIES / "catalog.toml")
    _, infos = load_models([tmp_path / "a"], catalog.columns, catalog.definition_hashes)
    assert infos[0].sha256 == told[0]["sha256"] == told[1]["sha256"]
    rows = sum(told[0][f"rows_{part}"] for part in ("train", "calibrate", "test", "out_of_time"))
    assert 0.8 * written.requests < rows < written.requests  # nine in ten are people's
    assert told[0]["scores_equal_lightgbm"]
    assert 0.5 < told[0]["auc"] < 0.9
    assert 0.5 < told[0]["auc_out_of_time"] < 0.9
    assert told[0]["ks"] > 0
    assert 0 < told[0]["brier"] < 0.25


def test_from_log_to_scorecard(tmp_path: Path, log: tuple[Path, Path, Written]) -> None:
    """The same log gives a scorecard, in directions that the catalog names, that loads by name."""
    arguments = [
        *("train", str(log[0]), "--label", str(log[1]), "--config", str(POLICIES), "--first"),
        *("--side", "consumer", "--kind", "scorecard", "--out", str(tmp_path / "card")),
    ]
    done = CliRunner().invoke(app, [*arguments, "--summary", "json"])
    assert done.exit_code == 0, done.output
    told = orjson.loads(done.stdout.splitlines()[-1])
    assert told["scores_equal_optbinning"]
    assert told["auc"] > 0.5
    catalog = load_catalog(POLICIES / "catalog.toml")
    _, infos = load_models([tmp_path / "card"], catalog.columns, catalog.definition_hashes)
    assert infos[0].kind == "scorecard"
    path = tmp_path / "card" / "scorecard.csv"
    hints = {feature.name: feature.monotone for feature in catalog.features}
    for feature in parse_scorecard(path, path.read_bytes()):
        moves = {int(np.sign(b - a)) for a, b in pairwise(feature.points)} - {0}
        assert not hints[feature.name] or moves <= {-hints[feature.name]}, feature.name


def test_declined_requests_teach_on_request(
    log: tuple[Path, Path, Written], tmp_path: Path
) -> None:
    """With `--reject-inference` every request without an outcome before the test rows is in it,
    and a random arm in the labels is told beside the assumption; the truth lies in its interval.
    """
    labels = pl.read_csv(log[1])
    everybody = dataset(log[0], log[1], POLICIES, side="consumer", policies=False)
    large = everybody["request_amount_cents"] > everybody["request_amount_cents"].median()
    asked = everybody.select("applicant", id="request", declined=large)
    rng = np.random.default_rng(3)
    known = labels.join(asked, on=("applicant", "id")).with_columns(
        propensity=pl.when("declined").then(0.5).otherwise(1.0), draw=rng.random(len(asked))
    )
    known.filter(pl.col("draw") < pl.col("propensity")).drop("declined", "draw").write_csv(
        tmp_path / "known.csv"
    )
    arguments = [
        *("train", str(log[0]), "--label", str(tmp_path / "known.csv"), "--config", str(POLICIES)),
        *("--side", "consumer", "--first", "--reject-inference", "2", "--trees", "30"),
        *("--out", str(tmp_path / "m"), "--summary", "json"),
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "bad rate" in done.stdout
    told = orjson.loads(done.stdout.splitlines()[-1])
    parts = orjson.loads((tmp_path / "m" / "card.json").read_bytes())["data"]
    inferred, arm = told["reject_inference"], told["reject_inference"]["random_arm"]
    assert 0 < inferred["rows"] < known.height - sum(part["rows"] for part in parts)
    assert inferred["mean_pd_assumed"] > inferred["mean_pd_first_model"]
    truth = everybody.filter(pl.col("at") >= int(everybody["at"].quantile(0.7) or 0))
    rate = int(truth["bad"].sum()) / truth.height
    assert arm["bad_rate"]["low"] < rate < arm["bad_rate"]["high"]


def test_a_log_out_of_order_is_counted(log: tuple[Path, Path, Written], tmp_path: Path) -> None:
    """Lines in any order are all accounted for: taken, or refused by a reason with its count; those
    far behind the log's time are counted too, and the commands say both.
    """
    events, labels, written = log
    with gzip.open(events, "rb") as file:
        lines = file.read().splitlines()
    ordered = replay(events, load_deployment(POLICIES))
    assert (dict(ordered.refused), ordered.late, ordered.remarks()) == ({}, 0, [])
    kinds = [orjson.loads(line)["type"] for line in lines]
    first = [place for place, kind in enumerate(kinds) if kind == "activity"][:20]
    moved = [line for place, line in enumerate(lines) if place not in first]
    late = replay(_lines(tmp_path / "late.jsonl", [*moved, *(lines[k] for k in first)]), POLICIES)
    assert (dict(late.refused), late.late) == ({}, 20)
    assert "20 of" in late.remarks()[0]
    np.random.default_rng(1).shuffle(lines)
    path = _lines(tmp_path / "shuffled.jsonl", lines)
    shuffled = replay(path, POLICIES)
    assert sum(shuffled.refused.values()) == shuffled.written[3] > 0
    assert {"too_old", "too_far_ahead"} <= set(shuffled.refused)
    arguments = [str(path), "--label", str(labels), "--config", str(POLICIES)]
    done = CliRunner().invoke(app, ["dataset", *arguments, "--out", str(tmp_path / "d.csv")])
    for name, count in shuffled.refused.items():
        assert f"{count:,} of {shuffled.records:,} records are refused, {name}" in done.stderr
    undecided = written.requests - shuffled.written[0]
    assert f"{undecided:,} of {written.requests:,} labels are of requests" in done.stderr


def test_a_log_without_time_is_told(log: tuple[Path, Path, Written], tmp_path: Path) -> None:
    """Where no tick stands in the log nothing can be decided, and the sentence says what to add."""
    with gzip.open(log[0], "rb") as file:
        lines = [line for line in file.read().splitlines() if b'"tick"' not in line]
    path = _lines(tmp_path / "timeless.jsonl", lines)
    with pytest.raises(ModelError, match=r'no request that could be decided .*"tick"'):
        dataset(path, log[1], POLICIES)


def _lines(path: Path, lines: list[bytes]) -> Path:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def test_missing_labels_are_told(tmp_path: Path) -> None:
    """A labels file that is not there is refused with a sentence before the log is read."""
    done = CliRunner().invoke(app, ["train", "none.jsonl", "--label", str(tmp_path / "none.csv")])
    assert "none.csv: cannot be read" in str(done.exception)


def test_features_are_read_in_catalog_order(tmp_path: Path) -> None:
    """A file names features line by line; the order is the catalog's, so that it changes no
    model.
    """
    path = tmp_path / "features.txt"
    path.write_text("age_years\n\n# a comment\nincome_cents # another\n")
    assert read_features(path, load_catalog(None)) == ["income_cents", "age_years"]


def test_an_unknown_feature_is_told_by_line(tmp_path: Path) -> None:
    """A name that the catalog does not have is refused with file and line."""
    path = tmp_path / "features.txt"
    path.write_text("age_years\nshoe_size\n")
    with pytest.raises(ModelError, match=r"features.txt:2: no feature 'shoe_size'"):
        read_features(path, load_catalog(None))
    with pytest.raises(ModelError, match="cannot be read"):
        read_features(tmp_path / "none.txt", load_catalog(None))


def test_a_data_set_holds_every_request(log: tuple[Path, Path, Written], tmp_path: Path) -> None:
    """`dipper dataset` writes all requests of the log, with a label or with the reason for none."""
    events, labels, _ = log
    frames = []
    for label in (labels, LABEL):
        out = tmp_path / f"{label.stem}.parquet"
        arguments = ["dataset", str(events), "--label", str(label), "--config", str(POLICIES)]
        done = CliRunner().invoke(app, [*arguments, "--out", str(out)])
        assert done.exit_code == 0, done.output
        frames.append(pl.read_parquet(out))
    by_file, by_log = frames
    assert by_file.height == by_log.height > 100
    assert set(by_file["label"]) == {"good", "bad"}
    # Nobody takes an offer in this log: a definition finds no loan in it, and says so.
    assert set(by_log["label"]) == {"not_taken", "declined"}
    assert by_log["bad"].null_count() == by_log.height
    assert by_file["income_cents"].equals(by_log["income_cents"])


def test_training_on_no_outcome_is_told(log: tuple[Path, Path, Written], tmp_path: Path) -> None:
    """A definition that finds no loan refuses to train, and says what the requests came to."""
    arguments = ["train", str(log[0]), "--label", str(LABEL), "--config", str(POLICIES)]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "model")])
    assert done.exception is not None
    assert "requests has one" in str(done.exception)
    assert "not_taken" in str(done.exception)
