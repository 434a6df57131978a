"""The demo's own count of what was lost, what came twice, and of budgets."""

from typing import Any

from streams.control.book import Book
from streams.demo.tally import Tally
from streams.schema import Cap

CAPS = {"dawn": {Cap.OUTSTANDING: 100, Cap.COMMITMENT: 100}}


def _move(kind: str, seq: int, amount: int, pots: tuple[int, int, int]) -> dict[str, Any]:
    free, reserved, drawn = pots
    return {
        "type": kind, "institution": "dawn", "cap": "outstanding", "seq": seq, "partition": 0,
        "amount_cents": amount, "free_cents": free, "reserved_cents": reserved,
        "drawn_cents": drawn, "overdrawn_cents": 0,
    }  # fmt: skip


def _decision(request: str, id: str, outcome: str = "approved") -> dict[str, object]:
    return {
        "id": id,
        "applicant": "p1",
        "request": request,
        "outcome": outcome,
        "institution": "dawn",
        "reasons": [] if outcome == "approved" else ["worst_dpd"],
        "candidates": [{"institution": "dawn", "outcome": outcome}],
    }


def test_a_request_without_a_decision_is_lost() -> None:
    """Each distinct admissible request that has no decision counts as lost, once."""
    tally = Tally()
    tally.sent(("p1", "r1"), 1.0)
    tally.sent(("p1", "r1"), 1.1)
    tally.sent(("p1", "r2"), 1.2)
    tally.sent(None, 1.3)
    tally.on_decision(_decision("r1", "d1"), 1.25)
    assert (tally.published, tally.lost) == (4, 1)
    assert tally.wait_ms(0.5) == 250.0


def test_a_second_decision_on_a_request_is_a_duplicate() -> None:
    """Decisions beyond the first of a request count as duplicated and as nothing else."""
    tally = Tally()
    tally.sent(("p1", "r1"), 1.0)
    assert tally.on_decision(_decision("r1", "d1"), 1.5)
    assert not tally.on_decision(_decision("r1", "d1"), 1.6)
    result = tally.summary(2.0, CAPS)
    assert (result["decided"], result["duplicated"], result["lost"]) == (1, 1, 0)
    assert (result["approved"], result["declined"]) == (1, 0)


def test_the_summary_has_the_fields_that_it_promises() -> None:
    """The JSON summary names what was published, decided, refused, lost and how long it took."""
    tally = Tally()
    tally.on_dead_letter("malformed")
    tally.on_decision(_decision("r1", "d1", "credit"), 0.0)
    assert tally.summary(1.0, CAPS) == {
        "published": 0,
        "decided": 1,
        "approved": 0,
        "declined": 1,
        "dead_letters": 1,
        "lost": 0,
        "duplicated": 0,
        "decisions_per_second": 1.0,
        "p50_ms": None,
        "p99_ms": None,
        "caps_exceeded": 0,
        "capacity_with_budget_percent": 0.0,
        "institutions": 1,
        "institutions_deciding": 1,
        "by_institution": {"dawn": {"decided": 1, "approved": 0}},
    }


def test_a_refusal_for_capacity_counts_where_the_money_lay_elsewhere() -> None:
    """Refused for capacity while the lender had enough in all partitions together is counted, and
    refused when it had not is not.
    """
    tally = Tally()
    for cap in ("outstanding", "commitment"):
        tally.book.take(_move("grant", len(tally.book.pots) + 1, 60, (60, 0, 0)) | {"cap": cap})
    for request, asked in (("r1", 60), ("r2", 61)):
        tally.sent(("p1", request), 0.0, asked)
        tally.on_decision(_decision(request, request, "capacity"), 0.1)
    tally.on_decision(_decision("r3", "r3"), 0.2)
    assert tally.refused_with_budget == 1
    assert tally.summary(1.0, CAPS)["capacity_with_budget_percent"] == 100.0


def test_the_book_finds_what_exceeds_a_cap_and_what_does_not_add_up() -> None:
    """More leased than the cap, a pot that its moves do not make, and a move that is missing: each
    is told; a repeat of a move is not counted.
    """
    book = Book()
    assert book.take(_move("grant", 1, 100, (100, 0, 0)))
    assert not book.take(_move("grant", 1, 100, (100, 0, 0)))
    assert book.take(_move("reserve", 2, 70, (30, 70, 0)))
    assert (book.exceeded(CAPS), book.faults) == ([], [])
    assert book.take(_move("grant", 3, 1, (31, 70, 0)))
    assert book.exceeded(CAPS) == [("dawn", Cap.OUTSTANDING)]
    assert book.take(_move("draw", 5, 70, (30, 0, 70)))
    assert len(book.faults) == 2
