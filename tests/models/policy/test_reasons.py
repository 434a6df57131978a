"""Reason codes: one list, one order, nothing of fraud told."""

from hypothesis import given
from hypothesis import strategies as st

from models.policy.reasons import (
    BIT,
    REASONS,
    codes_of,
    mask_of,
    outcome_by_bit,
    told_reasons,
)
from streams.limits import REASONS_MAX
from streams.schema import Outcome


@given(st.sets(st.sampled_from([reason.code for reason in REASONS])))
def test_masks_and_codes_are_one(codes: set[str]) -> None:
    """A mask holds exactly its codes, and gives them back in order of precedence."""
    mask = mask_of(tuple(codes))
    assert set(codes_of(mask)) == codes
    assert [BIT[code] for code in codes_of(mask)] == sorted(BIT[code] for code in codes)
    assert codes_of(mask, 4) == codes_of(mask)[:4]


@given(st.sets(st.sampled_from([reason.code for reason in REASONS])))
def test_at_most_four_are_told(codes: set[str]) -> None:
    """An applicant is told at most four reasons, none twice in the same words."""
    told = [reason.told for reason in told_reasons(mask_of(tuple(codes)))]
    assert len(told) == len(set(told)) <= REASONS_MAX
    assert bool(told) == bool(codes)


def test_fraud_is_never_disclosed() -> None:
    """All fraud reasons tell the applicant the same, and no other reason tells that."""
    fraud = {reason.told for reason in REASONS if reason.outcome == Outcome.FRAUD}
    assert len(fraud) == 1
    assert not fraud & {reason.told for reason in REASONS if reason.outcome != Outcome.FRAUD}


def test_every_class_has_its_reasons() -> None:
    """Every outcome but approval has a reason that leads to it, and the kernels' table agrees."""
    assert {reason.outcome for reason in REASONS} == set(Outcome) - {Outcome.APPROVED}
    for bit, reason in enumerate(REASONS):
        assert outcome_by_bit()[bit] == reason.outcome
