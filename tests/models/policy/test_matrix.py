"""Matrices of two values: what loads, what is refused, and what a cell comes to."""

import csv
import io
from pathlib import Path

import pytest

from models.policy.cases import run_cases
from models.policy.errors import PolicyError
from models.policy.expression import FEATURE, PD, Column
from models.policy.matrix import Matrix, Side, read_matrix
from models.policy.platform import load_platform
from tests.models.policy.deployments import COLUMNS, MODELS, load, write

LOAN = "institutions/acme/loan.toml"
CLASSES = "class,rate_bps,fee_bps,limit_cents,limit_income_bps,tenor_days_max\n"
TERMS = CLASSES + "A,1000,100,400000,10000,90\nB,2000,0,200000,10000,30\n"
MATRIX = """\
pd_ppm \\ age_years,missing,<25,25..60,>=60
<20000,B,B,A,A
20_000..80000,refuse,refuse,B,A
>=80000,refuse,refuse,refuse,B
"""
NAMES = {"pd_ppm": Column(PD, 0), "age_years": Column(FEATURE, 0), "region": Column(0, 2, {"n": 0})}
CASE = """
[[cases]]
name = "asked"
amount_cents = 100_000
tenor_days = 30
pd_ppm = {pd}
features = {{ {age} income_cents = 300_000 }}
expect = {{ outcome = "{outcome}", band = {band}, rules = [{rules}], reasons = [{reasons}] }}
"""


def write_matrix(folder: Path, text: str = MATRIX, terms: str = TERMS, more: str = "") -> Path:
    """Write the deployment with a matrix in acme's loan and no rule of its own, `more` behind."""
    named = 'bands = "bands.csv"\nmatrix = "m.csv"\nmatrix_reason = "history_too_short"'
    write(folder, {LOAN: ('bands = "bands.csv"', named)})
    home = folder / "institutions" / "acme"
    (home / "m.csv").write_text(text)
    (home / "bands.csv").write_text(terms)
    policy, _, _ = (folder / LOAN).read_text().partition("[[application.rules]]")
    (folder / LOAN).write_text(policy + more)
    return folder


# pd, age (- missing), band (-1 refused), reasons
ASKED = """
19999  24  1  -
19999  25  0  -
19999  60  0  -
19999  -   1  -
20000  25  1  -
20000  60  0  -
20000  24  -1 history_too_short
20000  -   -1 history_too_short
80000  59  -1 history_too_short
80000  60  1  -
100001 60  1  score_above_cut_off
100001 59  -1 history_too_short,score_above_cut_off
"""


@pytest.mark.parametrize("row", ASKED.strip().splitlines())
def test_a_cell_gives_its_class_or_refuses(tmp_path: Path, row: str) -> None:
    """Bands hold their lower end; a cell that refuses is a rule beside the cut-off."""
    pd, age, band, reasons = row.split()
    codes = [] if reasons == "-" else reasons.split(",")
    case = CASE.format(
        pd=pd,
        age="" if age == "-" else f"age_years = {age},",
        outcome="credit" if codes else "approved",
        band=band,
        rules='"matrix"' if band == "-1" else "",
        reasons=", ".join(f'"{code}"' for code in codes),
    )
    folder = write_matrix(tmp_path, more=case)
    result = run_cases(load(folder), 0, load_platform(folder), COLUMNS, MODELS)[0]
    assert not result.differences


def test_a_value_without_a_band_is_incomplete_data(tmp_path: Path) -> None:
    """Where a side has no band for missing, a missing value is refused as incomplete data."""
    lines = [line.split(",") for line in MATRIX.splitlines()]
    text = "".join(",".join([first, *rest]) + "\n" for first, _, *rest in lines)
    case = CASE.format(
        pd=10,
        age="",
        outcome="data",
        band=-1,
        rules='"matrix.missing"',
        reasons='"data_incomplete"',
    )
    policies = load(write_matrix(tmp_path, text, more=case))
    assert [rule.label for rule in policies.infos[0].rules[0][1:]] == ["matrix", "matrix.missing"]


def test_a_spreadsheet_may_save_a_matrix() -> None:
    """Read, written as a spreadsheet writes it and read again, a matrix is the same."""
    path = Path("m.csv")
    first = read_matrix(path, MATRIX.encode(), NAMES, ["A", "B"])
    out = io.StringIO()
    for line in csv.reader(io.StringIO(MATRIX)):
        csv.writer(out, dialect="excel").writerow([*line, "", ""])
    saved = b"\xef\xbb\xbf" + out.getvalue().encode() + b",,,,,,\r\n"
    assert read_matrix(path, saved, NAMES, ["A", "B"]) == first
    assert first == Matrix(
        Side(NAMES["pd_ppm"], (20_000.0, 80_000.0), has_missing=False),
        Side(NAMES["age_years"], (25.0, 60.0), has_missing=True),
        ((1, 0, 0, 1), (-1, 1, 0, -1), (-1, -1, 1, -1), (-1, -1, -1, -1)),
    )


# what stands in the matrix, by what it is replaced, where it is at fault, what is said
WRONG = [
    ("pd_ppm \\ age_years", "pd_ppm", "m.csv:1: column 1", "names no two values"),
    ("age_years", "age_year", "m.csv:1: column 1", "did you mean age_years?"),
    ("age_years", "region", "m.csv:1: column 1", "region is a category"),
    ("25..60", "26..60", "m.csv:1: column 4", "leaves a gap to the band before; begin it with 25"),
    ("25..60", "24..60", "m.csv:1: column 4", "overlaps the band before; begin it with 25"),
    ("25..60", "60..25", "m.csv:1: column 4", "holds no number; swap its ends"),
    ("25..60", "25-60", "m.csv:1: column 4", "'25-60' is no band"),
    ("25..60", ">=25", "m.csv:1: column 5", "overlaps >=25, which has no end"),
    ("<25", "18..25", "m.csv:1: column 3", "leaves a gap below 18; write <25"),
    (">=60", "60..99", "m.csv:1: column 5", "leaves a gap from 99; write >=60"),
    (">=80000", ">=80001", "m.csv:4: column 1", "begin it with 80000"),
    ("20_000..", "20_001..", "m.csv:3: column 1", "leaves a gap to the band before"),
    ("missing,<25", "<25,missing", "m.csv:1: column 3", "missing stands once, first or last"),
    ("refuse,B,A", "refuse,C,A", "m.csv:3: column 4", "unknown class C"),
    ("refuse,B,A", "refuse,,A", "m.csv:3: column 4", "unknown class blank"),
    (",A,A", ",A", "m.csv:2", "has 4 cells, the header 5"),
    ("<20000,B,B,A,A\n", "", "m.csv:2: column 1", "leaves a gap below 20000"),
    (MATRIX, "", "m.csv: is empty", "write a matrix"),
]


@pytest.mark.parametrize(("old", "new", "place", "said"), WRONG)
def test_a_wrong_matrix_is_refused_in_one_sentence(
    tmp_path: Path, old: str, new: str, place: str, said: str
) -> None:
    """A gap, an overlap or a wrong word refuses the whole load, with file, line and column."""
    assert old in MATRIX
    with pytest.raises(PolicyError) as caught:
        load(write_matrix(tmp_path, MATRIX.replace(old, new, 1)))
    sentence = str(caught.value)
    assert place in sentence
    assert said in sentence
    assert "\n" not in sentence


# what stands in the class table or policy, by what it is replaced, what is said
MISMATCHED = [
    ("bands.csv", "B,2000", "b!,2000", "bands.csv:3: class: 'b!' is no class"),
    ("bands.csv", "B,2000", "refuse,2000", "'refuse' is no class"),
    ("bands.csv", "B,2000", "A,2000", "bands.csv:3: class: A stands twice"),
    ("bands.csv", "B,2000", "B,-1", "bands.csv:3: rate_bps: '-1' is not a whole number"),
    ("bands.csv", "class", "pd_ppm_max", "pd_ppm_max: unknown column"),
    ("bands.csv", "B,", "C,1,1,10000,1,30\nB,", "no cell names the class C"),
    (
        "loan.toml",
        "history_too_short",
        "history_too_shor",
        "unknown reason history_too_shor; did you mean",
    ),
    ("loan.toml", '"m.csv"', '"../m.csv"', "application.matrix: must name a .csv file"),
    ("loan.toml", '"m.csv"', '"n.csv"', "application.matrix: n.csv cannot be read"),
]


@pytest.mark.parametrize(("name", "old", "new", "said"), MISMATCHED)
def test_matrix_classes_and_policy_agree(
    tmp_path: Path, name: str, old: str, new: str, said: str
) -> None:
    """Each class stands once and in some cell, and the policy names file and reason rightly."""
    folder = write_matrix(tmp_path)
    path = folder / "institutions" / "acme" / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(PolicyError) as caught:
        load(folder)
    assert said in str(caught.value)


def test_the_hash_covers_the_matrix(tmp_path: Path) -> None:
    """A changed cell is another policy."""
    one = load(write_matrix(tmp_path / "a")).infos[0]
    other = load(write_matrix(tmp_path / "b", MATRIX.replace("<20000,B", "<20000,A"))).infos[0]
    assert one.sha256 != other.sha256
