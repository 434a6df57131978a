"""The simulated world: same seed same bytes, true risk, drawdowns, lives of loans."""

import math
from collections import Counter
from typing import Any

import numpy as np
import orjson
import pytest

from features import catalog
from streams.limits import AHEAD_MS_MAX, DAY_MS, ID_BYTES_MAX
from streams.simulate.world import Record, World, WorldConfig

START = 1_767_225_600_000
SMALL = WorldConfig(applicants=400, rate_per_second=0.05, request_share=0.2, seed=7)


def decide(record: Record) -> dict[str, Any]:
    """Approve what is asked, as the platform would say it; a stand-in for the step."""
    assert record.value is not None
    event = orjson.loads(record.value)
    number = int(record.id[1:])
    return {
        "id": f"{number:032x}",
        "applicant": record.applicant,
        "request": record.id,
        "outcome": "approved" if number % 9 else "credit",
        "institution": "dawn",
        "amount_cents": event["amount_cents"],
        "tenor_days": event["tenor_days"],
        "method": "equal_instalment",
        "instalment_cents": event["amount_cents"] * 31 // 30,
        "expires_at": event["at"] + 600_000,
    }


def run(config: WorldConfig, days: float, step_ms: int = 600_000) -> tuple[World, list[Record]]:
    """Let the world live on decisions that approve most requests."""
    world, records = World(config, START), []
    for now in range(START, START + int(days * DAY_MS), step_ms):
        told = world.next_events(now)
        records += told
        for record in told:
            if record.is_request:
                world.on_decision(decide(record))
    return world, records


@pytest.fixture(scope="module")
def lived() -> tuple[World, list[Record]]:
    """Return twenty days of a small world."""
    return run(SMALL, 15)


def events(records: list[Record], kind: str | None = None) -> list[dict[str, Any]]:
    """Return the honest records as events, of one type or of all."""
    return [
        orjson.loads(record.value)
        for record in records
        if record.admissible and record.value and kind in {None, record.kind}
    ]


def test_same_seed_same_bytes() -> None:
    """The same seed and the same decisions give the same bytes; another seed gives others."""
    assert run(SMALL, 1)[1] == run(SMALL, 1)[1]
    other = WorldConfig(**{**SMALL.__dict__, "seed": 8})
    assert run(SMALL, 1)[1] != run(other, 1)[1]


def test_how_time_is_cut_does_not_matter() -> None:
    """Without decisions in between, one long call gives the same records as many short ones."""
    whole = World(SMALL, START).next_events(START + 2 * DAY_MS)
    world, parts = World(SMALL, START), []
    for now in range(START, START + 2 * DAY_MS + 1, DAY_MS // 7 + 1):
        parts += world.next_events(now)
    parts += world.next_events(START + 2 * DAY_MS)
    assert parts == whole
    assert len(whole) > 5_000


def test_no_event_is_ahead_of_the_time_passed_in() -> None:
    """No event's `at` is later than the time asked for, nor earlier than the call before."""
    world, before = World(SMALL, START), START
    for now in range(START + 60_000, START + DAY_MS, 60_000):
        for record in world.next_events(now):
            assert record.value is not None
            assert before <= orjson.loads(record.value)["at"] <= now
            if record.is_request:
                world.on_decision(decide(record))
        before = now


def test_outcomes_follow_the_true_pd(lived: tuple[World, list[Record]]) -> None:
    """The bad rate equals the mean true PD within three standard errors, overall and by third."""
    truth = sorted(lived[0].truth, key=lambda row: row.true_pd)
    assert len(truth) > 1_000
    for part in (truth, *(truth[k * len(truth) // 3 :][: len(truth) // 3] for k in range(3))):
        pd = np.array([row.true_pd for row in part])
        error = math.sqrt(float((pd * (1 - pd)).sum())) / len(part)
        assert abs(sum(row.bad for row in part) / len(part) - pd.mean()) < 3 * error
    low, high = truth[len(truth) // 10].true_pd, truth[-len(truth) // 10].true_pd
    assert high > 4 * low, "the population has good and bad risks"


def test_most_requests_are_drawdowns_once_lines_exist(lived: tuple[World, list[Record]]) -> None:
    """80 % of requests draw on lines, once there are lines."""
    requests = [record.kind for record in lived[1] if record.is_request]
    later = requests[requests.index("drawdown") :]
    assert 0.77 < later.count("drawdown") / len(later) < 0.83


def test_every_type_and_step_appears(lived: tuple[World, list[Record]]) -> None:
    """A few weeks show every type of event, and steps of our own and of others' loans."""
    kinds = Counter(record.kind for record in lived[1])
    assert set(kinds) == {
        "application", "drawdown", "accept", "cancel", "activity", "signal", "loan",
    }  # fmt: skip
    loans = events(lived[1], "loan")
    steps = {loan["step"] for loan in loans if "decision" in loan}
    assert {"disbursed", "disburse_failed", "due"} <= steps
    assert any("decision" not in loan for loan in loans)
    assert {loan["issuer"] for loan in loans if "decision" in loan} == {"dawn"}


def test_ids_are_unique_and_short(lived: tuple[World, list[Record]]) -> None:
    """Each event has an id of its own, at most 40 bytes long, under the applicant's key."""
    honest = events(lived[1])
    ids = {event["id"] for event in honest}
    assert len(ids) == len(honest)
    assert max(map(len, ids)) <= ID_BYTES_MAX
    assert all(record.key == record.applicant.encode() for record in lived[1])


def test_a_loan_lives_in_order() -> None:
    """Each loan is disbursed, told its dues, paid in full and closed, or it is written off."""
    config = WorldConfig(
        applicants=100, rate_per_second=2.0, request_share=0.3, seed=3, pace=86_400
    )
    world, records = run(config, 3_000_000 / DAY_MS, step_ms=1_000)
    lives: dict[str, list[dict[str, Any]]] = {}
    for loan in events(records, "loan"):
        if "decision" in loan and loan["step"] != "disburse_failed":
            lives.setdefault(loan["loan"], []).append(loan)
    ended = [life for life in lives.values() if life[-1]["step"] in {"closed", "written_off"}]
    assert len(ended) > 100
    truth = {(row.applicant, row.id): row for row in world.truth}
    by_decision = {f"{int(id[1:]):032x}": row for (_, id), row in truth.items()}
    for life in ended:
        row = by_decision[life[0]["decision"]]
        assert life[0]["step"] == "disbursed"
        paid = sum(e.get("principal_cents", 0) for e in life if e["step"] == "payment")
        due = sum(e["principal_cents"] for e in life if e["step"] == "due")
        assert due == life[0]["principal_cents"]
        assert (life[-1]["step"] == "written_off") == row.bad
        assert paid < due if row.bad else paid == due


def test_decisions_on_unknown_requests_change_nothing() -> None:
    """A decision that is repeated, or names no pending request, is ignored."""
    world = World(SMALL, START)
    record = next(r for r in world.next_events(START + DAY_MS) if r.is_request)
    decision = {**decide(record), "outcome": "approved"}
    world.on_decision({**decision, "request": "nobody"})
    world.on_decision(decision)
    world.on_decision(decision)
    later = world.next_events(START + 2 * DAY_MS)
    accepts = [e for e in events(later, "accept") if e["decision"] == decision["id"]]
    cancels = [e for e in events(later, "cancel") if e["decision"] == decision["id"]]
    assert len(accepts) + len(cancels) <= 1


def test_a_drawdown_is_its_own_yes(lived: tuple[World, list[Record]]) -> None:
    """Only applications are accepted: an approved draw on a line is disbursed at once."""
    drawn = {f"{int(r.id[1:]):032x}" for r in lived[1] if r.kind == "drawdown"}
    accepted = {event["decision"] for event in events(lived[1], "accept")}
    disbursed = {e.get("decision") for e in events(lived[1], "loan") if e["step"] == "disbursed"}
    assert not drawn & accepted
    assert len(drawn & disbursed) > 0.7 * len(drawn)


def test_history_before_requests() -> None:
    """Before `requests_from_ms` people live but nobody applies."""
    world = World(SMALL, START, START + DAY_MS)
    assert not any(record.is_request for record in world.next_events(START + DAY_MS - 1))
    assert any(record.is_request for record in world.next_events(START + 2 * DAY_MS))


def test_honest_events_are_within_the_clock(lived: tuple[World, list[Record]]) -> None:
    """With a tick at each call no honest event could be called too far ahead."""
    for event, record in zip(events(lived[1]), (r for r in lived[1] if r.admissible), strict=True):
        assert event["at"] < START + 15 * DAY_MS + AHEAD_MS_MAX
        assert event["applicant"] == record.applicant


def test_names_are_those_of_the_default_catalog(lived: tuple[World, list[Record]]) -> None:
    """Kinds, signals, attributes and categories are names that the default catalog declares."""
    declared = {attribute.name: attribute for attribute in catalog.ATTRIBUTES}
    sources = {(signal.source, signal.name) for signal in catalog.SIGNALS}
    wire = {"type", "id", "applicant", "at", "product", "channel", "amount_cents", "tenor_days"}
    for event in events(lived[1]):
        if event["type"] == "activity":
            assert event["kind"] in catalog.KINDS
        elif event["type"] == "signal":
            assert (event["source"], event["name"]) in sources
        elif event["type"] == "application":
            for name in event.keys() - wire - {"device"}:
                assert declared[name].type == "number" or event[name] in declared[name].values
