"""A change in words: everything that differs is said, by what people call it."""

import re
from pathlib import Path

import pytest

from streams.change.words import differences
from tests.streams.change.conftest import Desk, replace

DAWN = Path("institutions/dawn")


@pytest.mark.parametrize(
    ("path", "old", "new", "item", "sentence"),
    [
        ("cash_line.toml", "cut_off_pd_ppm = 150_000", "cut_off_pd_ppm = 130_000",
         "dawn/cash_line", "application: the cut-off falls from 15 % to 13 %"),
        ("cash_line.toml", "partial = true", "partial = false",
         "dawn/cash_line", "application: offering less than was asked is switched off"),
        ("cash_line.toml", "order_count_1d > 40", "order_count_1d > 9", "dawn/cash_line",
         "drawdown rules “velocity”: the condition is order_count_1d > 9, was order_count_1d > 40"),
        ("cash_line.toml", "tenors_days = [30, 60, 90]", "tenors_days = [30]",
         "dawn/cash_line", "application: the terms in days is 30, was 30, 60, 90"),
        ("cash_line.csv", "0,30000,1400", "0,30000,1350",
         "dawn/cash_line", "band up to 3 %: the rate falls from 14 % to 13.5 %"),
        ("institution.toml", "outstanding_cents = 50_000_000_000",
         "outstanding_cents = 60_000_000_000", "dawn",
         "caps: the cap on principal lent rises from 500,000,000.00 to 600,000,000.00"),
        ("institution.toml", 'D21 = "worst_dpd"', "", "dawn",
         "reasons: D21 is no longer set, was worst_dpd"),
        ("fees.toml", "bps = 45", "bps = 40", "dawn/fees",
         "terms “2026-01” drawn “above 10,000,000.00”: bps falls from 0.45 % to 0.4 %"),
        ("institution.toml", "# Budgets", "# The budgets", "dawn",
         "institution.toml: only comments or layout differ"),
    ],
)  # fmt: skip
def test_a_change_is_a_sentence(
    desk: Desk, office: Desk, path: str, old: str, new: str, item: str, sentence: str
) -> None:
    """Each kind of change is told by its name, its old and its new value."""
    replace(desk.live / DAWN / path, old, new)
    found = differences(office.live, desk.live)
    assert [(each.item, each.sentence) for each in found] == [(item, sentence)]


def test_no_number_changes_in_silence(desk: Desk, office: Desk) -> None:
    """Whatever whole number of a policy, table or schedule changes, there is a sentence for it."""
    for file in sorted((desk.live / DAWN).iterdir()):
        before = file.read_text()
        code = re.sub(r"#.*|\"[^\"]*\"", lambda found: " " * len(found[0]), before)
        for number in re.finditer(r"(?<![\w.-])[0-9][0-9_]*(?![\w.-])", code):
            changed = str(int(number[0].replace("_", "")) + 1)
            file.write_text(before[: number.start()] + changed + before[number.end() :])
            found = differences(office.live, desk.live)
            assert found, (file.name, before[: number.start()].count("\n") + 1, number[0])
            assert "only comments" not in found[0].sentence
        file.write_text(before)


def test_a_rule_and_a_file_come_and_go(desk: Desk, office: Desk) -> None:
    """A rule, a policy and a model that are new or gone are named, each way round."""
    rule = '\n[[application.rules]]\nwhen = "age_years > 60"\nreason = "purpose_not_served"\n'
    path = desk.live / DAWN / "cash_line.toml"
    replace(path, "\n[drawdown]", f"{rule}\n[drawdown]")
    (desk.live / DAWN / "instalment_loan.toml").unlink()
    for file in (desk.live / "models" / "business").iterdir():
        file.unlink()
    there = {(each.item, each.sentence) for each in differences(office.live, desk.live)}
    words = "the condition age_years > 60, reason purpose_not_served"
    assert ("dawn/cash_line", f"application rules “purpose_not_served” is new: {words}") in there
    assert ("dawn/instalment_loan", "instalment_loan.toml is gone") in there
    assert ("model business", "manifest.json is gone") in there
    back = {(each.item, each.sentence) for each in differences(desk.live, office.live)}
    assert ("dawn/cash_line", f"application rules “purpose_not_served” is gone: {words}") in back
    assert ("dawn/instalment_loan", "instalment_loan.toml is new") in back
