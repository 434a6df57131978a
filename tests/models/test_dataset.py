"""The training set: labels read strictly, joined to the features of their own request, as known."""

import math
from pathlib import Path

import polars as pl
import pytest

from features.catalog import load_catalog
from models.errors import ModelError
from models.train import dataset

DECISIONS = pl.DataFrame(
    {
        "id": ["d1", "d2", "d3", "d4"],
        "applicant": ["p1", "p2", "p1", "f1"],
        "request": ["e1", "e1", "e2", "e1"],
        "at": [30, 10, 20, 40],
        "type": ["application", "application", "drawdown", "application"],
        "product": ["cash_line", "cash_line", None, "invoice_loan"],
        "channel": ["app", "web", None, "supplier"],
        "line": [None, None, "d1", None],
    }
)
EVIDENCE = pl.DataFrame(
    {
        "decision": ["d4", "d3", "d2", "d1"],
        "income_cents": [math.nan, 1.0, 2.0, 3.0],
    }
)
LABELS = pl.DataFrame(
    {
        "applicant": ["p1", "p2", "f1", "p9"],
        "id": ["e1", "e1", "e1", "e1"],
        "bad": [1, 0, 1, 0],
        "known_at": [100, 200, 300, 400],
    }
)


def test_each_label_meets_its_own_request() -> None:
    """A row has the features of the request that applicant and id name, oldest first."""
    frame = dataset.label_requests(DECISIONS, EVIDENCE, LABELS, ["income_cents"])
    assert frame.select("applicant", "request", "bad", "known_at").rows() == [
        ("p2", "e1", 0, 200),
        ("p1", "e1", 1, 100),
        ("f1", "e1", 1, 300),
    ]
    assert frame["income_cents"].to_list()[:2] == [2.0, 3.0]


def test_products_of_one_side() -> None:
    """Only requests for the products asked for stay, drawdowns by the product of their line."""
    labels = LABELS.with_columns(id=pl.Series(["e2", "e1", "e1", "e1"]))
    frame = dataset.label_requests(DECISIONS, EVIDENCE, labels, ["income_cents"], ["cash_line"])
    assert frame.select("type", "product").rows() == [
        ("application", "cash_line"),
        ("drawdown", "cash_line"),
    ]


def test_no_label_is_an_error() -> None:
    """Labels of another log are refused with a sentence."""
    with pytest.raises(ModelError, match="none of the log's 4 requests"):
        dataset.label_requests(DECISIONS, EVIDENCE, LABELS.head(0), ["income_cents"])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("applicant,id,bad\np1,e1,1\n", "no column 'known_at'"),
        ("applicant,id,bad,known_at\np1,e1,2,5\n", "line 2: bad is 0 or 1"),
        ("applicant,id,bad,known_at\np1,e1,1,5\np1,e2,,5\n", "line 3: bad is 0 or 1"),
        ("applicant,id,bad,known_at\np1,e1,1,5\np2,e1,0,5\np1,e1,0,6\n", "line 2: one label"),
        ("applicant,id,bad,known_at\np1,e1,1,soon\n", "write a CSV"),
        ("applicant,id,bad,known_at,propensity\np1,e1,1,5,0\n", "line 2: propensity is above 0"),
        ("", "write a CSV"),
    ],
)
def test_wrong_labels_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    """A labels file that is wrong is refused with its name, line and remedy."""
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(ModelError, match=complaint) as error:
        dataset.read_labels(path)
    assert str(path) in str(error.value)


def test_labels_are_read_as_written(tmp_path: Path) -> None:
    """Ids that look like numbers stay text; other columns are left out."""
    path = tmp_path / "labels.csv"
    path.write_text("known_at,applicant,id,bad,note\n5,007,01,1,x\n")
    assert dataset.read_labels(path).rows() == [("007", "01", 1, 5)]
    with pytest.raises(ModelError, match="cannot be read"):
        dataset.read_labels(tmp_path / "none.csv")


def test_trainable_columns_say_something() -> None:
    """Columns with one value, and those of other readers, are left out; categories are named."""
    catalog = load_catalog(None)
    frame = pl.DataFrame({name: [0.0, 0.0, math.nan] for name in catalog.columns}).with_columns(
        income_cents=pl.Series([1.0, 2.0, math.nan]),
        region=pl.Series([0.0, 1.0, 2.0]),
        device_risk=pl.Series([0.1, 0.2, 0.3]),
        dependents=pl.Series([math.nan] * 3),
    )
    features = dataset.trainable(frame, catalog)
    assert features == ["income_cents", "region"]
    assert dataset.categorical(catalog, features) == ["region"]
    assert "device_risk" in dataset.trainable(frame, catalog, reader="platform")
