"""Loans that come to their end, against what was said of them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.outcomes import BAD_DAYS, Outcomes, Told, _auc_ks
from streams.limits import DAY_MS

_T0 = 1_767_225_600_000  # 2026-01-01
_DUE = _T0 + 30 * DAY_MS
_END = _DUE + BAD_DAYS * DAY_MS


def _told(pd_ppm: int = 100_000) -> Told:
    return Told("m", pd_ppm, _T0)


def _event(step: str, at: int, **fields: Any) -> dict[str, Any]:
    return {"applicant": "a", "loan": "l", "decision": "d", "step": step, "at": at, **fields}


def _lent(outcomes: Outcomes) -> None:
    outcomes.on_loan(0, _event("disbursed", _T0, principal_cents=100))
    outcomes.on_loan(0, _event("due", _T0 + 1, due_at=_DUE, principal_cents=100, interest_cents=5))


# What happens after a loan of one instalment is disbursed; whether it is called bad.
_LIVES: dict[str, tuple[list[dict[str, Any]], bool]] = {
    "paid in time": ([_event("payment", _DUE, principal_cents=100, interest_cents=5)], False),
    "paid late": ([_event("payment", _DUE + 29 * DAY_MS, principal_cents=105)], False),
    "paid in parts": (
        [_event("payment", _T0 + 5, principal_cents=60), _event("payment", _DUE, fee_cents=45)],
        False,
    ),
    "paid too late": ([_event("payment", _END + 1, principal_cents=105)], True),
    "paid in part": ([_event("payment", _DUE, principal_cents=104)], True),
    "never paid": ([], True),
    "reversed": (
        [
            _event("payment", _DUE, principal_cents=105),
            _event("reversal", _DUE + 1, principal_cents=105),
        ],
        True,
    ),
    "written off": (
        [_event("payment", _DUE, principal_cents=105), _event("written_off", _DUE + 2)],
        True,
    ),
}


@pytest.mark.parametrize("name", _LIVES)
def test_a_loan_ends_good_or_bad(name: str) -> None:
    """A loan is bad where an instalment was not covered 30 days after its day, or written off."""
    life, bad = _LIVES[name]
    outcomes = Outcomes()
    outcomes.on_approval("d", _told())
    _lent(outcomes)
    for event in life:
        outcomes.on_loan(0, event)
    outcomes.on_tick(0, _END - 1)
    assert not outcomes.bands
    outcomes.on_tick(0, _END)
    tally = outcomes.bands["m", "0.1"]
    assert (tally.loans, tally.bad) == (1, int(bad))
    assert (tally.expected, tally.variance) == pytest.approx((0.1, 0.09))
    assert outcomes.cohorts["m", "2026-01"].bad == int(bad)
    outcomes.on_tick(0, _END + DAY_MS)
    assert outcomes.bands["m", "0.1"].loans == 1


def test_an_approval_may_be_read_after_its_loan() -> None:
    """Evidence and loans stand on two topics: whichever is read first, a loan counts once."""
    outcomes = Outcomes()
    _lent(outcomes)
    outcomes.on_tick(0, _END)
    assert not outcomes.bands
    outcomes.on_approval("d", _told())
    assert outcomes.bands["m", "0.1"].loans == 1


def test_each_partition_has_its_own_time() -> None:
    """A partition that is read ahead ends no loan of one whose payments are still unread."""
    outcomes = Outcomes()
    outcomes.on_approval("d", _told())
    _lent(outcomes)
    outcomes.on_tick(1, _END + DAY_MS)
    assert not outcomes.bands
    outcomes.on_loan(0, _event("payment", _DUE, principal_cents=105))
    outcomes.on_tick(0, _END)
    assert outcomes.bands["m", "0.1"].bad == 0


def test_a_loan_of_many_instalments_ends_with_its_last() -> None:
    """Early instalments that are paid end nothing; a paced world ends its loans sooner."""
    outcomes = Outcomes(pace=86_400.0)
    outcomes.on_approval("d", _told())
    outcomes.on_loan(0, _event("disbursed", _T0, principal_cents=300))
    for month in (1, 2, 3):
        due_at = _T0 + month * 30_000
        outcomes.on_loan(0, _event("due", _T0 + month, due_at=due_at, principal_cents=100))
        outcomes.on_loan(0, _event("payment", due_at, principal_cents=100))
    outcomes.on_tick(0, _T0 + 90_000 + BAD_DAYS * 1_000 - 1)
    assert not outcomes.bands
    outcomes.on_tick(0, _T0 + 90_000 + BAD_DAYS * 1_000)
    assert outcomes.bands["m", "0.1"].loans == 1


def test_another_lenders_loan_says_nothing() -> None:
    """A loan without a decision of ours is no outcome of ours."""
    outcomes = Outcomes()
    event = _event("disbursed", _T0, principal_cents=100)
    del event["decision"]
    outcomes.on_loan(0, event)
    outcomes.on_loan(0, _event("due", _T0 + 1, due_at=_DUE, principal_cents=100))
    outcomes.on_tick(0, _END)
    assert not outcomes.bands


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=2, max_size=40))
def test_auc_and_ks_are_their_definitions(rows: list[tuple[int, bool]]) -> None:
    """AUC is the share of pairs, one bad and one good, that the PD puts in order, ties half; KS is
    the largest gap between the two distributions.
    """
    pds = np.array([pd / 10 for pd, _ in rows])
    bad = np.array([b for _, b in rows])
    auc, ks = _auc_ks(pds, bad)
    pairs = [(x, y) for x in pds[bad] for y in pds[~bad]]
    if not pairs:
        assert (auc, ks) == (None, None)
        return
    assert auc == pytest.approx(np.mean([(x > y) + (x == y) / 2 for x, y in pairs]))
    gaps = [abs((pds[bad] <= c).mean() - (pds[~bad] <= c).mean()) for c in pds]
    assert ks == pytest.approx(max(gaps))
