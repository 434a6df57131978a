"""The life of a line, every cell; where its money is; what a cap by segment and time make of it."""

from typing import Any

import pytest

from streams.control.records import Command, command
from streams.deployment import Deployment
from streams.funding.life import LINE_LIFE
from streams.schema import Cap, LineAction, LineState
from tests.naive.deployments import with_limits
from tests.naive.logs import FORGED, LogMaker
from tests.tables.desk import Desk, read_table

pytestmark = pytest.mark.timeout(900)
NORTH = {"issuer": "north"}
LONG = ("+400d", "+400d", "+1ms")  # closed lines go two years and a week after


class Branch:
    """A desk where gina has a line of north, which takes commitment: `offered`, then accepted."""

    def __init__(self, deployment: Deployment, *, accept: bool = True) -> None:
        self.desk = Desk(deployment, lease=0)
        self.desk.grant("north", Cap.COMMITMENT, 300_000)
        self.desk.grant("north", Cap.OUTSTANDING, 1_000_000)
        self.desk.tick(self.desk.now)
        self.desk.apply("cash_line", channel="north_card")
        self.line = str(self.desk.decision["id"])
        self.draws: list[str] = []
        if accept:
            assert self.desk.send("accept", decision=self.line) == "ok"

    def act(self, action: str, limit: int | None = None, **fields: Any) -> str:
        """Say what the institution does with the line; return the refusal, or ok."""
        said: dict[str, Any] = {"line": self.line, "action": action, "limit_cents": limit, **NORTH}
        return self.desk.send("line", **(said | fields))

    def draw(self, amount: int) -> str:
        """Draw on the line; return the outcome, or the reason where it is declined."""
        request: dict[str, Any] = {"line": self.line, "amount_cents": amount, "tenor_days": 30}
        assert self.desk.send("drawdown", **request) == "ok"
        decision = self.desk.decision
        if decision["outcome"] != "approved":
            return str(decision["reasons"][0])
        self.draws.append(decision["id"])
        return "approved"

    def loan(self, step: str, amount: int) -> str:
        """Say what becomes of the last draw's loan."""
        number, draw = len(self.draws), self.draws[-1]
        money: dict[str, Any] = {"loan": f"L{number}", "decision": draw, "principal_cents": amount}
        return self.desk.send("loan", step=step, **money, **NORTH)

    def tell(self, verb: str) -> str:
        """Pause or resume the institution."""
        seq = self.desk.twin.books.seq + 1
        return self.desk.control(command(LogMaker.partition, seq, Command(verb, "north")))


def _wait_long(branch: Branch) -> None:
    branch.act("close")
    for span in LONG:
        branch.desk.wait(span)


def _given(deployment: Deployment, name: str) -> Branch:
    branch = Branch(deployment, accept=name != "offered")
    if name.endswith("drawn on"):
        assert branch.draw(90_000) == "approved"
        assert branch.loan("disbursed", 90_000) == "ok"
    if name.startswith("frozen"):
        assert branch.act("freeze") == "ok"
    if name.startswith("closed"):
        assert branch.act("close") == "ok"
    if name == "swept":
        _wait_long(branch)
    return branch


@pytest.mark.parametrize("action", [action.name.lower() for action in LineAction])
@pytest.mark.parametrize("row", read_table("line_life.txt"), ids=lambda row: row["line"])
def test_life_of_a_line(step_deployment: Deployment, row: dict[str, str], action: str) -> None:
    """Each cell of line_life.txt: the state that follows, or why it may not be."""
    branch = _given(step_deployment, row["line"])
    result = branch.act(action, 60_000 if action == "limit" else None)
    if result == "ok":
        result = branch.desk.line(branch.line).state.name.lower()
    assert result == row[action]


def test_the_line_table_is_the_code_s() -> None:
    """Every cell of LINE_LIFE stands in line_life.txt, and every state that the text goes to stands
    in LINE_LIFE.
    """
    states = {state.name.lower(): state for state in LineState}
    told = {
        (states[row["line"].split(",")[0]], action, states[row[action.name.lower()]])
        for row in read_table("line_life.txt")
        for action in LineAction
        if row[action.name.lower()] in states
    }
    assert told == {(state, action, after) for (state, action), after in LINE_LIFE.items()}


def _happen(branch: Branch, text: str) -> str:
    who, *rest = text.split(" ")
    odd: dict[str, dict[str, Any]] = {
        "another's": {"issuer": "meadow"},
        "unsigned": {"signature": None},
        "forged": {"signature": FORGED},
        "hans's": {"applicant": "hans"},
        "old": {"at": "-7d-1ms"},
        "earlier": {"at": "-6d"},
        "same": {"id": "same"},
    }
    match [who, *rest]:
        case ["-"]:
            return "ok"
        case ["draw", amount]:
            return branch.draw(int(amount))
        case ["disburse", amount]:
            return branch.loan("disbursed", int(amount))
        case ["pay", amount]:
            return branch.loan("payment", int(amount))
        case ["pause" | "resume"]:
            return branch.tell(who)
        case ["limit", limit]:
            return branch.act("limit", int(limit))
        case [action, "again"]:
            return branch.act(action, id="same")
        case [_, action] if who in odd:
            return branch.act(action, **odd[who])
    return branch.act(who)


def test_money_of_a_line(step_deployment: Deployment) -> None:
    """Each row of line_money.txt: what is left of the line, and where the money is."""
    branch = Branch(step_deployment)
    for row in read_table("line_money.txt"):
        assert _happen(branch, row["what happens"]) == row["result"], row
        line = branch.desk.line(branch.line)
        outstanding = branch.desk.lease("north", Cap.OUTSTANDING)
        found = {
            "limit": line.limit,
            "available": branch.desk.twin.books.available(line),
            "committed": line.committed,
            "free": branch.desk.lease("north", Cap.COMMITMENT).free,
            "lent": outstanding.reserved + outstanding.drawn,
        }
        assert {name: str(amount) for name, amount in found.items()} == {
            name: row[name] for name in found
        }, row


def test_a_line_without_commitment_asks_no_lease(step_deployment: Deployment) -> None:
    """Where the policy takes no commitment a limit goes up and down whatever the lease holds."""
    desk = Desk(step_deployment)
    desk.apply("cash_line")
    line = str(desk.decision["id"])
    assert desk.decision["institution"] == "meadow"
    assert desk.send("accept", decision=line) == "ok"
    before = desk.lease("meadow", Cap.COMMITMENT)
    for limit in (90_000_000_000, 1, 200_000):
        said: dict[str, Any] = {
            "line": line,
            "action": "limit",
            "issuer": "meadow",
            "limit_cents": limit,
        }
        assert desk.send("line", **said) == "ok"
        assert desk.line(line).limit == limit
    assert desk.lease("meadow", Cap.COMMITMENT) == before


def test_features_see_no_less_than_nothing_available(step_deployment: Deployment) -> None:
    """With a limit below what is drawn the line's use is above 1, and what is available is 0."""
    branch = Branch(step_deployment)
    branch.desk.wait("+1s")  # a line counts from the moment after it was opened
    assert branch.draw(90_000) == "approved"
    assert branch.act("limit", 60_000) == "ok"
    assert branch.draw(100) == "line_exceeded"
    columns = branch.desk.deployment.catalog.columns
    vector = branch.desk.step.core.work.vectors[:, 0]
    assert vector[columns["line_available_cents"]] == 0
    assert vector[columns["line_utilisation"]] == 1.5


def test_closed_lines_make_room(step_deployment: Deployment) -> None:
    """A full table of lines takes new ones two years after those in it were closed, however they
    stand in their applicants' chains; one on which something is owed stays.
    """
    desk = Desk(with_limits(step_deployment, lines=8), twin=False)

    def open_line(who: str) -> tuple[str, str]:
        desk.apply("cash_line", who)
        line = str(desk.decision["id"])
        return desk.send("accept", who, decision=line), line

    lines = []
    for n in range(8):
        who = "hans" if n % 2 else "gina"
        result, line = open_line(who)
        assert result == "ok"
        lines.append((who, line))
        desk.wait("+8d")
    assert open_line("gina")[0] == "no_room"
    who, owing = lines[2]
    drawn = {"line": owing, "amount_cents": 50_000, "tenor_days": 30}
    assert desk.send("drawdown", who, **drawn) == "ok"
    money = {"loan": "L", "issuer": "meadow", "decision": desk.decision["id"]}
    assert desk.send("loan", who, step="disbursed", principal_cents=50_000, **money) == "ok"
    for who, line in lines:
        said = {"line": line, "action": "close", "issuer": "meadow"}
        assert desk.send("line", who, **said) == "ok"
    for span in LONG:
        desk.wait(span)
    for _ in range(7):
        assert open_line("gina")[0] == "ok"
        desk.wait("+8d")
    assert open_line("gina")[0] == "no_room"
