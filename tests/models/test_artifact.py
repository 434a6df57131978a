"""A model folder loads whole or is refused in one sentence that names file and remedy."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.artifact import MANIFEST, load_models, save_model
from models.calibrate import (
    Calibration,
    parse_calibration,
    render_calibration,
    with_calibration,
)
from models.errors import ModelError
from models.lean_lightgbm import lgb
from models.lightgbm_text import parse_lightgbm_text
from models.score import score_rows
from models.scorecard import compile_scorecard, parse_scorecard
from models.trees import compile_trees
from tests.models.tree_twin import random_model, render
from tests.sizes import sized

MODEL = random_model(1, [5, 1, 9])
COLUMNS = {"other": 0, **{name: 4 - index for index, name in enumerate(MODEL.feature_names)}}
HASHES = {name: f"hash of {name}" for name in COLUMNS}
CALIBRATION = Calibration([-np.inf, 0.0], [10_000, 20_000])


def save(folder: Path, text: str | None = None) -> str:
    """Write a good model folder, or one whose model is `text`."""
    return save_model(
        folder,
        name=folder.name,
        kind="lightgbm",
        model=(render(MODEL) if text is None else text).encode(),
        calibration=CALIBRATION,
        features={name: HASHES[name] for name in MODEL.feature_names},
    )


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest in place."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_a_saved_model_scores_as_lightgbm(tmp_path: Path) -> None:
    """Columns are found by name, and the address is the manifest's hash, the same for the same
    model.
    """
    address = save(tmp_path / "m")
    assert address == save(tmp_path / "n" / ".." / "m")
    tables, infos = load_models([tmp_path / "m"], COLUMNS, HASHES)
    assert infos[0].sha256 == address
    assert address == hashlib.sha256((tmp_path / "m" / MANIFEST).read_bytes()).hexdigest()
    rows = np.random.default_rng(0).normal(size=(300, 5))
    model_rows = rows[:, [COLUMNS[name] for name in MODEL.feature_names]]
    expected = lgb.Booster(model_str=render(MODEL)).predict(model_rows, raw_score=True)
    raw, pd_ppm = score_rows(tables, rows)
    assert raw[0].tolist() == list(np.asarray(expected))
    assert pd_ppm[0].tolist() == [20_000 if score >= 0 else 10_000 for score in raw[0]]


def test_no_models_is_legal() -> None:
    """A deployment whose policies need no score loads no model."""
    tables, infos = load_models([], {}, {})
    assert (len(tables.models), infos) == (0, [])


REFUSALS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "cannot be read"),
    "no manifest": (lambda f: (f / MANIFEST).unlink(), "manifest.json: cannot be read"),
    "no model": (lambda f: (f / "model.txt").unlink(), "model.txt: cannot be read"),
    "no calibration": (lambda f: (f / "calibration.csv").unlink(), "calibration.csv: cannot be"),
    "other model": (lambda f: (f / "model.txt").write_text("tree"), "its sha256 is not that in"),
    "empty manifest": (lambda f: (f / MANIFEST).write_text(""), "save the model again"),
    "half a manifest": (
        lambda f: (f / MANIFEST).write_bytes((f / MANIFEST).read_bytes()[:99]),
        "save the model again",
    ),
    "deep manifest": (lambda f: (f / MANIFEST).write_text("[" * 9999), "recursion limit"),
    "binary manifest": (lambda f: (f / MANIFEST).write_bytes(b"\xff\x00"), "save the model again"),
    "unknown key": (lambda f: edit_manifest(f, lambda m: m.update(extra=1)), "extra: Extra inputs"),
    "unknown kind": (lambda f: edit_manifest(f, lambda m: m.update(kind="onnx")), "kind: Input"),
    "missing key": (lambda f: edit_manifest(f, lambda m: m.pop("name")), "name: Field required"),
    "path as file": (
        lambda f: edit_manifest(f, lambda m: m["files"].update({"../x": "0" * 64})),
        "'files' must be model.txt and calibration.csv",
    ),
    "unknown feature": (
        lambda f: edit_manifest(f, lambda m: m["features"][0].update(name="gone")),
        "no feature 'gone' in the catalog; add it or retrain",
    ),
    "other definition": (
        lambda f: edit_manifest(f, lambda m: m["features"][0].update(definition_hash="old")),
        "'feature_0' is defined otherwise than when the model was trained",
    ),
    "features in another order": (
        lambda f: edit_manifest(f, lambda m: m["features"].reverse()),
        "model.txt: its features are not those of manifest.json",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_bad_folders_are_refused(name: str, tmp_path: Path) -> None:
    """Whatever is wrong with a folder, loading it is a ModelError that names the file."""
    break_it, refusal = REFUSALS[name]
    save(tmp_path / "m")
    break_it(tmp_path / "m")
    with pytest.raises(ModelError) as caught:
        load_models([tmp_path / "m"], COLUMNS, HASHES)
    assert refusal in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "m"))


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    """Policies name models, so a name stands once."""
    save(tmp_path / "a" / "m")
    save(tmp_path / "b" / "m")
    with pytest.raises(ModelError, match="a second model 'm'; rename one"):
        load_models([tmp_path / "a" / "m", tmp_path / "b" / "m"], COLUMNS, HASHES)


GOOD = render(MODEL)
TEXTS: dict[str, tuple[str, str]] = {
    "empty": ("", ":1: this is no LightGBM text model"),
    "json": ('{"name": "tree"}', ":1: this is no LightGBM text model"),
    "only its first line": ("tree\n", ":2: the file ends early"),
    "cut in the header": (GOOD[:60], ":5: the file ends early"),
    "cut in a line": (GOOD[: GOOD.index("leaf_value") + 20], "the file ends early"),
    "cut in a tree": (GOOD[: GOOD.index("leaf_value")], "the file ends early"),
    "cut after the trees": (GOOD[: GOOD.index("end of trees")], "the file ends early"),
    "tree too many": (GOOD.replace("end of trees", "Tree=3"), "'end of trees' belongs here"),
    "no version": (GOOD.replace("version=v4\n", ""), "format version '' is not one of v3, v4"),
    "old version": (GOOD.replace("version=v4", "version=v2"), "format version 'v2'"),
    "random forest": (
        GOOD.replace("feature_names=", "average_output\nfeature_names="),
        "random forests (averaged output) are not supported; train with boosting=gbdt",
    ),
    "three classes": (GOOD.replace("num_class=1", "num_class=3"), "several outputs"),
    "ranking": (GOOD.replace("binary sigmoid:1", "lambdarank"), "objective 'lambdarank' is none"),
    "linear": (GOOD.replace("is_linear=0", "is_linear=1", 1), "linear trees are not supported"),
    "unknown key": (GOOD.replace("num_cat", "num_bat", 1), "unknown key 'num_bat' in tree 0"),
    "doubled key": (GOOD.replace("num_leaves=5", "num_leaves=5\nnum_leaves=5"), "stands twice"),
    "no leaves": (GOOD.replace("num_leaves=5", "num_leaves=0"), "tree 0 has 0 leaves"),
    "other count": (GOOD.replace("num_leaves=5", "num_leaves=6"), "holds 5 values, not 6"),
    "NaN leaf": (GOOD.replace("leaf_value=", "leaf_value=nan ", 1), "values, not 5"),
    "tree missing": (GOOD.replace("Tree=1", "Tree=2"), "'Tree=1' belongs here"),
    "other length": (GOOD.replace("shrinkage=1", "shrinkage=1.0", 1), "copy the file again"),
    "not ASCII": (GOOD.replace("feature_1", "größe"), "is not printable ASCII"),
    "twin names": (GOOD.replace("feature_1", "feature_0"), "different names"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_bad_texts_are_refused(name: str) -> None:
    """A text that dipper cannot score exactly is refused with file, line and what to do."""
    text, refusal = TEXTS[name]
    with pytest.raises(ModelError) as caught:
        parse_lightgbm_text(Path("model.txt"), text.encode())
    assert str(caught.value).startswith("model.txt:")
    assert refusal in str(caught.value)


def with_line(key: str, value: str) -> bytes:
    """Replace the first tree's line of `key` and mend the declared size."""
    start = GOOD.index(f"\n{key}=", GOOD.index("Tree=0")) + 1
    stop = GOOD.index("\n", start)
    text = GOOD[:start] + f"{key}={value}" + GOOD[stop:]
    sizes_at = text.index("tree_sizes=") + len("tree_sizes=")
    first, rest = text[sizes_at:].split(" ", 1)
    size = int(first) + len(f"{key}={value}") - (stop - start)
    return f"{text[:sizes_at]}{size} {rest}".encode()


LINES = [
    ("split_feature", "0 1 4 0", "a feature that is not in 'feature_names'"),
    ("split_feature", "0 1 -1 0", "a feature that is not in 'feature_names'"),
    ("left_child", "0 -1 -2 -3", "do not form one tree"),
    ("left_child", "1 1 1 1", "do not form one tree"),
    ("left_child", "-1 -1 -1 -1", "do not form one tree"),
    ("right_child", "-9 -1 -2 -3", "do not form one tree"),
    ("decision_type", "0 0 0 12", "unknown decision_type 12"),
    ("decision_type", "1 1 1 1", "names no set of categories"),
    ("threshold", "0 0 0 -inf", "something else than finite numbers"),
    ("threshold", "0 0 0 nan", "something else than finite numbers"),
    ("leaf_value", "1 1 1 1 inf", "something else than finite numbers"),
    ("threshold", "0 0 0 1e400", "beyond float64"),
    ("threshold", "0 0 0 1_0", "something else than finite numbers"),
    ("leaf_value", "1e308 1 1 1 -1e999", "beyond float64"),
    ("num_cat", "3", "'cat_boundaries' of tree 0"),
]


@pytest.mark.parametrize(("key", "value", "refusal"), LINES)
def test_bad_trees_are_refused(key: str, value: str, refusal: str) -> None:
    """A tree that would read outside its arrays, loop or score as infinity is refused."""
    with pytest.raises(ModelError) as caught:
        parse_lightgbm_text(Path("model.txt"), with_line(key, value))
    assert refusal in str(caught.value)


@st.composite
def mutated(draw: st.DrawFn, good: bytes) -> bytes:
    """Change, drop, double or cut up to three bytes of `good`."""
    body = bytearray(good)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(len(body) - 1, 0)))
        kind = draw(st.sampled_from(["replace", "digit", "delete", "double", "cut"]))
        if kind == "replace":
            body[place : place + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == "digit":
            body[place : place + 1] = bytes([draw(st.sampled_from(list(b"0123456789-. =,\n")))])
        elif kind == "delete":
            del body[place : place + 1]
        elif kind == "double":
            body[place:place] = body[place : place + 1]
        else:
            del body[place:]
    return bytes(body)


@settings(max_examples=sized(200))
@given(body=mutated(GOOD[: GOOD.index("end of trees") + 13].encode()))
def test_mutated_texts_are_refused_or_score_as_in_lightgbm(body: bytes) -> None:
    """Whatever bytes change, a text that both readers take gives the same scores in both."""
    try:
        model = parse_lightgbm_text(Path("model.txt"), body)
    except ModelError:
        return
    tables = compile_trees(model, range(len(model.feature_names)))
    tables.models["step_stop"] = 1
    tables = tables._replace(step_from=np.array([-np.inf]), step_pd_ppm=np.array([1], np.int64))
    rows = np.random.default_rng(0).normal(size=(40, len(model.feature_names))) * 3
    got = score_rows(tables, rows)
    try:
        expected = lgb.Booster(model_str=body.decode()).predict(rows, raw_score=True)
    except lgb.basic.LightGBMError:
        return  # a figure that scores do not need, such as a count or the sigmoid's slope
    assert got[0][0].tolist() == list(np.asarray(expected))


TABLE = b"feature,from,to,points\nage,missing,,1\nage,,30,2\nage,30,,3\ndpd,missing,,0\ndpd,,,7\n"
STEPS = render_calibration(Calibration([-np.inf, 0.25, 1e300], [0, 20, 1_000_000]))


@settings(max_examples=sized(300))
@given(card=mutated(TABLE), steps=mutated(STEPS))
def test_mutated_tables_are_refused_or_whole(card: bytes, steps: bytes) -> None:
    """Whatever bytes change, a table is refused by ModelError, or every value finds its bin."""
    try:
        features = parse_scorecard(Path("s.csv"), card)
        tables = with_calibration(
            compile_scorecard(features, range(len(features))),
            parse_calibration(Path("c.csv"), steps),
        )
    except ModelError:
        return
    rows = np.random.default_rng(0).normal(size=(40, len(features))) * 40
    raw, pd_ppm = score_rows(tables, rows)
    assert np.isfinite(raw).all()
    assert ((pd_ppm >= 0) & (pd_ppm <= 1_000_000)).all()


def test_mutated_manifests_are_refused_or_load(tmp_path: Path) -> None:
    """Whatever bytes of a manifest change, nothing but ModelError comes out of loading it."""
    save(tmp_path / "m")
    good = (tmp_path / "m" / MANIFEST).read_bytes()

    @settings(max_examples=sized(200))
    @given(body=mutated(good))
    def load(body: bytes) -> None:
        (tmp_path / "m" / MANIFEST).write_bytes(body)
        with contextlib.suppress(ModelError):
            tables, infos = load_models([tmp_path / "m"], COLUMNS, HASHES)
            assert len(tables.models) == len(infos) == 1

    load()
