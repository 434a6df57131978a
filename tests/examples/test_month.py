"""The example of a month with twelve institutions, at its smallest."""

from pathlib import Path

import duckdb
import pytest

from examples.month.__main__ import INSTITUTIONS, main


def test_a_month_ends_with_statements_that_reconcile(tmp_path: Path) -> None:
    """Twelve statements are the same when made again from the log, agree with loan events, and
    their principal is what SQL adds up from the moves of money; caps, pause and activation hold.
    """
    found = main(["--out", str(tmp_path), "--applicants", "150"])
    assert (found["caps_exceeded"], found["of_the_paused"], found["above_the_new_cut_off"]) == (
        0, 0, 0,
    )  # fmt: skip
    assert found["requests"] > 1_000
    assert found["lease_returns"] > 0
    assert found["manifests"] == 2
    assert found["shares_apart"] == 0
    statements = found["statements"]
    assert len(statements) == INSTITUTIONS
    with duckdb.connect() as database:
        rows = database.execute(
            "select institution, sum(amount_cents) from "
            f"read_json('{tmp_path}/funding.jsonl', format = 'newline_delimited') "
            "where type = 'draw' and cap = 'outstanding' group by institution"
        ).fetchall()
    drawn = {name: int(cents) for name, cents in rows}
    assert len(drawn) > 3
    for id, told in statements.items():
        assert told["fee_cents"] == told["again_cents"] > 0, id
        assert told["drawn_cents"] == told["disbursed_cents"] == drawn.get(id, 0), id
        assert (tmp_path / f"{id}.html").is_file()


def test_the_example_says_what_it_wants(capsys: pytest.CaptureFixture[str]) -> None:
    """Asked for help it names its options and needs nothing else."""
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--applicants" in capsys.readouterr().out
