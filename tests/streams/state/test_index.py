"""Hash slots and applicants against a dict, with keys that meet."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import schema
from streams.state.applicants import (
    find_applicant,
    free_applicant,
    has_recent,
    remember_recent,
    take_applicant,
    write_attributes,
    write_signal,
)
from streams.state.index import delete_slot, find_pair, insert_slot
from streams.state.tables import empty_rows
from tests.streams.state.build import free_chain, person_event, small_state, u64

pytestmark = pytest.mark.kernel

ROWS = 8
# Homes 14, 15, 0 and 1 of 16 slots: runs of probes go round the end of the array.
_keys = st.builds(
    lambda home, high: high << 60 | home, st.sampled_from([14, 15, 0, 1]), st.integers(0, 15)
)


@given(st.lists(st.tuples(_keys, st.integers(0, 1)), max_size=60))
def test_slots_are_a_dict(steps: list[tuple[int, int]]) -> None:
    """Whatever is put in and taken out, each pair is found at its row, and no other."""
    slots, rows = empty_rows(schema.SLOT, 2 * ROWS), np.zeros(ROWS, schema.OFFER)
    known: dict[tuple[int, int], int] = {}
    for pair in steps:
        lo, hi = u64(pair[0]), u64(pair[1])
        if pair in known:
            row = known.pop(pair)
            delete_slot(slots, lo, row)
            rows[row]["lo"] = rows[row]["hi"] = 0
        elif len(known) < ROWS:
            row = min(set(range(ROWS)) - set(known.values()))
            rows[row]["lo"], rows[row]["hi"] = lo, hi
            insert_slot(slots, lo, row)
            known[pair] = row
        for other in {*steps}:
            found = find_pair(slots, rows, u64(other[0]), u64(other[1]))
            assert found == known.get(other, -1)
    assert (slots["row"] >= 0).sum() == len(known)


_names = st.sampled_from([b"a", b"b", b"ab", b"x" * 40, "北".encode()])


@given(st.lists(st.tuples(_names, st.sampled_from([7, 7 + 16, 8])), max_size=40))
def test_applicants_are_a_dict_by_their_id_in_full(steps: list[tuple[bytes, int]]) -> None:
    """Applicants of one hash are told apart by their ids; rows that were freed are taken again."""
    state = small_state()
    slots, rows = state.applicant_slots, state.applicants
    known: dict[tuple[bytes, int], int] = {}
    for key in steps:
        data, event = person_event(*key)
        assert find_applicant(slots, rows, data, event, 0) == known.get(key, -1)
        if key in known:
            free_applicant(state.partition, slots, rows, known.pop(key))
        else:
            row = take_applicant(state.partition, slots, rows, data, event, 0)
            assert (row >= 0) == (len(known) < len(rows))
            if row >= 0:
                assert row not in known.values()
                known[key] = row
        free = free_chain(rows, state.partition[0]["free_applicant"])
        assert sorted([*free, *known.values()]) == list(range(len(rows)))
    assert (slots["row"] >= 0).sum() == len(known)


def test_a_row_taken_again_holds_nothing_of_its_predecessor() -> None:
    """A new applicant has no attribute, signal, chain or recent id of who had the row before."""
    state = small_state()
    data, event = person_event(b"old", 3)
    clean = None
    for _ in range(2):
        row = take_applicant(
            state.partition, state.applicant_slots, state.applicants, data, event, 0
        )
        person = state.applicants[row]
        if clean is None:
            clean = person.tobytes()
        assert person.tobytes() == clean
        free_applicant(state.partition, state.applicant_slots, state.applicants, row)
        for name in schema.APPLICANT.names or ():
            if name not in {"hash", "id", "id_len", "next", "used"}:
                person[name] = 5


@given(st.lists(st.integers(1, 20), max_size=60))
def test_recent_ids_are_the_last_sixteen(ids: list[int]) -> None:
    """An id is known while it is among the last 16 that were remembered."""
    rows = np.zeros(2, schema.APPLICANT)
    for place, id in enumerate(ids):
        assert has_recent(rows, 1, u64(id)) == (id in ids[max(place - 16, 0) : place])
        remember_recent(rows, 1, u64(id))
    assert not rows[0]["recent_ids"].any()


@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from([0, 1]), st.floats(0, 1)), max_size=9))
def test_the_latest_signal_counts(sent: list[tuple[int, int, float]]) -> None:
    """Of signals the one dated last counts, of one date the one that came last; one that is not ok
    makes the value missing.
    """
    rows, event = np.zeros(1, schema.APPLICANT), np.zeros(1, schema.EVENT)
    event["signal"] = 3
    best = (0, 0, 0.0)
    for at, status, value in sent:
        event["at"], event["status"], event["value"] = at, status, value
        write_signal(rows, 0, event, 0)
        best = (at, status, value) if at >= best[0] else best
        assert rows[0]["signal_at"][3] == best[0]
        found = rows[0]["signal_value"][3]
        assert np.isnan(found) if best[1] else found == best[2]


def test_an_attribute_left_out_keeps_its_value() -> None:
    """Attributes are taken over where they are given, one by one."""
    rows, event = np.zeros(1, schema.APPLICANT), np.zeros(1, schema.EVENT)
    rows["attributes"] = np.nan
    event["attributes"] = np.nan
    event[0]["attributes"][[1, 4]] = 1.0, 4.0
    write_attributes(rows, 0, event, 0)
    event[0]["attributes"][[1, 4]] = np.nan, 0.0
    write_attributes(rows, 0, event, 0)
    wanted = [np.nan, 1.0, np.nan, np.nan, 0.0]
    assert np.array_equal(rows[0]["attributes"][:5], wanted, equal_nan=True)
