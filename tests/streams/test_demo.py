"""The demo's own count of what was lost and what came twice."""

from streams.demo.tally import Tally


def _decision(request: str, id: str, outcome: str = "approved") -> dict[str, object]:
    return {
        "id": id,
        "applicant": "p1",
        "request": request,
        "outcome": outcome,
        "institution": "dawn",
        "reasons": [] if outcome == "approved" else ["worst_dpd"],
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
    result = tally.summary(2.0)
    assert (result["decided"], result["duplicated"], result["lost"]) == (1, 1, 0)
    assert (result["approved"], result["declined"]) == (1, 0)


def test_the_summary_has_the_fields_that_it_promises() -> None:
    """The JSON summary names what was published, decided, refused, lost and how long it took."""
    tally = Tally()
    tally.on_dead_letter("malformed")
    tally.on_decision(_decision("r1", "d1", "credit"), 0.0)
    assert tally.summary(1.0) == {
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
    }
