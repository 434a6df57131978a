"""What the superlender run counts and compares: a loss, a repeat and a differing byte are seen."""

from pathlib import Path

import polars as pl
import pytest
import typer

from examples.superlender.__main__ import main
from examples.superlender.measure import figures, same_files

LABELS = pl.DataFrame(
    {"applicant": list("abcdef"), "id": ["r"] * 6, "bad": [0, 1, 0, 1, 0, 1], "known_at": [9] * 6}
)
DECISIONS = pl.DataFrame(
    {
        "id": ["1", "2", "3", "4", "5", "5"],
        "applicant": ["a", "b", "c", "d", "e", "e"],
        "request": ["r"] * 6,
        "at": [1, 2, 3, 4, 5, 5],
        "outcome": ["approved", "credit", "approved", "approved", "capacity", "capacity"],
        "institution": ["north", None, "dawn", "north", None, None],
    }
)
EVIDENCE = pl.DataFrame(
    {
        "decision": ["5", "5", "4", "3", "2", "1"],
        "raw.consumer": [-1.0, -1.0, 0.5, -2.0, 1.0, 0.0],
        "pd_ppm.consumer": [200_000, 200_000, 600_000, 100_000, 700_000, 300_000],
    }
)


def test_losses_and_repeats_are_counted() -> None:
    """A labelled request without a decision is lost, a second decision is a repeat; rates count
    each request once, from the test's first instant on.
    """
    found = figures(DECISIONS, EVIDENCE, LABELS, 2, 3)
    assert (found.decided, found.lost, found.duplicated, found.dead_letters) == (5, 1, 1, 3)
    assert (found.test_rows, found.bad_rate) == (4, 0.5)
    assert found.mean_pd == pytest.approx(0.4)
    assert found.auc.value == found.ks.value == 1.0  # b and d above c and e
    assert (found.approved_rate, found.bad_rate_of_approved) == (0.5, 0.5)
    assert found.outcomes == {"approved": 3, "credit": 1, "capacity": 1}
    assert found.funded_test == {"dawn": 1, "north": 1}


def test_a_differing_byte_or_file_is_seen(tmp_path: Path) -> None:
    """Folders are the same only where every file has the same name and the same bytes."""
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
        (folder / "x.bin").write_bytes(b"12345")
    assert same_files(*folders) == (True, 1, 5)
    (folders[2] / "x.bin").write_bytes(b"12346")
    assert not same_files(*folders)[0]
    (folders[2] / "x.bin").write_bytes(b"12345")
    (folders[1] / "y.bin").write_bytes(b"")
    assert not same_files(*folders)[0]


def test_missing_data_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the files the run ends with code 2 and one sentence."""
    with pytest.raises(typer.Exit) as ended:
        main(broker="127.0.0.1:1", data=tmp_path, folder=tmp_path / "run")
    assert ended.value.exit_code == 2
    assert "trainprevloans.csv.gz: not there" in capsys.readouterr().err
