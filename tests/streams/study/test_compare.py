"""Two policies on one past: nothing differs from itself, and every difference has its cause."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest
from typer.testing import CliRunner

from models.train.dataset import read_labels
from streams.cli import app
from streams.config import load_deployment
from streams.errors import DipperError
from streams.replay import replay
from streams.study.compare import Comparison, Mode, compare
from streams.study.deployments import deployment_folder
from streams.study.grid import Cell, what_if
from streams.study.money import Economics
from streams.study.run import Question, scoped, study
from streams.study.told import summarise

POLICIES = Path(__file__).resolve().parents[3] / "examples" / "policies"


@pytest.fixture(scope="session")
def changed(log: tuple[Path, Path], stricter: Path) -> Comparison:
    """Compare the example with the stricter one."""
    return compare(log[0], POLICIES, stricter, labels=read_labels(log[1]))


def test_nothing_differs_from_itself(log: tuple[Path, Path]) -> None:
    """Judged again on its own features, every verdict is the recorded one, field by field."""
    same = compare(log[0], POLICIES, POLICIES)
    assert same.rows["same"].all()
    valid = np.arange(same.judged_a.verdicts.shape[1])[None, :] < same.judged_a.count[:, None]
    assert valid.any()
    assert np.array_equal(same.judged_a.verdicts[valid], same.judged_b.verdicts[valid])
    assert np.array_equal(same.judged_a.masks[valid], same.judged_b.masks[valid])


def test_answers_are_those_of_the_decisions(log: tuple[Path, Path], changed: Comparison) -> None:
    """What a side answers is what its decision record says."""
    decisions = replay(log[0], POLICIES).decisions
    rows = changed.rows
    assert rows["id"].equals(decisions["id"])
    assert rows["a_outcome"].equals(decisions["outcome"])
    approved = rows["a_approved"]
    assert rows["a_institution"].filter(approved).equals(decisions["institution"].filter(approved))
    for column in ("amount_cents", "apr_bps", "rate_bps", "fee_cents", "instalment_cents"):
        assert rows[f"a_{column}"].equals(decisions[column]), column
    assert rows["a_reason"].equals(decisions["reasons"].list.first())


def test_without_money_in_between_frozen_is_a_replay_of_the_other(
    log: tuple[Path, Path], stricter: Path, changed: Comparison
) -> None:
    """Where nobody takes an offer and budgets suffice, judging again is replaying the other."""
    other = replay(log[0], stricter).decisions
    assert changed.rows["b_outcome"].equals(other["outcome"])
    assert changed.rows["b_amount_cents"].equals(other["amount_cents"])
    assert set(changed.rows["cause"].drop_nulls()) == {"policy"}


def test_a_lower_cut_off_only_declines(changed: Comparison) -> None:
    """A lower cut-off swaps nobody in; who leaves had a PD between the two for that lender."""
    told = summarise(changed)
    assert told["flipped_to_approve"] == told["swap"]["only_new"] == 0
    assert told["flipped_to_decline"] == told["swap"]["only_old"] > 0
    assert sum(told["swap"].values()) == told["requests"]
    assert told["same"] + told["different"] == told["requests"]
    assert sum(told["causes"].values()) == told["different"]
    left = changed.rows.filter(pl.col("a_approved") & ~pl.col("b_approved"))
    assert left["a_pd_ppm"].is_between(130_001, 150_000).all()
    assert set(left["a_institution"]) == {"dawn"}


def test_closed_mode_names_whose_consequences(log: tuple[Path, Path], stricter: Path) -> None:
    """In closed mode B is a replay of its own, and its offers are seen as features that differ."""
    closed = compare(log[0], POLICIES, stricter, mode=Mode.CLOSED)
    other = replay(log[0], stricter).decisions
    assert closed.rows["b_outcome"].equals(other["outcome"])
    assert set(closed.rows["cause"].drop_nulls()) <= {"policy", "features", "funding state"}


def _listed(folder: Path) -> Path:
    """Copy the example deployment, and let one lender ask a list of devices."""
    shutil.copytree(POLICIES, folder)
    dawn = folder / "institutions" / "dawn"
    rows = "".join(f"device,d{row:x},2100-01-01\n" for row in range(40))
    (dawn / "blocked.csv").write_text("kind,token,expires\n" + rows)
    policy = dawn / "cash_line.toml"
    section, rule = "\n[application]\n", "[[application.rules]]\n"
    lists = f'\n[lists]\nblocked = "blocked.csv"\n{section}'
    listed = f'{rule}when = "device on blocked"\nreason = "device_risk"\n\n{rule}'
    text = policy.read_text().replace(section, lists, 1).replace(rule, listed, 1)
    policy.write_text(text)
    return folder


def test_a_list_is_asked_again_for_the_tokens_of_the_log(
    log: tuple[Path, Path], tmp_path: Path
) -> None:
    """Judged again under a new list, exactly those are refused whom a replay under it refuses."""
    folder = _listed(tmp_path / "config")
    compared, other = compare(log[0], POLICIES, folder).rows, replay(log[0], folder)
    assert compared["b_outcome"].equals(other.decisions["outcome"])
    assert compared.filter(~pl.col("same")).height > 0
    back = compare(log[0], folder, folder).rows
    assert back["same"].all()


def test_a_list_is_asked_alike_however_many_records_make_a_batch(
    log: tuple[Path, Path], tmp_path: Path
) -> None:
    """Records that were read for their key, as most are in small batches, have their tokens too."""
    folder = _listed(tmp_path / "config")
    small = replay(log[0], load_deployment(folder, {"batch_rows": 32})).decisions
    usual = replay(log[0], folder).decisions
    # A manifest names the limits, too.
    assert small.drop("manifest").equals(usual.drop("manifest"))


def test_another_model_is_named_as_the_cause(log: tuple[Path, Path], tmp_path: Path) -> None:
    """With the policies untouched, what differs differs by the model."""
    folder = tmp_path / "config"
    shutil.copytree(POLICIES, folder)
    model = folder / "models" / "consumer"
    table = (model / "calibration.csv").read_text().splitlines()
    raised = [table[0]] + [
        f"{line.split(',')[0]},{min(int(line.split(',')[1]) + 20_000, 999_999)}"
        for line in table[1:]
    ]
    (model / "calibration.csv").write_text("\n".join(raised) + "\n")
    manifest = orjson.loads((model / "manifest.json").read_bytes())
    manifest["files"]["calibration.csv"] = hashlib.sha256(
        (model / "calibration.csv").read_bytes()
    ).hexdigest()
    (model / "manifest.json").write_bytes(orjson.dumps(manifest))
    compared = compare(log[0], POLICIES, folder)
    assert set(compared.rows["cause"].drop_nulls()) == {"model"}
    rows = compared.rows
    assert rows["b_pd_ppm"].sum() > rows["a_pd_ppm"].sum()


def test_what_if_is_what_a_policy_would_do(changed: Comparison) -> None:
    """A grid rises with the cut-off, and counts approvals, swaps and outcomes of the same rows."""
    cells = [Cell(cut) for cut in (1, 50_000, 100_000, 1_000_000)]
    grid = what_if(changed.ground(), changed.rows, cells, Economics())
    approved = [row["approved"] for row in grid]
    assert approved == sorted(approved)
    assert grid[0]["approved"] == 0
    for row in grid:
        old = int(changed.rows["a_approved"].sum())
        assert row["approved"] == old + row["swap_in"] - row["swap_out"]
        assert row["known"] == row["approved"]  # the simulator knows every outcome


def test_a_part_of_a_deployment_is_laid_over_another(tmp_path: Path, stricter: Path) -> None:
    """A policy file or an institution's folder replaces its like, and the base stays as it was."""
    part = tmp_path / "dawn"
    shutil.copytree(stricter / "institutions" / "dawn", part)
    changed = (part / "cash_line.toml").read_bytes()
    for named in (part, part / "cash_line.toml"):
        with deployment_folder(named, POLICIES) as folder:
            assert (folder / "institutions/dawn/cash_line.toml").read_bytes() == changed
            assert (folder / "platform.toml").is_file()
    with deployment_folder(POLICIES / "institutions" / "dawn") as folder:
        assert folder.resolve() == POLICIES.resolve()
    assert (POLICIES / "institutions/dawn/cash_line.toml").read_bytes() != changed


@pytest.mark.parametrize(
    ("path", "sentence"),
    [("gone", "no such file or folder"), ("alone", "name its deployment with --config")],
)
def test_what_is_no_policy_is_refused(path: str, sentence: str, tmp_path: Path) -> None:
    """A path that leads to no deployment is told in one sentence."""
    (tmp_path / "alone").mkdir()
    with (
        pytest.raises(DipperError, match=sentence),
        deployment_folder(tmp_path / path),
    ):
        pass


def test_a_scope_keeps_what_it_names(changed: Comparison) -> None:
    """A scope by product, day and feature keeps those requests, and an empty one is refused."""
    firms = scoped(changed, ("product=invoice_loan", "from=2026-01-05"))
    assert set(firms.rows["product"]) == {"invoice_loan"}
    assert len(firms.judged_b.count) == len(firms.panel.rows) == firms.rows.height
    assert scoped(changed, ("region=north",)).rows.height < changed.rows.height
    for wrong, sentence in (
        ("product=gone", "no request of the log"),
        ("shoe=1", "no such name"),
        ("from=yesterday", "write a day"),
        ("product", "write NAME=VALUE"),
    ):
        with pytest.raises(DipperError, match=sentence):
            scoped(changed, (wrong,))


def test_the_command_prints_what_the_function_returns(
    log: tuple[Path, Path], stricter: Path
) -> None:
    """`dipper policy impact` and `dipper replay --against` tell the same figures as the engine."""
    figures = study(Question(source=str(log[0]), policy=POLICIES, against=str(stricter)))
    names = (
        "flipped_to_approve", "flipped_to_decline", "approval_rate_before", "approval_rate_after",
    )  # fmt: skip
    for arguments in (
        ["policy", "impact", str(POLICIES), str(stricter), "--events", str(log[0]),
         "--summary", "json"],
        ["replay", str(log[0]), "--policy", str(POLICIES), "--against", str(stricter),
         "--summary", "json"],
    ):  # fmt: skip
        done = CliRunner().invoke(app, [*arguments, "--quiet"])
        assert done.exit_code == 0, done.output
        told = orjson.loads(done.stdout.splitlines()[-1])
        assert [told[name] for name in names] == [figures[name] for name in names]
        assert told["events_per_second"] > 0
        for side in ("rules_before", "rules_after"):
            assert told[side] == figures[side]
            assert all(
                0 <= rule["only"] <= rule["first"] <= rule["any"] <= rule["judged"]
                for rule in told[side]
            )
        assert told["rules_after"]
