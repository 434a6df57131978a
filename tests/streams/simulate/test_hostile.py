"""Hostile records: each kind appears, none could be taken for an honest one."""

from collections import Counter

import orjson
import pytest

from streams.limits import AHEAD_MS_MAX, DAY_MS, LATE_MS_MAX
from streams.simulate import hostile
from streams.simulate.world import Record, World, WorldConfig

START = 1_767_225_600_000


def live(*, for_file: bool) -> list[Record]:
    """Return two days of a world in which every tenth record is hostile."""
    config = WorldConfig(
        applicants=200, rate_per_second=0.05, seed=5, hostile_share=0.1, for_file=for_file
    )
    return World(config, START).next_events(START + 2 * DAY_MS)


@pytest.mark.parametrize("for_file", [False, True])
def test_each_kind_appears(for_file: bool) -> None:
    """Every hostile kind appears, at the share asked for, and none is a request to be decided."""
    records = live(for_file=for_file)
    bad = [record for record in records if not record.admissible]
    kinds = Counter(record.kind for record in bad)
    assert set(kinds) == set(hostile.FILE_KINDS if for_file else hostile.KINDS)
    assert 0.08 < len(bad) / len(records) < 0.12
    assert not any(record.is_request for record in bad)


def test_file_records_fit_a_line() -> None:
    """What goes to a file has a value without line ends and is not a control event."""
    for record in live(for_file=True):
        assert record.value
        assert b"\n" not in record.value
        assert b'"tick"' not in record.value


def test_duplicates_repeat_an_earlier_record() -> None:
    """A duplicate has the key and bytes of an honest record that stands before it."""
    seen: set[tuple[bytes | None, bytes | None]] = set()
    duplicates = 0
    for record in live(for_file=False):
        if record.kind == hostile.DUPLICATE:
            duplicates += 1
            assert (record.key, record.value) in seen
        elif record.admissible:
            seen.add((record.key, record.value))
    assert duplicates > 10


def test_broken_bytes_are_refused_by_json() -> None:
    """What is called broken is refused by a JSON parser, or is no object, or has a wrong field."""
    broken = {"broken_json", "truncated", "junk", "not_a_number", "infinity"}
    for record in live(for_file=False):
        if record.kind in broken:
            assert record.value is not None
            with pytest.raises(orjson.JSONDecodeError):
                orjson.loads(record.value)


def test_times_are_out_of_the_window() -> None:
    """Requests called too old or far ahead miss the window by an hour at least."""
    last = START
    for record in live(for_file=False):
        if record.admissible and record.value:
            last = orjson.loads(record.value)["at"]
        elif record.kind == "far_ahead":
            assert orjson.loads(record.value or b"")["at"] > last + 2 * AHEAD_MS_MAX
        elif record.kind == "too_old":
            assert orjson.loads(record.value or b"")["at"] < last - LATE_MS_MAX


def test_an_expired_offer_is_accepted_late() -> None:
    """An offer that its applicant lets expire is tried again after its end."""
    source = hostile.Hostile(1, 0.5, for_file=False)
    source.offer_left("p1", "ab" * 16, START)
    event = {"type": "activity", "applicant": "p2", "at": START + DAY_MS}
    sent = [s for _ in range(300) for s in source.after(b"p2", b"{}", event)]
    late = [s for s in sent if s[2] == "accept_expired"]
    assert late[0][0] == b"p1"
    assert orjson.loads(late[0][1] or b"")["decision"] == "ab" * 16
