"""Models side by side, and features by themselves."""

import shutil
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest
from typer.testing import CliRunner

from models.errors import ModelError
from models.train import train
from models.train.describe import describe_features, information_value
from models.train.registry import compare_models, list_models, read_entry
from streams.cli import app

POLICIES = Path(__file__).resolve().parents[2] / "examples" / "policies"
RNG = np.random.default_rng(8)
ROWS = 1_200
BAD = RNG.random(ROWS) < 0.3
FRAME = pl.DataFrame(
    {
        "noise": RNG.normal(size=ROWS),
        "useful": RNG.normal(size=ROWS) + 0.6 * BAD,
        "leak": np.where(BAD, 5.0, 0.0) + RNG.normal(size=ROWS) / 10,
        "written_later": np.where(BAD, 1.0, np.nan),
        "drifting": RNG.normal(size=ROWS) + np.arange(ROWS) / 200,
        "bad": BAD.astype(int),
        "at": np.arange(ROWS) * 86_400_000 // 10,
    }
)


def trained(folder: Path, features: list[str], events: str) -> Path:
    """Train a small model on these features."""
    train(
        FRAME, features, label="bad", time="at", name="m", folder=folder, rounds_max=10, threads=1,
        definition_hashes=dict.fromkeys(features, "hash"), lineage={"events": events},
    )  # fmt: skip
    return folder


def test_the_example_models_are_listed_as_live() -> None:
    """A model that a policy names is live; the list has its content address and figures."""
    done = CliRunner().invoke(app, ["model", "list", str(POLICIES), "--json"])
    assert done.exit_code == 0, done.output
    rows = {row["name"]: row for row in orjson.loads(done.stdout)}
    assert set(rows) == {"business", "consumer"}
    assert rows["consumer"]["stage"] == "live"
    assert rows["consumer"]["sha256"] == read_entry(POLICIES / "models" / "consumer").sha256
    assert 0.6 < rows["consumer"]["auc"] < 0.9


def test_models_compare_by_what_they_know(tmp_path: Path) -> None:
    """Features of one side only are named, and figures on other events are said to be no match."""
    a = trained(tmp_path / "a", ["noise", "useful"], "one")
    b = trained(tmp_path / "b", ["useful"], "two")
    told = compare_models(a, b)
    assert told["only_first"] == ["noise"]
    assert told["only_second"] == []
    assert not told["comparable"]
    assert compare_models(a, a)["comparable"]
    assert told["figures"]["auc"][0] != told["figures"]["auc"][1]
    assert list_models([tmp_path])["stage"].to_list() == ["candidate", "candidate"]
    for arguments in (["show", str(a)], ["compare", str(a), str(b)], ["list", str(tmp_path)]):
        done = CliRunner().invoke(app, ["model", *arguments])
        assert done.exit_code == 0, done.output
        assert "auc" in done.stdout.lower()


def test_a_changed_file_is_no_model(tmp_path: Path) -> None:
    """A folder whose file is not the one that was saved is refused, and so is an empty one."""
    folder = tmp_path / "m"
    shutil.copytree(POLICIES / "models" / "consumer", folder)
    (folder / "calibration.csv").write_text("raw_from,pd_ppm\n,1\n")
    with pytest.raises(ModelError, match="its sha256 is not that"):
        read_entry(folder)
    with pytest.raises(ModelError, match="no model folder"):
        read_entry(tmp_path / "gone")


def test_features_that_say_too_much_raise_an_alarm() -> None:
    """A leak, a column known for one outcome only and a drift are each told; a plain one is not."""
    names = ["noise", "useful", "leak", "written_later", "drifting"]
    rows = {row["feature"]: row for row in describe_features(FRAME, names).to_dicts()}
    assert "too good alone" in rows["leak"]["alarm"]
    assert "known mostly for one outcome" in rows["written_later"]["alarm"]
    assert "shifted" in rows["drifting"]["alarm"]
    assert rows["useful"]["alarm"] == ""
    assert rows["useful"]["iv"] > 3 * rows["noise"]["iv"]
    assert rows["written_later"]["coverage"] == pytest.approx(BAD.mean())
    assert 0.5 <= rows["noise"]["auc_alone"] < 0.56


def test_information_value_is_its_sum() -> None:
    """With two values the information value is the sum over two bins, by hand."""
    values = np.array([0.0] * 100 + [1.0] * 100)
    bad = np.array([True] * 20 + [False] * 80 + [True] * 60 + [False] * 40)
    expected = sum(
        (g / 120 - b / 80) * np.log((g / 120) / (b / 80)) for g, b in ((80, 20), (40, 60))
    )
    assert information_value(values, bad) == pytest.approx(expected, abs=0.02)
