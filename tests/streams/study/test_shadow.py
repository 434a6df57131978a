"""Shadow: the same as a comparison of replays where it can speak, and lost where it cannot."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from models.policy.reasons import SCORE_MISSING
from streams.config import load_deployment
from streams.deployment import Deployment
from streams.evidence import evidence_layout
from streams.replay import ReplayResult, replay
from streams.schema import VERDICT, Outcome
from streams.study.panel import Panel
from streams.study.rejudge import Judged
from streams.study.shadow import UNREAD, Said, Seen, Shadow
from streams.topology import OUT_EVIDENCE
from tests.naive.deployments import (
    LIMITS,
    change,
    write_deployment,
)
from tests.streams.study.test_arms import requests


@pytest.fixture(scope="module")
def decided(step_deployment: Deployment) -> ReplayResult:
    """What the small deployment says to some requests."""
    return replay(requests(200), step_deployment, partitions=2)


def _seen(result: ReplayResult) -> list[Seen]:
    size = evidence_layout(result.deployment).itemsize
    data = result.read(OUT_EVIDENCE)
    rows = [data[at : at + size] for at in range(0, len(data), size)]
    applicants = result.decisions["applicant"].to_list()
    return [Seen(who.encode(), row) for who, row in zip(applicants, rows, strict=True)]


def _other(folder: Path) -> Deployment:
    return load_deployment(change(write_deployment(folder)), LIMITS, features="all")


def test_a_shadow_says_what_a_replay_of_it_would(
    decided: ReplayResult, step_deployment: Deployment, tmp_path: Path
) -> None:
    """Its counts are those of a comparison of both by replay, institution by institution; a policy
    that the shadow lacks is lost coverage.
    """
    other = _other(tmp_path / "other")
    shadow = Shadow(step_deployment, other)
    for record in _seen(decided):
        shadow.take([record])
    together = Shadow(step_deployment, other)
    together.take(_seen(decided))
    assert together.said == shadow.said
    theirs = replay(requests(200), other, partitions=2).candidates.join(
        decided.candidates, on=("decision", "institution"), suffix="_live"
    )
    yes = ("approved", "capacity")
    table = {row["institution"]: row for row in shadow.table().iter_rows(named=True)}
    for name in ("dawn", "meadow", "north"):
        mine = theirs.filter(pl.col("institution") == name)
        same = mine["outcome"].is_in(yes) == mine["outcome_live"].is_in(yes)
        assert table[name]["covered"] == mine.height > 0
        assert table[name]["agreement"] == pytest.approx(same.mean())
        assert table[name]["coverage"] == 1.0


def test_what_cannot_be_said_is_lost(
    decided: ReplayResult, step_deployment: Deployment, tmp_path: Path
) -> None:
    """Junk and evidence of another version, a column that was not computed, a policy that there is
    not: each is lost, none agrees.
    """
    seen = _seen(decided)
    shadow = Shadow(step_deployment, _other(tmp_path / "other"))
    head = bytearray(seen[0].value)
    head[16] ^= 1  # another version
    shadow.take([Seen(b"p", b"junk"), Seen(b"p", bytes(head)), *seen[:3]])
    assert shadow.said[UNREAD, Said.ERROR] == 2
    assert shadow.table()["judged"].sum() > 2
    (tmp_path / "third").mkdir()
    lacking = write_deployment(tmp_path / "third" / "config")
    shutil.rmtree(lacking / "institutions" / "meadow")
    absent = Shadow(step_deployment, load_deployment(lacking, LIMITS, features="all"))
    absent.take(seen)
    (row,) = (r for r in absent.table().iter_rows(named=True) if r["institution"] == "meadow")
    assert (row["covered"], row["coverage"], row["agreement"]) == (0, 0.0, None)
    assert row["absent"] == row["judged"] > 0


def test_a_column_that_nobody_computed_is_an_error(
    decided: ReplayResult, step_deployment: Deployment, tmp_path: Path
) -> None:
    """A shadow whose rules read a column that the evidence lacks covers nothing."""
    folder = write_deployment(tmp_path / "config")
    (folder / "catalog.toml").write_text('[[attributes]]\nname = "shoe_size"\nunit = "size"\n')
    path = folder / "institutions" / "dawn" / "instalment_loan.toml"
    path.write_text(path.read_text().replace("worst_dpd_days > 30", "shoe_size > 30"))
    for name in ("card", "forest"):
        shutil.rmtree(folder / "models" / name)
    shutil.copytree(step_deployment.folder / "models", folder / "models", dirs_exist_ok=True)
    shadow = Shadow(step_deployment, load_deployment(folder, LIMITS, features="all"))
    shadow.take(_seen(decided)[:9])
    table = shadow.table()
    assert table["covered"].to_list() == [0] * table.height
    assert table["error"].sum() == table["judged"].sum() > 0


def test_no_score_is_no_agreement(
    decided: ReplayResult, step_deployment: Deployment, tmp_path: Path
) -> None:
    """Where the shadow has no score, both may decline and it still is lost, by its own name."""
    verdict = np.zeros(1, VERDICT)
    verdict["outcome"], verdict["reasons"] = Outcome.DATA, np.uint64(1 << SCORE_MISSING)
    count = len(decided.decisions)
    candidates = step_deployment.policies.candidates_max

    class Speechless(Shadow):
        """One whose models never give a score."""

        def _judge(self, panel: Panel, features: NDArray[np.float64]) -> Judged:
            judged = super()._judge(panel, features)
            judged.verdicts["outcome"], judged.verdicts["reasons"] = (
                verdict["outcome"], verdict["reasons"]
            )  # fmt: skip
            return judged

    shadow = Speechless(step_deployment, _other(tmp_path / "other"))
    shadow.take(_seen(decided))
    assert {said for _, said in shadow.said} == {Said.EMPTY}
    assert 0 < shadow.said.total() <= count * candidates
