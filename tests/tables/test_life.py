"""The life of an offer and of a loan, every cell; what may be paid and taken back."""

from collections.abc import Callable
from typing import Any

import pytest

from streams.deployment import Deployment
from streams.funding.life import LOAN_LIFE, OFFER_LIFE
from streams.schema import Cap, LoanState, LoanStep, OfferEvent, OfferState
from tests.tables.desk import Desk, read_table

pytestmark = pytest.mark.timeout(900)
OURS = {"loan": "L", "issuer": "meadow"}


def _accept(desk: Desk) -> None:
    assert desk.send("accept", decision=desk.decision["id"]) == "ok"


def _cancel(desk: Desk) -> None:
    assert desk.send("cancel", decision=desk.decision["id"]) == "ok"


def _loan(desk: Desk, step: str, **fields: Any) -> str:
    usual: dict[str, Any] = {**OURS, "decision": desk.decision.get("id")}
    return desk.send("loan", step=step, **(usual | fields))


def _disburse(desk: Desk) -> None:
    assert _loan(desk, "disbursed", principal_cents=desk.decision["amount_cents"]) == "ok"


def _fail(desk: Desk) -> None:
    assert _loan(desk, "disburse_failed") == "ok"


def _pay_back(desk: Desk) -> None:
    amounts = {"principal_cents": desk.decision["amount_cents"], "interest_cents": 5}
    assert _loan(desk, "payment", **amounts) == "ok"


def _close(desk: Desk) -> None:
    assert _loan(desk, "closed") == "ok"


def _write_off(desk: Desk) -> None:
    assert _loan(desk, "written_off") == "ok"


def _offer(desk: Desk) -> None:
    desk.apply("instalment_loan")
    assert desk.decision["institution"] == "meadow"


def _offer_line(desk: Desk) -> None:
    desk.apply("cash_line")
    assert desk.decision["institution"] == "meadow"


def _draw(desk: Desk) -> None:
    line = desk.decision["id"]
    assert desk.send("drawdown", line=line, amount_cents=50_000, tenor_days=30) == "ok"
    assert desk.decision["outcome"] == "approved"


def _wait(desk: Desk) -> None:
    """Let more time pass than any offer stands, and less than its row stays."""
    desk.wait("+6d")
    desk.wait("+3d")


Doing = Callable[[Desk], object]
OFFERS: dict[str, tuple[Doing, ...]] = {
    "offered": (_offer,),
    "accepted": (_offer, _accept),
    "drawn": (_offer, _accept, _disburse),
    "cancelled": (_offer, _cancel),
    "expired": (_offer, _wait),
    "failed": (_offer, _accept, _fail),
    "repaid": (_offer, _accept, _disburse, _pay_back, _close),
    "line offered": (_offer_line,),
    "line opened": (_offer_line, _accept),
    "draw accepted": (_offer_line, _accept, _draw),
}


def _happen(desk: Desk, event: str) -> str:
    """Let the event of a column happen; return its refusal, or ok."""
    if event in {"accept", "cancel"}:
        return desk.send(event, decision=desk.decision["id"])
    if event == "expire":
        return desk.wait("+9d") if desk.twin.books.open_offers(b"gina") else desk.wait("+1ms")
    if event == "disburse":
        return _loan(desk, "disbursed", principal_cents=desk.decision["amount_cents"])
    if event == "fail":
        return _loan(desk, "disburse_failed")
    if any(loan.outstanding for loan in desk.twin.books.loans.values()):
        _pay_back(desk)
    return _loan(desk, "closed")


@pytest.mark.parametrize("event", [event.name.lower() for event in OfferEvent])
@pytest.mark.parametrize("row", read_table("offer_life.txt"), ids=lambda row: row["offer"])
def test_life_of_an_offer(step_deployment: Deployment, row: dict[str, str], event: str) -> None:
    """Each cell of offer_life.txt: the state that follows, or why the event may not happen."""
    desk = Desk(step_deployment)
    for doing in OFFERS[row["offer"]]:
        doing(desk)
    before = desk.offer(desk.decision["id"])
    assert before is not None
    state = before.state
    assert state.name.lower() == row["offer"].split(" ")[-1]
    result = _happen(desk, event)
    offer = desk.offer(desk.decision["id"])
    assert offer is not None
    if offer.state is not state:
        result = offer.state.name.lower()
    assert result == {"-": "ok"}.get(row[event], row[event])
    held = offer.amount if offer.is_open and offer.cap >= 0 else 0
    leases = [desk.lease(name, cap) for name in desk.deployment.institution_ids for cap in Cap]
    assert sum(lease.reserved for lease in leases) == held


def test_the_offer_table_is_the_code_s() -> None:
    """Every cell of OFFER_LIFE stands in offer_life.txt, and every state that the text goes to
    stands in OFFER_LIFE; a line opens where a loan is accepted.
    """
    states = {state.name.lower(): state for state in OfferState}
    told = set()
    for row in read_table("offer_life.txt"):
        for event in OfferEvent:
            after = row[event.name.lower()]
            if after in states and after != "opened":
                told.add((states[row["offer"].split(" ")[-1]], event, states[after]))
    assert told == {(state, event, after) for (state, event), after in OFFER_LIFE.items()}


def _borrow_elsewhere(desk: Desk) -> None:
    _loan(desk, "disbursed", principal_cents=100_000, issuer="elsewhere", decision=None)


def _pay_interest(desk: Desk, **fields: Any) -> None:
    assert _loan(desk, "payment", interest_cents=5, **fields) == "ok"


def _paid_elsewhere(desk: Desk) -> None:
    _pay_interest(desk, issuer="elsewhere")


_OURS: tuple[Doing, ...] = (_offer, _accept, _disburse, _pay_interest)
_OTHERS: tuple[Doing, ...] = (_borrow_elsewhere, _paid_elsewhere)
LOANS: dict[str, tuple[Doing, ...]] = {
    "ours, owing": _OURS,
    "ours, paid back": (*_OURS, _pay_back),
    "ours, written off": (*_OURS, _write_off),
    "ours, recovered": (*_OURS, _write_off, _pay_back),
    "ours, closed": (*_OURS, _pay_back, _close),
    "other, owing": _OTHERS,
    "other, written off": (*_OTHERS, lambda desk: _loan(desk, "written_off", issuer="elsewhere")),
    "other, closed": (*_OTHERS, lambda desk: _loan(desk, "closed", issuer="elsewhere")),
    "none": (),
}


@pytest.mark.parametrize("step", [step.name.lower() for step in LoanStep])
@pytest.mark.parametrize("row", read_table("loan_life.txt"), ids=lambda row: row["loan"])
def test_life_of_a_loan(step_deployment: Deployment, row: dict[str, str], step: str) -> None:
    """Each cell of loan_life.txt: the state that follows, or why the step may not be taken."""
    desk = Desk(step_deployment)
    for doing in LOANS[row["loan"]]:
        doing(desk)
    ours = row["loan"].startswith("ours")
    fields: dict[str, Any] = {"interest_cents": 1, "due_at": desk.now}
    fields["issuer"] = "meadow" if ours else "elsewhere"
    if step == "disbursed":
        fields["principal_cents"] = 1
    result = _loan(desk, step, **fields)
    if result == "ok":
        result = desk.loan().state.name.lower()
    assert result == row[step]


def test_the_loan_table_is_the_code_s() -> None:
    """Every cell of LOAN_LIFE stands in loan_life.txt, and every state that the text goes to
    stands in LOAN_LIFE.
    """
    states = {state.name.lower(): state for state in LoanState}
    before = {"owing": LoanState.OPEN, "paid back": LoanState.OPEN}
    before |= {"written off": LoanState.WRITTEN_OFF, "recovered": LoanState.WRITTEN_OFF}
    before |= {"closed": LoanState.CLOSED}
    told = {
        (before[row["loan"].split(", ")[1]], step, states[row[step.name.lower()]])
        for row in read_table("loan_life.txt")
        for step in LoanStep
        if row["loan"] != "none" and row[step.name.lower()] in states
    }
    assert told == {(state, step, after) for (state, step), after in LOAN_LIFE.items()}


@pytest.mark.parametrize("row", read_table("amounts.txt"), ids=lambda row: row["loan"])
def test_amounts(step_deployment: Deployment, row: dict[str, str]) -> None:
    """Each row of amounts.txt: what is outstanding and paid then, or that it may not be."""
    desk = Desk(step_deployment)
    issuer = {"issuer": "meadow" if row["loan"] == "ours" else "elsewhere"}
    if row["loan"] == "ours":
        desk.apply("instalment_loan", amount_cents=100_000)
        _accept(desk)
    assert _loan(desk, "disbursed", principal_cents=100_000, **issuer) == "ok"
    principal, other = (int(part) for part in row["paid before"].split(" + "))
    paid = {"principal_cents": principal, "fee_cents": other}
    assert _loan(desk, "payment", **paid, **issuer) == "ok"
    sent = {"principal_cents": int(row["principal"]), "penalty_cents": int(row["other"])}
    result = _loan(desk, row["step"], **sent, **issuer)
    loan = desk.loan()
    assert (result if result != "ok" else str(loan.outstanding)) == row["outstanding"]
    assert loan.paid == int(row["paid"])
    if row["loan"] == "ours":
        assert desk.lease("meadow", Cap.OUTSTANDING).drawn == loan.outstanding
