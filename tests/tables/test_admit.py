"""Why a record does not count: each reason, and which of two goes first; what full tables say."""

import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from streams.control.records import signed, tick
from streams.deployment import Deployment
from streams.schema import Cap, Refusal
from tests.naive.deployments import with_limits
from tests.naive.logs import FORGED, GENUINE, LogMaker
from tests.tables.desk import Desk, read_table, span_ms

pytestmark = pytest.mark.timeout(900)
TINY = {"applicants": 8, "pages": 1, "ids": 8, "lines": 8, "loans": 8, "dues": 1, "offers": 8}


def _offer(desk: Desk) -> None:
    desk.apply(id="same")
    assert desk.decision["institution"] == "meadow"


def _accepted(desk: Desk) -> None:
    _offer(desk)
    assert desk.send("accept", decision=desk.decision["id"]) == "ok"


def _drawn(desk: Desk, at: str = "") -> None:
    _accepted(desk)
    ours = {"loan": "L", "issuer": "meadow", "decision": desk.decision["id"], "at": at}
    assert desk.send("loan", step="disbursed", id="money", principal_cents=200_000, **ours) == "ok"


def _repaid(desk: Desk) -> None:
    _drawn(desk)
    ours = {"loan": "L", "issuer": "meadow"}
    assert desk.send("loan", step="payment", principal_cents=200_000, **ours) == "ok"
    assert desk.send("loan", step="closed", **ours) == "ok"


def _line(desk: Desk) -> None:
    desk.apply("cash_line", id="same")
    assert desk.send("accept", decision=desk.decision["id"]) == "ok"


def _ended(desk: Desk) -> None:
    _offer(desk)
    assert desk.send("cancel", decision=desk.decision["id"]) == "ok"


def _logins(desk: Desk) -> None:
    assert desk.send("activity", kind="login", id="same") == "ok"
    for _ in range(16):
        assert desk.send("activity", kind="login") == "ok"


GIVEN: dict[str, Callable[[Desk], object]] = {
    "a start": lambda desk: None,
    "nothing": lambda desk: None,
    "a login": lambda desk: desk.send("activity", kind="login", id="same"),
    "16 more logins": _logins,
    "a request": lambda desk: desk.apply(id="same", amount_cents=1),
    "an offer": _offer,
    "a late offer": lambda desk: desk.apply(id="same", at="-6d"),
    "accepted": _accepted,
    "drawn": _drawn,
    "repaid": _repaid,
    "a line": _line,
    "ended": _ended,
    "7 days": lambda desk: desk.wait("+7d"),
    "8 days": lambda desk: desk.wait("+8d"),
    "100 h": lambda desk: desk.wait("+100h"),
    "99 h": lambda desk: desk.wait("+99h"),
}


def _fields(desk: Desk, words: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for word in words:
        name, text = word.split("=", 1)
        if text == "$decision":
            fields[name] = desk.decision["id"]
        else:
            fields[name] = text if name in {"at", "seq"} else orjson.loads(text)
    return fields


def _send_tick(desk: Desk, fields: dict[str, Any]) -> str:
    seq = desk.twin.books.seq + int(fields.get("seq", "+1"))
    at = desk.now + span_ms(fields.get("at", "+1s"))
    record = tick(fields.get("partition", LogMaker.partition), seq, at)
    if "key" in fields:
        return desk.put(fields["key"].encode(), signed(record, lambda _: GENUINE))
    if "signature" not in fields:
        return desk.control(record)
    if fields["signature"] is None:
        return desk.put(None, record)
    return desk.forge(record)


def send_cell(desk: Desk, text: str) -> str:
    """Hand in what a cell says; return the refusal, the reasons of a declined request, or ok."""
    kind, *words = re.split(r" +", text)
    if kind == "raw":
        return desk.put(b"gina", text.removeprefix("raw").strip().encode())
    fields = _fields(desk, words)
    if kind == "tick":
        return _send_tick(desk, fields)
    desk.decision = {}
    if "signature" in fields:
        fields["signature"] = FORGED if fields["signature"] == "forged" else None
    result = desk.send(kind, **fields)
    if result == "ok" and "no_room" in desk.decision.get("reasons", []):
        return "declined: no_room"
    return result


@pytest.mark.parametrize("row", read_table("admit.txt"), ids=lambda row: f"{row['result']}")
def test_admit(step_deployment: Deployment, row: dict[str, str]) -> None:
    """Each row of admit.txt: the record is refused for that reason, or counts."""
    desk = Desk(step_deployment, lease=0 if row["given"] == "nothing" else 10_000_000)
    for word in row["given"].split(", "):
        GIVEN[word](desk)
    before = desk.step.core.state.partition["ids_used"][0], desk.twin.books.seq
    assert send_cell(desk, row["sent"]) == row["result"]
    if row["result"] != "ok":
        after = desk.step.core.state.partition["ids_used"][0], desk.twin.books.seq
        assert before == after, "a refused event leaves no trace"


def test_admit_has_every_refusal() -> None:
    """Each reason of streams/schema.py stands in admit.txt, full.txt or line_money.txt."""
    named = {
        row["result"]
        for name in ("admit.txt", "full.txt", "line_money.txt")
        for row in read_table(name)
    }
    by_list = {"skipped", "not_prepared"}  # tests/streams: test_skips.py, test_versions.py
    assert {refusal.name.lower() for refusal in Refusal if refusal} <= named | by_list


def _fill(desk: Desk, table: str) -> None:
    """Fill a table, mostly with what hans does."""
    if table == "applicants":
        names = [f"p{n}" for n in range(99) if LogMaker._partition_of(f"p{n}") == 1][:7]
        for name in ["hans", *names]:
            assert desk.send("activity", name, kind="login") == "ok"
    elif table == "pages":
        for _ in range(16):
            assert desk.send("activity", "hans", kind="login") == "ok"
    elif table == "ids":
        for _ in range(6):
            desk.apply(applicant="hans", amount_cents=1)
        desk.apply()
    elif table == "lines":
        for _ in range(8):
            desk.apply("cash_line")
            assert desk.send("accept", decision=desk.decision["id"]) == "ok"
            desk.wait("+8d")
        desk.apply("cash_line")
    elif table == "loans":
        _accepted(desk)
        for n in range(8):
            assert desk.send("loan", "hans", step="disbursed", loan=str(n)) == "ok"
    elif table == "dues":
        assert desk.send("loan", "hans", step="disbursed", loan="0", principal_cents=9) == "ok"
        assert desk.send("loan", "hans", step="due", loan="0", due_at=1) == "ok"
    elif table == "offers":
        for n in range(8):
            desk.apply(applicant="hans" if n < 4 else "gina")
            assert desk.decision["outcome"] == "approved"


@pytest.mark.parametrize("row", read_table("full.txt"), ids=lambda row: row["full"])
def test_full(step_deployment: Deployment, row: dict[str, str]) -> None:
    """Each row of full.txt: a full table gives a reason, never a crash, and never hides another."""
    limits = {row["full"]: TINY[row["full"]]}
    if row["full"] == "offers":
        limits["timers"] = 32
    desk = Desk(with_limits(step_deployment, **limits), twin=False)
    _fill(desk, row["full"])
    decision = desk.decision.get("id")
    result = send_cell(desk, row["sent"])
    if row["result"].startswith("declined"):
        assert result in {"ok", "declined: no_room"}
        assert desk.decision["outcome"] != "approved"
        assert desk.decision["id"] != decision
        assert desk.decision["reasons"] == [row["result"].removeprefix("declined: ")]
    else:
        assert result == row["result"]
    assert desk.lease("meadow", Cap.OUTSTANDING).overdrawn == 0


# What makes room in a full table, and how long it takes then. A line that is open keeps its row.
_ROOM: dict[str, tuple[Callable[[Desk], None], str]] = {
    "applicants": (lambda _: None, "+731d"),
    "pages": (lambda _: None, "+731d"),
    "ids": (lambda _: None, "+8d"),
    "loans": (lambda desk: _close(desk, 8), "+738d"),
    "dues": (lambda desk: _close(desk, 1), "+738d"),
    "offers": (lambda _: None, "+8d"),
}


def _close(desk: Desk, loans: int) -> None:
    for n in range(loans):
        assert desk.send("loan", "hans", step="closed", loan=str(n)) == "ok"


@pytest.mark.parametrize("table", _ROOM)
def test_there_is_room_again(step_deployment: Deployment, table: str) -> None:
    """A full table takes rows again by itself when what filled it has ended or grown old."""
    limits = {table: TINY[table]} | ({"timers": 32} if table == "offers" else {})
    desk = Desk(with_limits(step_deployment, **limits), twin=False)
    _fill(desk, table)
    sent = next(
        row["sent"]
        for row in read_table("full.txt")
        if row["full"] == table and row["result"].endswith("no_room")
    )
    if table == "dues":
        sent = 'loan loan="1" step="due" principal_cents=1 due_at=1 applicant="hans" key="hans"'
        assert desk.send("loan", "hans", step="disbursed", loan="1", principal_cents=9) == "ok"

    def finds_room() -> bool:
        result = send_cell(desk, sent)
        return result == "ok" and desk.decision.get("reasons") != ["no_room"]

    assert not finds_room()
    end, span = _ROOM[table]
    end(desk)
    for _ in range(2):  # an offer expires, and is remembered as expired for a while
        desk.wait(span)
    for _ in range(16):  # each tick looks at some rows
        desk.wait("+1s")
    if table == "dues":
        assert desk.send("loan", "hans", step="disbursed", loan="2", principal_cents=9) == "ok"
        sent = sent.replace('"1"', '"2"', 1)
    assert finds_room()
