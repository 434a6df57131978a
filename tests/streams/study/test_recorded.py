"""A replay beside decisions that were written before."""

from pathlib import Path

import orjson
import polars as pl
import pytest

from models.train.dataset import read_labels
from streams.errors import DipperError
from streams.replay import replay
from streams.study.compare import with_labels
from streams.study.recorded import (
    Verdict,
    compare_recorded,
    flipped,
    names_decisions,
    read_recorded,
    summarise_recorded,
)
from tests.streams.study.conftest import POLICIES


def test_each_difference_has_its_verdict(
    log: tuple[Path, Path], stricter: Path, tmp_path: Path
) -> None:
    """Decisions written before are all the same under the same deployment; under another policy
    what differs is the policy's; and what is changed by hand is named as what it is.
    """
    events = log[0]
    replay(events, POLICIES, out=tmp_path)
    path = tmp_path / "decisions.jsonl"
    before = read_recorded(str(path), str(events))
    after = replay(events, POLICIES).decisions
    told = summarise_recorded(compare_recorded(before, after))
    assert (told["requests"], told["same"]) == (after.height, after.height)
    assert (told["different"], told["verdicts"]) == (0, {})
    assert told["swap"]["only_old"] == told["swap"]["only_new"] == 0
    changed = replay(events, stricter).decisions
    found = summarise_recorded(compare_recorded(before, changed))
    assert found["different"] == sum(found["verdicts"].values()) > 0
    assert set(found["verdicts"]) <= {"policy", "funding state", "model or features"}
    assert found["verdicts"]["policy"] > 0

    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    approved = [n for n, line in enumerate(lines) if line["outcome"] == "approved"]
    moved, scored, short = approved[:3]
    lines[moved]["at"] += 1
    lines[scored]["amount_cents"] += 1
    lines[scored]["candidates"][0]["pd_ppm"] += 1
    lines[short]["institution"] = "other"
    for candidate in lines[short]["candidates"]:
        candidate["outcome"] = "capacity"
    gone = lines.pop()
    edited = tmp_path / "edited.jsonl"
    edited.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    rows = compare_recorded(read_recorded(str(edited), ""), after)
    different = rows.filter(~pl.col("same"))
    verdicts = dict(different.select("request", "verdict").iter_rows())
    assert verdicts == {
        lines[moved]["request"]: Verdict.DATA,
        lines[scored]["request"]: Verdict.MODEL_OR_FEATURES,
        lines[short]["request"]: Verdict.FUNDING,
        gone["request"]: Verdict.DATA,
    }


def test_swap_sets_and_flips(log: tuple[Path, Path], stricter: Path) -> None:
    """Beside written decisions the four sets hold every request, with what labels know of each, and
    who changes sides stands first.
    """
    sides = [replay(log[0], folder).decisions for folder in (POLICIES, stricter)]
    rows = compare_recorded(*sides)
    told = summarise_recorded(with_labels(rows, read_labels(log[1])))
    approved = [set(side.filter(outcome="approved")["id"]) for side in sides]
    assert told["swap"] == {
        "both": len(approved[0] & approved[1]),
        "neither": sides[0].height - len(approved[0] | approved[1]),
        "only_old": len(approved[0] - approved[1]),
        "only_new": len(approved[1] - approved[0]),
    }
    assert told["swap"]["only_old"] > 0
    assert all(told["bad_rates"][name]["known"] == told["swap"][name] for name in told["swap"])
    first = flipped(rows).head(told["swap"]["only_old"] + told["swap"]["only_new"])
    assert all((row["before_outcome"] == "approved") != (row["after_outcome"] == "approved")
               for row in first.iter_rows(named=True))  # fmt: skip


def test_what_holds_no_decisions_is_one_sentence(tmp_path: Path) -> None:
    """A missing file, one of something else, and LIVE without a log on Kafka are named."""
    assert names_decisions("LIVE")
    assert names_decisions("old/decisions.jsonl")
    assert names_decisions("kafka://a:1")
    assert not names_decisions("examples/policies")
    with pytest.raises(DipperError, match=r"none\.jsonl: no such file"):
        read_recorded(str(tmp_path / "none.jsonl"), "")
    (tmp_path / "other.jsonl").write_bytes(b'{"type":"reserve"}\n')
    with pytest.raises(DipperError, match="holds no decisions"):
        read_recorded(str(tmp_path / "other.jsonl"), "")
    with pytest.raises(DipperError, match="LIVE needs a log on Kafka"):
        read_recorded("LIVE", "events.jsonl")
