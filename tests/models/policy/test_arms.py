"""Champion, challenger and the random arm: sticky, monotone, declared, budgeted.

That the step assigns as plain Python does stands in tests/streams/control/test_parts.py.
"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.policy.arms import (
    CHALLENGER,
    CHAMPION,
    NO_CHANCE,
    bucket_of,
    let_in,
    salt_of,
    takes_part,
)
from models.policy.errors import PolicyError
from models.policy.reasons import SCORE_ABOVE_CUT_OFF
from models.policy.tables import POLICY, SECTION, PolicyScratch, empty_tables, make_scratch
from streams.config import load_deployment
from streams.deployment import Deployment
from tests.models.policy.naive import bucket
from tests.naive.deployments import write_deployment, write_segments

_HASHES = st.integers(0, 2**64 - 1)
_SHARES = st.integers(0, 1_000_000)


def _scratch(applicant: int, arm: int = 0) -> PolicyScratch:
    scratch = make_scratch(empty_tables())
    scratch.who[:] = applicant, arm
    return scratch


def _decides(applicant: int, salt: int, share_ppm: int) -> set[int]:
    """Return the arms that decide an applicant."""
    rows = np.zeros(2, POLICY)
    rows["salt"], rows["share_ppm"], rows["arm"] = salt, share_ppm, (CHAMPION, CHALLENGER)
    tables = empty_tables()._replace(policies=rows)
    scratch = _scratch(applicant)
    return {int(rows[row]["arm"]) for row in (0, 1) if takes_part(tables, scratch, row)}


@pytest.mark.kernel
@given(_HASHES, st.text(max_size=20), _SHARES, _SHARES)
def test_an_applicant_has_one_arm_and_stays_as_the_share_grows(
    applicant: int, name: str, one: int, other: int
) -> None:
    """Exactly one arm decides, always the same one; whom the challenger has it keeps with any
    larger share; with nothing it has nobody, with all everybody.
    """
    salt = salt_of(name)
    small, large = sorted((one, other))
    few, many = _decides(applicant, salt, small), _decides(applicant, salt, large)
    assert len(few) == len(many) == 1
    assert few == _decides(applicant, salt, small)
    assert few == {CHAMPION} or many == {CHALLENGER}
    assert _decides(applicant, salt, 0) == {CHAMPION}
    assert _decides(applicant, salt, 1_000_000) == {CHALLENGER}
    assert bucket_of(np.uint64(applicant), np.uint64(salt)) == bucket(applicant, salt)


def test_buckets_are_even_and_those_of_two_experiments_independent() -> None:
    """Of 20,000 applicants each tenth has its share, also among those of a tenth elsewhere."""
    salts = [np.uint64(salt_of(name)) for name in ("dawn/price", "dawn/cut_off")]
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 2**64, 20_000, np.uint64)
    tenths = [[bucket_of(each, salt) // 100_000 for each in hashes] for salt in salts]
    one, other = (np.array(each, float) for each in tenths)
    counts = np.histogram2d(one, other, bins=10)[0]
    assert abs(counts.sum(axis=0) - 2_000).max() < 5 * 2_000**0.5
    assert abs(counts - 200).max() < 5 * 200**0.5


@pytest.mark.kernel
@given(_HASHES, _SHARES, st.integers(0, 2**63))
def test_chance_overrules_the_score_alone(applicant: int, share: int, reasons: int) -> None:
    """Whoever any other reason speaks against is never let in; and nobody where no share is
    declared, or where a case of a policy is run.
    """
    rows = np.zeros(1, SECTION)
    rows["random_ppm"], rows["random_salt"] = share, 7
    tables = empty_tables()._replace(sections=rows)
    above = np.uint64(1 << SCORE_ABOVE_CUT_OFF)
    lucky = bucket(applicant, 7) < share
    assert let_in(tables, _scratch(applicant), 0, above) == lucky
    assert not let_in(tables, _scratch(applicant, NO_CHANCE), 0, above)
    if reasons != int(above):
        assert not let_in(tables, _scratch(applicant), 0, np.uint64(reasons))


def test_a_challenger_stands_beside_its_champion(segmented: Deployment) -> None:
    """Both are policies of their own, with their own hash; others are in no experiment."""
    found = {info.id: info.arm for info in segmented.policies.infos if info.arm}
    assert found == {
        "dawn/instalment_loan": CHAMPION,
        "dawn/instalment_loan@challenger": CHALLENGER,
    }
    hashes = {info.sha256 for info in segmented.policies.infos}
    assert len(hashes) == len(segmented.policies.infos)


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        ("challengers/instalment_loan.toml", '[experiment]\nname = "cut_off"\nshare_ppm = 700_000',
         "", r"experiment: is what a policy in challengers/ has"),
        ("instalment_loan.toml", 'product = "instalment_loan"',
         'product = "instalment_loan"\n[experiment]\nname = "x"\nshare_ppm = 1',
         r"experiment: is what a policy in challengers/ has"),
        ("challengers/instalment_loan.toml", "share_ppm = 700_000", "share_ppm = 1_000_001",
         "less than or equal to 1000000"),
        ("institution.toml", "at_random = true\n", "", "needs a budget: a .*at_random = true"),
    ],
)  # fmt: skip
def test_an_experiment_that_is_not_whole_is_refused(
    tmp_path: Path, file: str, old: str, new: str, sentence: str
) -> None:
    """A challenger without its experiment, an experiment elsewhere, a share above all, a random arm
    without a budget: each in one sentence.
    """
    folder = write_segments(write_deployment(tmp_path / "config"))
    path = folder / "institutions" / "dawn" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(PolicyError, match=sentence):
        load_deployment(folder)


def test_a_challenger_of_nothing_is_refused(tmp_path: Path) -> None:
    """It names the file that it would challenge."""
    folder = write_segments(write_deployment(tmp_path / "config"))
    (folder / "institutions" / "dawn" / "instalment_loan.toml").unlink()
    with pytest.raises(
        PolicyError, match=r"challenges no policy; add .*dawn/instalment_loan\.toml"
    ):
        load_deployment(folder)
