"""Caps by day and segment, counted from the log of funding alone, against the step and its twin."""

from typing import Any

import orjson
import pytest

from streams.control.parts import PartBook
from streams.deployment import Deployment
from streams.limits import SEGMENT_DAYS
from streams.topology import OUT_FUNDING
from tests.naive.logs import LogMaker
from tests.naive.run import make_step, run_log
from tests.property.test_step import ROWS, SIZES, first_difference
from tests.sizes import sized


def _moves(maker: LogMaker) -> list[dict[str, Any]]:
    return [
        orjson.loads(record.value)
        for records in maker.expected
        for record in records
        if record.topic == OUT_FUNDING
    ]


@pytest.mark.kernel
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(sized(6)))
def test_caps_by_day_and_segment_are_the_twin_s(segmented: Deployment, seed: int) -> None:
    """With such caps the step still writes what plain Python does; the log of funding alone adds up
    to what both hold, parts that are moved among it, and no partition goes beyond any cap.
    """
    maker = LogMaker(segmented, 5_000 + seed).make(ROWS)
    wanted = [record for records in maker.expected for record in records]
    for size in SIZES:
        step = make_step(segmented)
        assert not first_difference(maker, run_log(step, maker.log, size), wanted)
    caps = segmented.segments
    book = PartBook(caps)
    for move in _moves(maker):
        book.take(move)
    assert not book.exceeded()
    held = {
        (caps[place].institution, caps[place].name, day): used
        for (place, day), used in maker.step.books.segments.items()
    }
    assert book.used == held
    rows = step.state.segments
    for (place, day), used in maker.step.books.segments.items():
        row = rows[place]
        known = day is None or row["day"][day % SEGMENT_DAYS] == day
        assert not known or row["used_cents"][(day or 0) % SEGMENT_DAYS] == used
        moved = maker.step.books.parts.get((place, day), 0)
        assert not known or row["moved_ppm"][(day or 0) % SEGMENT_DAYS] == moved


def test_generated_logs_reach_these_caps(segmented: Deployment) -> None:
    """Each of them is filled beyond three quarters of its share by some log, so it had to hold;
    and a book of lower caps tells which were exceeded.
    """
    fullest = dict.fromkeys(range(len(segmented.segments)), 0.0)
    lower = [cap._replace(amount_cents=cap.amount_cents // 3) for cap in segmented.segments]
    told: set[str] = set()
    for seed in (*range(40), 90):  # the last one lends at random
        maker = LogMaker(segmented, 5_000 + seed).make(400)
        book = PartBook(lower)
        for move in _moves(maker):
            book.take(move)
        told |= {name for _, name, _ in book.exceeded()}
        for place, cap in enumerate(segmented.segments):
            share = cap.amount_cents // maker.partitions
            mine = (v for k, v in book.most.items() if k[:2] == (cap.institution, cap.name))
            fullest[place] = max(fullest[place], max(mine, default=0) / share)
    assert min(fullest.values()) > 0.75, fullest
    assert told == {cap.name for cap in segmented.segments}
