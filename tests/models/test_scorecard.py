"""Scorecards and calibrations: kernels against obvious twins, tables read exactly or refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.artifact import load_models, save_model
from models.calibrate import Calibration, parse_calibration, render_calibration, with_calibration
from models.errors import ModelError
from models.score import score_rows
from models.scorecard import CardFeature, compile_scorecard, parse_scorecard
from tests.models.tree_twin import values
from tests.sizes import sized

finite = st.floats(allow_nan=False, allow_infinity=False)


def edges(limits: set[float]) -> list[float]:
    """Return starts of bins, the first without limit."""
    return [-np.inf, *sorted(limits)]


@st.composite
def scorecards(draw: st.DrawFn) -> list[CardFeature]:
    """Draw a scorecard of up to three features."""
    features = []
    for index in range(draw(st.integers(0, 3))):
        starts = edges(draw(st.sets(finite, max_size=8)))
        points = st.integers(-(10**9), 10**9)
        own = draw(st.lists(points, min_size=len(starts), max_size=len(starts)))
        features.append(CardFeature(f"feature_{index}", draw(points), starts, own))
    return features


@st.composite
def calibrations(draw: st.DrawFn) -> Calibration:
    """Draw a monotone calibration, rising or falling."""
    starts = edges(draw(st.sets(finite, max_size=8)))
    pds = st.lists(st.integers(0, 1_000_000), min_size=len(starts), max_size=len(starts))
    return Calibration(starts, sorted(draw(pds), reverse=draw(st.booleans())))


def twin_step(starts: list[float], value: float) -> int:
    """Return the last start that the value reaches, by looking at each."""
    return max(index for index, start in enumerate(starts) if index == 0 or value >= start)


@pytest.mark.kernel
@settings(max_examples=sized(200))
@given(card=scorecards(), calibration=calibrations(), data=st.data())
def test_points_and_pd_are_their_twins(
    card: list[CardFeature], calibration: Calibration, data: st.DataObject
) -> None:
    """The score is the sum of each feature's points, the PD that of the step it reaches."""
    probes = [start for feature in card for start in feature.starts]
    value = st.one_of(values, st.sampled_from(probes)) if probes else values
    row = data.draw(st.lists(value, min_size=4, max_size=4))
    score = 0
    for index, feature in enumerate(card):
        if np.isnan(row[index + 1]):
            score += feature.missing_points
        else:
            score += feature.points[twin_step(feature.starts, row[index + 1])]
    tables = with_calibration(compile_scorecard(card, [1, 2, 3]), calibration)
    raw, pd_ppm = score_rows(tables, np.array([row]))
    assert raw[0, 0] == float(score)
    assert pd_ppm[0, 0] == calibration.pd_ppm[twin_step(calibration.raw_from, float(score))]


@settings(max_examples=sized(100))
@given(calibration=calibrations())
def test_calibration_survives_its_file(calibration: Calibration) -> None:
    """What is written is read back to the same floats and integers."""
    assert parse_calibration(Path("c.csv"), render_calibration(calibration)) == calibration


def test_scorecard_is_read_as_written() -> None:
    """A table with a byte order mark, blanks and Windows line ends is read as it looks."""
    text = "\ufefffeature,from,to,points\r\nage, missing,,-5\r\nage,,25,10\r\nage,25,,+0\r\n"
    text = text.replace("+0", "20") + 'dpd,missing,,0\r\n"dpd",,,7\r\n'
    assert parse_scorecard(Path("s.csv"), text.encode()) == [
        CardFeature("age", -5, [-np.inf, 25.0], [10, 20]),
        CardFeature("dpd", 0, [-np.inf], [7]),
    ]


HEAD = "feature,from,to,points\n"
BAD_SCORECARDS = {
    "s.csv:1: the first line must be": "",
    "s.csv:1: the first line must be 'feature,from,to,points'": "feature;from;to;points\n",
    "s.csv:1: the table has no rows": HEAD,
    "s.csv:2: 3 cells stand where 4 belong": HEAD + "age,missing,0\n",
    "s.csv:2: 5 cells": HEAD + "age,missing,,0,\n",
    "s.csv:2: 'feature' is empty": HEAD + ",missing,,0\n",
    "s.csv:2: 'age' must begin with its row for missing": HEAD + "age,,,1\n",
    "s.csv:2: 'age' must begin": HEAD + "age,missing,3,1\n",
    "s.csv:2: 'age' has no bins": HEAD + "age,missing,,1\n",
    "s.csv:2: 'points' is '1.5'; write a whole number": HEAD + "age,missing,,1.5\nage,,,1\n",
    "s.csv:3: 'points' is '9999999999'": HEAD + "age,missing,,1\nage,,,9999999999\n",
    "s.csv:3: 'points' is '\u0663'": HEAD + "age,missing,,1\nage,,,\u0663\n",
    "s.csv:3: 'from' must be the 'to' of the bin before": HEAD + "age,missing,,1\nage,1,,1\n",
    "s.csv:4: 'from' must be": HEAD + "age,missing,,1\nage,,5,1\nage,6,,1\n",
    "s.csv:3: 'to' is 'nan'; write a finite number": HEAD + "age,missing,,1\nage,,nan,1\n",
    "s.csv:3: 'to' is '1e999'": HEAD + "age,missing,,1\nage,,1e999,1\n",
    "s.csv:4: 'to' must be above": HEAD + "age,missing,,1\nage,,5,1\nage,5,5,1\n",
    "s.csv:4: 'from' must be the": HEAD + "age,missing,,1\nage,,,1\nage,,,1\n",
    "s.csv:3: the last bin of 'age' must have no 'to'": HEAD + "age,missing,,1\nage,,5,1\n",
    "s.csv:4: 'age' stands in two places": HEAD
    + "age,missing,,1\nage,,,1\n".replace("age,,,1\n", "age,,,1\nx,missing,,1\nx,,,1\nage,,,1\n"),
    "s.csv:2: unexpected end of data": HEAD + 'age,"missing',
}


@pytest.mark.parametrize("refusal", BAD_SCORECARDS)
def test_bad_scorecards_are_refused(refusal: str) -> None:
    """A scorecard that is wrong is refused with its line and what to write."""
    data = BAD_SCORECARDS[refusal]
    refusal = refusal.replace(":4: 'age' stands", ":6: 'age' stands")
    with pytest.raises(ModelError) as caught:
        parse_scorecard(Path("s.csv"), data.encode())
    assert str(caught.value).startswith(refusal)


STEPS = "raw_from,pd_ppm\n"
BAD_CALIBRATIONS = {
    "c.csv:1: the first line must be 'raw_from,pd_ppm'": "raw,pd\n,1\n",
    "c.csv:1: the table has no rows": STEPS,
    "c.csv:2: the first 'raw_from' must be empty": STEPS + "0,1\n",
    "c.csv:3: 'raw_from' is ''": STEPS + ",1\n,2\n",
    "c.csv:4: 'raw_from' must rise": STEPS + ",1\n5,2\n5,3\n",
    "c.csv:4: 'pd_ppm' must only rise or only fall": STEPS + ",1\n5,2\n6,1\n",
    "c.csv:3: 'pd_ppm' is '-1'": STEPS + ",1\n5,-1\n",
    "c.csv:2: 'pd_ppm' is '1000001'": STEPS + ",1000001\n",
    "c.csv:3: 'raw_from' is 'inf'": STEPS + ",1\ninf,2\n",
}


@pytest.mark.parametrize("refusal", BAD_CALIBRATIONS)
def test_bad_calibrations_are_refused(refusal: str) -> None:
    """A calibration that is not monotone or not whole is refused with its line."""
    with pytest.raises(ModelError) as caught:
        parse_calibration(Path("c.csv"), BAD_CALIBRATIONS[refusal].encode())
    assert str(caught.value).startswith(refusal)


def test_scorecard_folder_loads(tmp_path: Path) -> None:
    """A scorecard saved as a folder decides as the table says, in the catalog's columns."""
    save_model(
        tmp_path / "card",
        name="card",
        kind="scorecard",
        model=(HEAD + "age,missing,,1\nage,,30,2\nage,30,,3\n").encode(),
        calibration=Calibration([-np.inf, 2.0, 3.0], [300, 200, 100]),
        features={"age": "h1"},
    )
    tables, infos = load_models([tmp_path / "card"], {"x": 0, "age": 1}, {"x": "h0", "age": "h1"})
    raw, pd_ppm = score_rows(tables, np.array([[0, np.nan], [0, 29.9], [0, 30.0]]))
    assert raw.tolist() == [[1.0, 2.0, 3.0]]
    assert pd_ppm.tolist() == [[300, 200, 100]]
    assert infos[0].features == ("age",)
