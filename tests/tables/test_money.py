"""Where money is, step by step: a story of one lease and one line."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from streams.deployment import Deployment
from streams.schema import Cap
from tests.tables.desk import Desk, read_table

pytestmark = pytest.mark.timeout(900)


class Story:
    """Does what a line of money.txt says, with cents as numbers and loans by a letter."""

    def __init__(self, deployment: Deployment) -> None:
        self.desk = Desk(deployment, lease=0)
        self.desk.tick(self.desk.now)
        self.line = ""
        self.steps: dict[str, Callable[..., str]] = {
            r"grant (\d+)": lambda n: self.desk.grant("meadow", Cap.OUTSTANDING, int(n)),
            r"recall (\d+)": lambda n: self.desk.recall("meadow", Cap.OUTSTANDING, int(n)),
            r"gina applies for a (loan|line) of (\d+)": self._apply,
            r"gina accepts": self._accept,
            r"gina cancels": lambda: self._answer("cancel"),
            r"(\d+) of it are disbursed as (\w)": lambda n, x: self._loan("disbursed", x, n),
            r"its money cannot be sent": lambda: self._loan("disburse_failed", "X", "0"),
            r"gina pays (\d+) on (\w)": lambda n, x: self._loan("payment", x, n),
            r"gina takes back (\d+) on (\w)": lambda n, x: self._loan("reversal", x, n),
            r"(\w) is written off": lambda x: self._loan("written_off", x, "0"),
            r"(\w) is closed": lambda x: self._loan("closed", x, "0"),
            r"gina draws (\d+)": self._draw,
            r"a day passes": lambda: self.desk.wait("+24h"),
        }

    def tell(self, text: str) -> str:
        """Do what the text says; return the refusal, or ok."""
        for pattern, step in self.steps.items():
            if found := re.fullmatch(pattern, text):
                return step(*found.groups())
        raise AssertionError(text)

    def _apply(self, what: str, amount: str) -> str:
        product = "cash_line" if what == "line" else "instalment_loan"
        self.desk.apply(product, amount_cents=int(amount))
        return "ok" if self.desk.decision["institution"] == "meadow" else "other lender"

    def _answer(self, answer: str) -> str:
        return self.desk.send(answer, decision=self.desk.decision["id"])

    def _accept(self) -> str:
        if self.desk.decision.get("product") == "cash_line":
            self.line = str(self.desk.decision["id"])
        return self._answer("accept")

    def _draw(self, amount: str) -> str:
        fields: dict[str, Any] = {"amount_cents": int(amount), "tenor_days": 30}
        return self.desk.send("drawdown", line=self.line, **fields)

    def _loan(self, step: str, loan: str, amount: str) -> str:
        ours: dict[str, Any] = {
            "loan": loan,
            "issuer": "meadow",
            "decision": self.desk.decision["id"],
        }
        return self.desk.send("loan", step=step, principal_cents=int(amount), **ours)

    def available(self) -> str:
        """Return what is left of the line, from the step's own row."""
        if not self.line:
            return "-"
        wanted = self.desk.twin.books.available(self.desk.line(self.line))
        rows = self.desk.step.core.state.lines
        assert rows[rows["state"] != 0]["available_cents"].tolist() == [wanted]
        return str(wanted)


def test_money(step_deployment: Deployment) -> None:
    """Each row of money.txt: the pots of the lease and what is left of the line, after it."""
    story = Story(step_deployment)
    for row in read_table("money.txt"):
        assert story.tell(row["what happens"]) == "ok", row
        lease = vars(story.desk.lease("meadow", Cap.OUTSTANDING))
        found = {pot: str(amount) for pot, amount in lease.items()}
        found["available"] = story.available()
        assert found == {name: row[name] for name in found}, row["what happens"]
        pots = lease["free"] + lease["reserved"] + lease["drawn"] + lease["returned"]
        assert lease["granted"] + lease["overdrawn"] == pots
