"""Any bytes give a row or a reason: the scanner at native speed, and every loader."""

import pytest

from tests.fuzz.kinds import KINDS, Kind, run_kind
from tests.fuzz.scanner import fuzz_scanner
from tests.sizes import sized

_SEED = 20_261_123


@pytest.mark.kernel
def test_the_scanner_at_native_speed() -> None:
    """Structure-aware mutants of good records: what the scanner takes orjson takes, with the same
    values; and it takes a fair share, so the law is not empty.
    """
    found = fuzz_scanner(sized(40_000), _SEED)
    assert found.inputs == sized(40_000)
    assert found.taken > found.inputs // 8
    assert found.events > found.inputs // 50


@pytest.mark.kernel
def test_any_bytes_of_a_fetch_are_rows_or_an_error() -> None:
    """Whatever a broker or a hostile producer sends, no byte outside of it is read (this runs with
    bounds checks too), offsets rise, and it ends.
    """
    (kind,) = (each for each in KINDS if each.name == "batches")
    assert 0 < run_kind(kind, sized(2_000), _SEED) < sized(2_000)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_any_bytes_are_loaded_or_refused(kind: Kind) -> None:
    """Of each kind 1,000 mutants: loaded, or refused by the error that names file and remedy."""
    accepted = run_kind(kind, 1_000, _SEED)
    assert 0 < accepted < 1_000, "a kind that takes all, or nothing, is not tried"
