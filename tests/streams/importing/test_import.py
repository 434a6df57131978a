"""Own data in: what can be read is told, what cannot is refused by reason, nothing goes unseen."""

from pathlib import Path

import orjson
import polars as pl
import pytest
from typer.testing import CliRunner

from features.catalog import load_catalog
from models.policy.errors import PolicyError
from models.train.dataset import dataset, read_labels
from streams.cli import app
from streams.config import load_deployment
from streams.errors import DipperError
from streams.importing.columns import Times, spelled
from streams.importing.convert import Imported, import_csv
from streams.replay import replay

TODAY_MS = 1_800_000_000_000  # 2027-01-15
MAP = """
zone = "Europe/Berlin"
[[join]]
file = "people.csv"
on = "customer"
[request]
applicant = "customer"
id = "loan"
at = "made"
amount = "sum"
tenor_days = 30
[[request.attributes]]
column = "Job Type"
type = "category"
missing = ["?"]
[[request.attributes]]
column = "salary"
scale = 100
[outcome]
column = "status"
bad = ["B"]
good = ["G"]
indeterminate = ["I"]
[[activity]]
file = "orders.csv"
applicant = "customer"
at = "day"
kind = "order"
amount = "price"
lag_days = 2
"""
LOANS = """customer,loan,made,sum,status
c1,l1,2026-03-01 10:00:00,100,G
c2,l2,2026-03-02T10:00:00+00:00,200,B
c3,l3,yesterday,100,G
c4,l4,2090-01-01,100,G
c1,l1,2026-03-03,100,G
c5,l5,2026-03-04,-1,G
c6,l6,2026-03-05,100,X
c7,l7,2026-03-06,100,I
,l8,2026-03-07,100,G
"""
PEOPLE = "customer,Job Type,salary\nc1,Self employed,12.5\nc2,?,lots\nc2,Clerk,1\n"
ORDERS = "customer,day,price\nc1,2026-02-27,9.99\nc1,2026-02-28,-3\nz9,2026-02-28,1\n"


def run(folder: Path, **changed: str) -> Imported:
    """Import the files above, each as it stands or as `changed` by its name."""
    files = {"map.toml": MAP, "loans.csv": LOANS, "people.csv": PEOPLE, "orders.csv": ORDERS}
    for name, text in files.items():
        (folder / name).write_text(changed.get(name.partition(".")[0], text))
    return import_csv(
        folder / "loans.csv", folder / "map.toml", folder / "events.jsonl",
        folder / "labels.csv", TODAY_MS, folder / "mine",
    )  # fmt: skip


def test_every_row_is_written_or_counted(tmp_path: Path) -> None:
    """Applications and refused rows are all rows; each refusal has its reason and stands in a
    file.
    """
    done = run(tmp_path)
    assert done.requests == 4
    assert done.counts.read == 9
    assert done.counts.refused == {
        "time cannot be read": 1,
        "time lies in the future": 1,
        "applicant and id stand twice; the first counts": 1,
        "amount is missing, zero, negative or too large": 1,
        "applicant or id is empty or longer than 40 bytes": 1,
        "outcome 'X' is in no list of the map: request kept, no label": 1,
        "orders.csv: a negative amount: map it to a kind of its own": 1,
        "orders.csv: nobody of that id applies": 1,
    }
    assert done.refused_file is not None
    refused = pl.read_csv(done.refused_file)
    assert refused.height == 9 - done.requests
    assert refused["line"].sort().to_list() == [4, 5, 6, 7, 10]
    assert read_labels(tmp_path / "labels.csv")["bad"].to_list() == [0, 1]
    notes = " ".join(done.counts.notes)
    assert "people.csv: 1 rows repeat a key" in notes
    assert "1 outcomes are indeterminate" in notes
    assert "salary: 1 values are no number" in notes
    assert "1 times bear a zone of their own" in notes


def test_times_zones_and_lags_are_as_stated(tmp_path: Path) -> None:
    """A time without a zone is one of the map's zone, a fact stands where it became known, and the
    log is one that the step takes whole.
    """
    run(tmp_path)
    lines = [orjson.loads(line) for line in (tmp_path / "events.jsonl").read_bytes().splitlines()]
    events = [line for line in lines if line["type"] != "tick"]
    by_id = {event["id"]: event for event in events}
    assert by_id["l1"]["at"] == 1_772_355_600_000  # 2026-03-01 09:00 UTC
    assert by_id["l2"]["at"] == 1_772_445_600_000  # 2026-03-02 10:00 UTC
    assert by_id["l1"]["amount_cents"] == 10_000
    assert by_id["l1"]["salary"] == 1_250
    assert by_id["l1"]["job_type"] == "self_employed"
    assert "job_type" not in by_id["l2"]
    assert [event["type"] for event in events][:2] == ["activity", "application"]
    result = replay(tmp_path / "events.jsonl", deployment_without_policies(tmp_path))
    assert result.dead_letters.is_empty()
    assert result.decisions.height == 4


def deployment_without_policies(folder: Path) -> Path:
    """Take the policy away: it names a model that is not trained yet."""
    (folder / "mine" / "institutions" / "own" / "loan.toml").unlink()
    assert load_deployment(folder / "mine", features="all").catalog.columns["job_type"] >= 0
    return folder / "mine"


def test_imported_columns_reach_training(tmp_path: Path) -> None:
    """The data set of an import holds the file's columns as features, at their own request."""
    run(tmp_path)
    frame = dataset(
        tmp_path / "events.jsonl", tmp_path / "labels.csv", tmp_path / "mine", policies=False
    )
    assert frame["salary"].to_list()[0] == 1_250
    assert frame["order_count_30d"].to_list() == [1, 0]
    assert frame["bad"].to_list() == [0, 1]


WRONG = {
    "no column": (
        {"loans": LOANS.replace("made", "when")},
        "has no column 'made'; it has customer",
    ),
    "no file": ({"map": MAP.replace("orders.csv", "gone.csv")}, "gone.csv: no such file"),
    "zone": ({"map": MAP.replace("Europe/Berlin", "Berlin")}, "zone 'Berlin' is not known"),
    "both": ({"map": MAP.replace('good = ["G"]', 'good = ["B"]')}, "'B' is both bad and good"),
    "no amount": ({"map": MAP.replace('amount = "sum"\n', "")}, "give `amount`, a column"),
    "no row": ({"loans": LOANS[:29] + "\nc,l,never,1,G\n"}, "no row of 1 can be an application"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_map_or_file_is_one_sentence(name: str, tmp_path: Path) -> None:
    """What cannot be imported is refused with the file, what is wrong and what there is."""
    changed, sentence = WRONG[name]
    with pytest.raises(DipperError) as caught:
        run(tmp_path, **changed)
    assert sentence in str(caught.value)


def test_an_unknown_field_of_a_map_is_told_by_line(tmp_path: Path) -> None:
    """A misspelt field is refused with file, line and the likely word."""
    with pytest.raises(PolicyError, match=r"map.toml:11.*did you mean tenor_days"):
        run(tmp_path, map=MAP.replace("tenor_days = 30", "tenor_day = 30"))


def test_names_are_spelled_as_catalogs_do() -> None:
    """Column names become lower case with underscores, and never begin with a digit."""
    assert spelled("MSinceOldestTradeOpen") == "msince_oldest_trade_open"
    assert spelled("Job Type (new)") == "job_type_new"
    assert spelled("30 days") == "c_30_days"


def test_times_are_read_by_a_form() -> None:
    """A form reads what is written otherwise; what does not fit is none."""
    times = Times("UTC", "map")
    read = times.read(pl.Series(["31.01.2026", "2026-01-31", None]), "%d.%m.%Y")
    assert read.to_list() == [1_769_817_600_000, None, None]


def test_the_default_attributes_can_give_way(tmp_path: Path) -> None:
    """With `defaults = false` the catalog has the file's attributes, and no ratio of what is
    gone.
    """
    path = tmp_path / "catalog.toml"
    path.write_text('defaults = false\n[[attributes]]\nname = "x"\nunit = "u"\n')
    catalog = load_catalog(path)
    assert [attribute.name for attribute in catalog.attributes] == ["x"]
    assert not catalog.signals
    assert "debt_to_income" not in catalog.columns
    assert "request_to_last_loan" in catalog.columns


def test_the_command_tells_counts(tmp_path: Path) -> None:
    """`dipper import` prints what it wrote and refused, and as JSON the same."""
    run(tmp_path)
    arguments = ["import", str(tmp_path / "loans.csv"), "--map", str(tmp_path / "map.toml"),
                 "--out", str(tmp_path / "again.jsonl"), "--summary", "json"]  # fmt: skip
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "refused 1: time cannot be read" in done.stdout
    told = orjson.loads(done.stdout.splitlines()[-1])
    assert (told["rows"], told["applications"], told["labels"], told["bad"]) == (9, 4, 2, 1)
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "events.jsonl").read_bytes()
