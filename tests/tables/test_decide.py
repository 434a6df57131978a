"""What is decided, who funds it and why the others do not, a case a row."""

from collections.abc import Callable
from typing import Any

import pytest

from streams.deployment import Deployment
from streams.limits import DAY_MS
from streams.schema import Cap
from tests.tables.desk import Desk, read_table

pytestmark = pytest.mark.timeout(900)


def _bureau(desk: Desk, score: int, at: str = "-1s") -> None:
    signal: dict[str, Any] = {"source": "bureau", "name": "score", "value": score}
    assert desk.send("signal", at=at, **signal) == "ok"


def _signal(source: str, name: str, **fields: Any) -> Callable[[Desk], object]:
    return lambda desk: desk.send("signal", at="-1s", source=source, name=name, **fields)


def _line(desk: Desk, applicant: str = "gina") -> None:
    desk.apply("cash_line", applicant, amount_cents=350_000)
    assert desk.send("accept", applicant, decision=desk.decision["id"]) == "ok"
    assert desk.decision["institution"] == "meadow"
    desk.wait("+1s")


def _drawn(amount: int) -> Callable[[Desk], object]:
    def draw(desk: Desk) -> None:
        line = desk.decision["id"]
        fields: dict[str, Any] = {"amount_cents": amount, "tenor_days": 30}
        assert desk.send("drawdown", line=line, **fields) == "ok"
        assert desk.decision["amount_cents"] == amount
        desk.decision = {"id": line}

    return draw


def _poor(institution: str) -> Callable[[Desk], object]:
    def recall(desk: Desk) -> None:
        for cap in Cap:
            assert desk.recall(institution, cap, 10_000_000 - 999) == "ok"

    return recall


def _overdrawn(desk: Desk) -> None:
    """A payment is taken back when all free money has gone back to its lender."""
    desk.apply(applicant="hans", amount_cents=50_000)
    decision = desk.decision["id"]
    assert desk.send("accept", "hans", decision=decision) == "ok"
    ours = {"loan": "L", "issuer": "meadow", "decision": decision, "principal_cents": 50_000}
    assert desk.send("loan", "hans", step="disbursed", **ours) == "ok"
    assert desk.send("loan", "hans", step="payment", **ours) == "ok"
    assert desk.recall("meadow", Cap.OUTSTANDING, 10_000_000) == "ok"
    assert desk.send("loan", "hans", step="reversal", **ours) == "ok"
    assert desk.lease("meadow", Cap.OUTSTANDING).overdrawn == 50_000


def _invoices(desk: Desk) -> None:
    for _ in range(2):
        assert desk.send("activity", kind="invoice_out", amount_cents=1, at="-1s") == "ok"


GIVEN: dict[str, Callable[[Desk], object]] = {
    "-": lambda desk: None,
    "bureau 720": lambda desk: _bureau(desk, 720),
    "bureau 500": lambda desk: _bureau(desk, 500),
    "old bureau 500": lambda desk: _bureau(desk, 500, "-91d"),
    "bureau error": _signal("bureau", "score", status="error", value=500),
    "bad device": _signal("device", "risk", value=0.95),
    "2 invoices": _invoices,
    "2024": lambda desk: desk.tick(desk.now + 60 * DAY_MS),
    "meadow poor": _poor("meadow"),
    "north poor": _poor("north"),
    "meadow overdrawn": _overdrawn,
    "a line": _line,
    "a line offered": lambda desk: desk.apply("cash_line"),
    "another's line": lambda desk: _line(desk, "hans"),
    "drawn 349000": _drawn(349_000),
    "drawn 349950": _drawn(349_950),
    "drawn 350000": _drawn(350_000),
}


def _ask(desk: Desk, text: str) -> None:
    what, *words = text.split()
    if what == "draw":
        line = desk.decision.get("id", "nonsense")
        fields: dict[str, Any] = {"amount_cents": int(words[0]), "tenor_days": int(words[1])}
        assert desk.send("drawdown", line=line, **fields) == "ok"
        return
    channel, amount, tenor = words[:3]
    more = {name: int(value) for name, value in (word.split("=") for word in words[3:])}
    usual: dict[str, Any] = {"channel": channel, "age_years": 30}
    usual |= {"amount_cents": int(amount), "tenor_days": int(tenor)}
    assert desk.send("application", product=what, **(usual | more)) == "ok"


def _lost(decision: dict[str, Any]) -> str:
    """Return why each lender that does not fund the request does not."""
    told = []
    for candidate in decision["candidates"]:
        if candidate["institution"] != decision.get("institution"):
            why = f"{candidate['outcome']} {', '.join(candidate['reasons'])}"
            if candidate["outcome"] == "approved":
                why = "ranked lower"
            told.append(f"{candidate['institution']} {why}")
    return "; ".join(told)


@pytest.mark.parametrize("row", read_table("decide.txt"), ids=lambda row: row["asks for"])
def test_decide(step_deployment: Deployment, row: dict[str, str]) -> None:
    """Each row of decide.txt: outcome, lender, amount, cost, and why the others lost."""
    desk = Desk(step_deployment)
    for word in row["given"].split(", "):
        GIVEN[word](desk)
    _ask(desk, row["asks for"])
    decision = desk.decision
    found = [decision["outcome"], decision.get("institution", "-")]
    found += [str(decision.get(name, "-")) for name in ("amount_cents", "apr_bps")]
    wanted = [row[name] for name in ("outcome", "lender", "amount", "yearly cost, bps")]
    assert [*found, _lost(decision)] == [*wanted, row["lost"]]
    if decision["outcome"] == "approved":
        assert decision["reasons"] == []
    elif not decision["candidates"]:
        unknown = "draw" in row["asks for"]
        assert decision["reasons"] == ["line_unknown" if unknown else "no_institution"]
    else:
        furthest = [c["reasons"] for c in decision["candidates"]]
        assert decision["reasons"] in furthest
