"""What became of a request: definitions as a table of cases, and against days counted singly."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.policy.errors import PolicyError
from models.train.book import MONTH_MS, make_book
from models.train.label import LABELS, Definition, labels_of, read_definition
from streams.limits import DAY_MS

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "labels" / "ever30.toml"
BEGIN = 1_767_225_600_000
SEEN_DAYS = 400
_MONEY = {"interest_cents": 0, "fee_cents": 0, "penalty_cents": 0}


def _event(loan: str, step: str, day: float, cents: int = 0, due: float = 0) -> dict[str, Any]:
    return {
        "applicant": "p", "loan": loan, "decision": f"d-{loan}", "issuer": "dawn", "step": step,
        "at": BEGIN + int(day * DAY_MS), "principal_cents": cents, **_MONEY,
        "due_at": BEGIN + int(due * DAY_MS) if step == "due" else None,
    }  # fmt: skip


def _loan(name: str, dues: Sequence[tuple[float, float | None]], begin: float = 0) -> list[Any]:
    """A loan of dues of 100.00, each with the day it is due and the day it is paid."""
    events = [_event(name, "disbursed", begin, 10_000 * len(dues))]
    for day, paid in dues:
        events.append(_event(name, "due", begin, 10_000, day))
        if paid is not None:
            events.append(_event(name, "payment", paid, 10_000))
    return events


def _decision(id_: str, outcome: str = "approved", **more: Any) -> dict[str, Any]:
    return {
        "id": id_, "applicant": "p", "request": f"r-{id_}", "at": BEGIN, "type": "application",
        "product": "cash", "channel": "app", "line": None, "outcome": outcome, **more,
    }  # fmt: skip


def _judge(
    definition: Definition,
    decisions: list[dict[str, Any]],
    events: list[dict[str, Any]],
    seen_days: float = SEEN_DAYS,
) -> dict[str, tuple[str, int | None, int | None]]:
    book = None
    if events:
        book = make_book(pl.DataFrame(events), BEGIN + int(seen_days * DAY_MS))
    schema = {"line": pl.String, "product": pl.String, "channel": pl.String}
    frame = pl.DataFrame(decisions, schema_overrides=schema)
    told = labels_of(frame, book, definition)
    return {row["id"]: (row["label"], row["bad"], row["known_at"]) for row in told.to_dicts()}


_WINDOW_END = BEGIN + 3 * MONTH_MS
_CASES = [
    # dues (day due, day paid), what differs from the definition, days seen, came to, known at
    ([(30, 30), (60, 59)], {}, 400, "good", _WINDOW_END),
    ([(30, 70)], {}, 400, "bad", BEGIN + 60 * DAY_MS),
    ([(30, 60)], {}, 400, "bad", BEGIN + 60 * DAY_MS),
    ([(30, 59.9)], {}, 400, "indeterminate", None),
    ([(30, 44)], {}, 400, "good", _WINDOW_END),
    ([(30, 44)], {}, 80, "immature", None),
    ([(30, None)], {}, 80, "bad", BEGIN + 60 * DAY_MS),
    ([(30, None)], {}, 59, "immature", None),
    ([(70, None)], {}, 400, "indeterminate", None),  # 30 days late only after the window
    ([(30, 70)], {"cured": "good", "indeterminate_days": None}, 400, "good", _WINDOW_END),
    ([(30, None)], {"cured": "good"}, 400, "bad", _WINDOW_END),
    ([(30, None)], {"cured": "good"}, 80, "immature", None),
    ([(30, None)], {"due_floor_cents": 10_001}, 400, "good", _WINDOW_END),
    ([(30, None)], {"exclude_channels": ("app",)}, 400, "excluded", None),
    ([(30, None)], {"exclude_products": ("cash",)}, 400, "excluded", None),
    ([(30, None)], {"late_days": 90, "months": 12}, 400, "bad", BEGIN + 120 * DAY_MS),
]


@pytest.mark.parametrize(("dues", "changed", "seen", "came_to", "known_at"), _CASES)
def test_a_loan_comes_to_what_its_dues_say(
    dues: list[tuple[float, float | None]],
    changed: dict[str, Any],
    seen: int,
    came_to: str,
    known_at: int | None,
) -> None:
    """Each case of the table: only good and bad have a label, and the time since when."""
    definition = read_definition(EXAMPLE).model_copy(update=changed)
    bad = {"good": 0, "bad": 1}.get(came_to)
    assert _judge(definition, [_decision("d-a")], _loan("a", dues), seen) == {
        "r-d-a": (came_to, bad, known_at)
    }


def test_no_loan_is_a_label_too() -> None:
    """Declined requests and offers not taken stay, each by its name."""
    decisions = [_decision("d-x"), _decision("d-y", "credit"), _decision("d-a")]
    told = _judge(read_definition(EXAMPLE), decisions, _loan("a", [(30, 30)]))
    assert [told[f"r-{id_}"][0] for id_ in ("d-x", "d-y", "d-a")] == [
        "not_taken",
        "declined",
        "good",
    ]
    assert [row[0] for row in _judge(read_definition(EXAMPLE), decisions, []).values()] == [
        "not_taken",
        "declined",
        "not_taken",
    ]


def test_written_off_is_bad_at_once() -> None:
    """What is written off inside the window is bad from then on, however late it was."""
    events = [*_loan("a", [(30, None)]), _event("a", "written_off", 40)]
    told = _judge(read_definition(EXAMPLE), [_decision("d-a")], events)
    assert told["r-d-a"] == ("bad", 1, BEGIN + 40 * DAY_MS)


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("loan", {"r-d-a": "good", "r-d-b": "bad", "r-l": "not_taken", "r-k": "not_taken"}),
        ("line", {"r-l": "bad"}),
        ("application", {"r-l": "bad", "r-k": "not_taken"}),
    ],
)
def test_a_line_is_as_bad_as_its_worst_draw(unit: str, expected: dict[str, str]) -> None:
    """Draws count for themselves, for their line, or for the application that opened it."""
    draw: dict[str, Any] = {"type": "drawdown", "line": "l", "product": None, "channel": None}
    decisions = [_decision("l"), _decision("k"), _decision("d-a", **draw), _decision("d-b", **draw)]
    events = [*_loan("a", [(30, 30)]), *_loan("b", [(40, None)], begin=10)]
    definition = read_definition(EXAMPLE).model_copy(update={"unit": unit})
    told = _judge(definition, decisions, events)
    assert {id_: row[0] for id_, row in told.items()} == expected


@given(
    dues=st.lists(
        st.tuples(st.integers(1, 150), st.one_of(st.none(), st.integers(0, 120))),
        min_size=1,
        max_size=4,
    ),
    late=st.integers(16, 100),
    months=st.integers(1, 6),
    seen=st.integers(1, 320),
    cured=st.sampled_from(["bad", "good"]),
)
def test_days_counted_one_by_one_agree(
    dues: list[tuple[int, int | None]], late: int, months: int, seen: int, cured: str
) -> None:
    """Reading the dues day by day, as a clerk would, gives the same label."""
    definition = read_definition(EXAMPLE).model_copy(
        update={"late_days": late, "months": months, "cured": cured}
    )
    # One payment of all that is owed from a due on would cover later ones: keep them in order.
    latest: int | None = 0
    told = []
    for day, wait in sorted(dues, key=lambda each: each[0]):
        paid = None if wait is None or latest is None else max(day + wait, latest)
        latest = paid
        told.append((day, paid if paid is not None and paid <= seen else None))
    end = months * MONTH_MS / DAY_MS
    until = min(end, seen)
    worst = max(min(until, paid if paid is not None else until) - day for day, paid in told)
    ever = any(day + late <= until and (paid is None or paid >= day + late) for day, paid in told)
    at_end = any(end - day >= late and (paid is None or paid > end) for day, paid in told)
    if (cured == "bad" and ever) or (cured == "good" and end <= seen and at_end):
        expected = "bad"
    elif end > seen:
        expected = "immature"
    else:
        expected = "indeterminate" if worst >= 15 else "good"
    found = _judge(definition, [_decision("d-a")], _loan("a", told), seen)
    assert found["r-d-a"][0] == expected


def test_every_label_of_the_table_is_one_that_is_documented() -> None:
    """The cases here reach every label that the module tells of."""
    reached = {case[3] for case in _CASES} | {"not_taken", "declined"}
    assert reached == set(LABELS)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("late_days = 0", "late_days"),
        ('unit = "person"', "unit"),
        ("indeterminate_days = 30", "indeterminate_days must be less"),
        ("late_day = 30", "did you mean late_days"),
    ],
)
def test_wrong_definitions_are_refused(tmp_path: Path, line: str, complaint: str) -> None:
    """A definition that cannot be meant is refused with file, line and field."""
    path = tmp_path / "label.toml"
    path.write_text(f'name = "own"\n{line}\n')
    with pytest.raises(PolicyError, match=complaint) as error:
        read_definition(path)
    assert str(path) in str(error.value)
