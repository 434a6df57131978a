"""Shares of a loan between institutions: parts add up to the cent, a pool covers no more than it
holds.
"""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.policy.errors import PolicyError
from streams.errors import DipperError
from streams.fees.schedule import Guarantee, Partner, Schedule, read_schedule
from streams.fees.shares import FLOWS, Shares, shares_of, split
from tests.streams.fees.conftest import Month

LEAD = "dawn"
PARTNERS = """
[[partners]]
id = "meadow"
share_bps = 3_333
from = "2026-01"

[guarantee]
guarantor = "surety"
pool_cap_cents = 700
from = "2026-01"
"""


def _schedule(shares: list[int], pool: int | None) -> Schedule:
    partners = tuple(
        Partner.model_validate({"id": f"p{n}", "share_bps": bps, "from": "2026-01"})
        for n, bps in enumerate(shares)
    )
    guarantee = None
    if pool is not None:
        told = {"guarantor": "surety", "pool_cap_cents": pool, "from": "2026-01"}
        guarantee = Guarantee.model_validate(told)
    return Schedule(Path("fees.toml"), "", "UTC", "CNY", (), partners, guarantee)


@st.composite
def _lives(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Loans with pieces of principal and interest coming back, some written off and recovered."""
    events = []
    for number in range(draw(st.integers(1, 4))):
        base = {"applicant": f"a{number}", "loan": "L", "month": "2026-01"}
        drawn = draw(st.integers(1, 9_999))
        events.append(base | _event("disbursed", drawn, 0))
        back = 0
        for _ in range(draw(st.integers(0, 5))):
            part = draw(st.integers(0, drawn - back))
            month = draw(st.sampled_from(["2026-01", "2026-02"]))
            events.append(base | {"month": month} | _event("payment", part, draw(_CENTS)))
            back += part
            if draw(st.booleans()):
                events.append(base | _event("reversal", part, 0))
                back -= part
            elif draw(st.integers(0, 3)) == 0:
                events.append(base | _event("written_off", 0, 0))
    return events


_CENTS = st.integers(0, 500)


def _event(step: str, principal: int, interest: int) -> dict[str, Any]:
    return {"step": step, "principal_cents": principal, "interest_cents": interest}


def _once(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out a second write-off of a loan: the step refuses it."""
    off: set[str] = set()
    kept = []
    for event in events:
        if event["step"] == "written_off":
            if event["applicant"] in off:
                continue
            off.add(event["applicant"])
        kept.append(event)
    return kept


@given(
    _lives().map(_once),
    st.lists(st.integers(0, 3_333), max_size=3),
    st.one_of(st.none(), st.integers(0, 20_000)),
)
def test_parts_add_up_to_the_cent(
    events: list[dict[str, Any]], shares: list[int], pool: int | None
) -> None:
    """Over all parties each flow is the institution's own, a partner never has more than its share
    of a sum nor a cent less than its whole cents, and a guarantor never pays beyond its pool.
    """
    made = Shares(LEAD, _schedule(shares, pool))
    drawn: Counter[str] = Counter()
    back: Counter[str] = Counter()
    for event in events:
        made.take(event)
        if event["step"] == "disbursed":
            drawn[event["applicant"]] += event["principal_cents"]
        elif event["step"] != "written_off":
            sign = -1 if event["step"] == "reversal" else 1
            back[event["applicant"]] += sign * event["principal_cents"]
        assert 0 <= made.balance_cents <= (pool or 0)
    sums: Counter[str] = Counter()
    for (_, party, flow), cents in made.flows.items():
        if party != "surety":
            sums[flow] += cents
    assert sums["drawn"] == drawn.total()
    paid = -sum(
        v for (_, who, flow), v in made.flows.items() if (who, flow) == ("surety", "covered")
    )
    returned = sum(
        v for (_, who, f), v in made.flows.items() if (who, f) == ("surety", "recovered")
    )
    assert sums["covered"] == paid
    assert made.balance_cents == (pool or 0) - paid + returned
    assert sums["repaid"] + sums["recovered"] + returned == back.total()
    for number, bps in enumerate(shares):
        part = sum(
            cents
            for (_, party, flow), cents in made.flows.items()
            if (party, flow) == (f"p{number}", "drawn")
        )
        assert part == sum(cents * bps // 10_000 for cents in drawn.values())
    assert set(made.table().columns) >= {f"{flow}_cents" for flow in FLOWS}


@given(st.integers(0, 10**14), st.lists(st.integers(0, 2_500), max_size=4))
def test_a_split_is_whole(total_cents: int, shares: list[int]) -> None:
    """Parts are whole cents, of which partners have at most their share and the lead what is left,
    less than a cent a partner above its own.
    """
    parts = split(total_cents, {f"p{n}": bps for n, bps in enumerate(shares)}, LEAD)
    assert sum(parts.values()) == total_cents
    for n, bps in enumerate(shares):
        assert 0 <= total_cents * bps - parts[f"p{n}"] * 10_000 < 10_000


def test_in_pieces_or_at_once_the_parts_are_the_same() -> None:
    """A loan paid back cent by cent leaves each party what one payment would."""
    base = {"applicant": "a", "loan": "L", "month": "2026-01"}
    sides = [Shares(LEAD, _schedule([3_333], None)) for _ in range(2)]
    for side, pieces in zip(sides, ([1_000], [1] * 1_000), strict=True):
        side.take(base | _event("disbursed", 1_000, 0))
        for cents in pieces:
            side.take(base | _event("payment", cents, 0))
    assert sides[0].flows == sides[1].flows


_SECOND = '[[partners]]\nid = "{}"\nshare_bps = {}\nfrom = "{}"\n\n[guarantee]'
_FLOOR = '[[share_floors]]\nfrom = "2026-06"\nbps = 4_000\n\n[guarantee]'


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("3_333", "2_999", "2999 is below 3000, the least that a partner must bear"),
        ('"meadow"', '"dawn"', "is the institution itself"),
        ("3_333", "10_001", "less than or equal to 10000"),
        ("[guarantee]", _SECOND.format("north", 6_668, "2026-01"), "bear more than all of loans"),
        ("[guarantee]", _SECOND.format("meadow", 3_000, "2026-02"), "has two shares in 2026-02"),
        ("[guarantee]", _FLOOR, "3333 is below 4000"),
        ("= 700\n", '= 700\nuntil = "2025-12"\n', r"guarantee\.until: is before 2026-01"),
        ('from = "2026-01"\n\n[', 'from = "2026-01"\nuntil = "2025-12"\n\n[', "is before 2026-01"),
    ],
)
def test_terms_that_contradict_are_refused(
    tmp_path: Path, month: Month, old: str, new: str, sentence: str
) -> None:
    """A share below the floor in force, above all, twice, of oneself: each in one sentence."""
    text = (month.config / "institutions" / LEAD / "fees.toml").read_text() + PARTNERS
    assert old in PARTNERS
    path = tmp_path / LEAD / "fees.toml"
    path.parent.mkdir()
    path.write_text(text)
    assert read_schedule(path).shares_of("2026-03") == {"meadow": 3_333}
    path.write_text(text.replace(PARTNERS, PARTNERS.replace(old, new, 1)))
    with pytest.raises(PolicyError, match=sentence):
        read_schedule(path)


def test_a_book_is_split_as_its_statement_says(tmp_path: Path, month: Month) -> None:
    """Of a real log what all parties draw is what the institution disbursed; without partners there
    is nothing to split.
    """
    with pytest.raises(DipperError, match="nothing is split"):
        shares_of(month.book, LEAD, month.config)
    config = tmp_path / "config"
    shutil.copytree(month.config, config)
    with (config / "institutions" / LEAD / "fees.toml").open("a") as file:
        file.write(PARTNERS)
    table = shares_of(month.book, LEAD, config).table()
    lenders = table.filter(table["role"] != "guarantor")
    loans = month.book.loans.filter(month.book.loans["issuer"] == LEAD)
    paid = loans.filter(loans["step"] == "disbursed")["principal_cents"].sum()
    assert lenders["drawn_cents"].sum() == paid > 0
    assert lenders.filter(lenders["party"] == "meadow")["drawn_cents"].sum() > paid // 4
