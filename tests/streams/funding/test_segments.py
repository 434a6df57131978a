"""Caps by day and segment as an institution writes them: what is refused, what may change.

That they hold stands in tests/streams/control/test_parts.py.
"""

from pathlib import Path

import pytest

from models.policy.errors import PolicyError
from streams.config import load_deployment
from streams.errors import VersionError
from streams.funding.segments import equal_ppm, part_cents
from streams.limits import PPM
from streams.versions import save_version
from tests.naive.deployments import SEGMENTS, write_deployment, write_segments


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a config folder with such caps."""
    return write_segments(write_deployment(tmp_path / "config"))


def _edit(folder: Path, old: str, new: str) -> None:
    path = folder / "institutions" / "dawn" / "institution.toml"
    assert old in SEGMENTS["dawn"]
    path.write_text(path.read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('["cash_line"]', '["cash_lin"]', r"segments\[1\].products: no product cash_lin; did you"),
        ('"region"\n', '"income_cents"\n', "income_cents is no category that this institution may"),
        ('"south"', '"south pole"', r"region has no value south pole; did you mean south\?"),
        ('attribute = "region"\n', "", r"segments\[2\].values: are of no attribute; name it"),
        ('values = ["north", "south"]\n', "", "attribute: has no values; name some"),
        ('id = "regions"', 'id = "risky"', "risky stands twice; rename one"),
        ("commitment_cents = 400_000\n", "", "bounds nothing; give it an amount"),
        ("day_utc_offset_minutes = 480", "day_utc_offset_minutes = 900", "less than or equal to"),
        ("bands = [1, 2]", "bands = [64]", "less than 64"),
    ],
)
def test_a_cap_that_says_nothing_sensible_is_refused(
    folder: Path, old: str, new: str, sentence: str
) -> None:
    """What names nothing known, bounds nothing or stands twice is refused with its place."""
    _edit(folder, old, new)
    with pytest.raises(PolicyError, match=sentence):
        load_deployment(folder)


def test_a_protected_attribute_makes_no_segment(folder: Path) -> None:
    """A category that an institution's policies may not read cannot be a segment of its caps."""
    (folder / "catalog.toml").write_text(
        '[[attributes]]\nname = "gender"\nunit = "code"\ntype = "category"\n'
        'values = ["f", "m"]\nreaders = ["platform"]\n'
    )
    _edit(folder, '"region"\nvalues = ["north", "south"]', '"gender"\nvalues = ["f"]')
    with pytest.raises(PolicyError, match="gender is no category that this institution may read"):
        load_deployment(folder)


def test_a_version_changes_how_much_but_not_what(folder: Path, tmp_path: Path) -> None:
    """An amount may be another one in the next version; what it bounds stands in every state."""
    other = write_segments(write_deployment(tmp_path / "other"))
    _edit(other, "125_001", "7")
    save_version(folder, other)
    _edit(other, '["cash_line"]', "[]")
    with pytest.raises(VersionError, match="has other caps by day and segment"):
        save_version(folder, other)


@pytest.mark.kernel
@pytest.mark.parametrize("cap_cents", [0, 1, 7, 999_999, 10**14])
def test_equal_parts_of_all_partitions_are_the_cap(cap_cents: int) -> None:
    """Equal parts are a million together, and in cents the cap less what is rounded down: less than
    a cent a partition.
    """
    for count in (1, 3, 8):
        parts = [equal_ppm(n, count) for n in range(count)]
        assert sum(parts) == PPM
        cents = [int(part_cents(cap_cents, part)) for part in parts]
        assert cents == [cap_cents * part // PPM for part in parts]
        assert 0 <= cap_cents - sum(cents) < count
