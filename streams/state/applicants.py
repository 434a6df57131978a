"""Rows of applicants: found by keyed hash and by the id in full, made on first sight, freed when
idle.
"""

import numpy as np

from streams.buffers import Array
from streams.compile import i64, kernel
from streams.limits import ATTRIBUTES_MAX, RECENT_IDS, SIGNALS_MAX
from streams.state.free import chain_free, free_after
from streams.state.index import delete_slot, insert_slot


@kernel
def find_applicant(slots: Array, rows: Array, data: Array, event: Array, i: int) -> int:
    """Return the row of the applicant of `event[i]`, or -1. Compares the id in full."""
    key = event[i]["applicant_hash"]
    start = event[i]["applicant_start"]
    length = event[i]["applicant_len"]
    mask = slots.shape[0] - 1
    at = i64(key & np.uint64(mask))
    while slots[at]["row"] >= 0:
        if slots[at]["hash"] == key:
            row = slots[at]["row"]
            if rows[row]["id_len"] == length:
                same = True
                for k in range(length):
                    if rows[row]["id"][k] != data[start + k]:
                        same = False
                        break
                if same:
                    return i64(row)
        at = (at + 1) & mask
    return -1


@kernel
def take_applicant(
    partition: Array, slots: Array, rows: Array, data: Array, event: Array, i: int
) -> int:
    """Take a free row for the applicant of `event[i]`, who has none yet. Return it, or -1: table
    full.
    """
    row = i64(partition[0]["free_applicant"])
    if row < 0:
        return -1
    partition[0]["free_applicant"] = free_after(rows["next"], row)
    partition[0]["applicants_used"] += 1
    rows[row]["hash"] = event[i]["applicant_hash"]
    length = event[i]["applicant_len"]
    start = event[i]["applicant_start"]
    for k in range(length):
        rows[row]["id"][k] = data[start + k]
    rows[row]["id_len"] = length
    rows[row]["next"] = -1
    rows[row]["used"] = 1
    rows[row]["first_page"] = -1
    rows[row]["last_page"] = -1
    rows[row]["events"] = 0
    rows[row]["truncated"] = 0
    rows[row]["first_line"] = -1
    rows[row]["first_loan"] = -1
    rows[row]["open_offers"] = 0
    rows[row]["recent_next"] = 0
    rows[row]["reserved_cents"] = 0
    rows[row]["last_at"] = 0
    rows[row]["wave"] = 0
    for k in range(RECENT_IDS):
        rows[row]["recent_ids"][k] = 0
    for k in range(ATTRIBUTES_MAX):
        rows[row]["attributes"][k] = np.nan
    for k in range(SIGNALS_MAX):
        rows[row]["signal_value"][k] = np.nan
        rows[row]["signal_at"][k] = 0
    insert_slot(slots, rows[row]["hash"], row)
    return row


@kernel
def free_applicant(partition: Array, slots: Array, rows: Array, row: int) -> None:
    """Give the row back. The caller has freed its pages and knows that nothing else hangs on it."""
    assert rows[row]["used"] == 1
    delete_slot(slots, rows[row]["hash"], row)
    rows[row]["used"] = 0
    chain_free(rows["next"], row, partition[0]["free_applicant"])
    partition[0]["free_applicant"] = row
    partition[0]["applicants_used"] -= 1


@kernel
def has_recent(rows: Array, row: int, key: int) -> bool:
    """Say whether `key` is among the applicant's last ids of activity and signals."""
    recent = rows[row]["recent_ids"]
    found = False
    for k in range(RECENT_IDS):
        found |= recent[k] == key
    return found


@kernel
def remember_recent(rows: Array, row: int, key: int) -> None:
    """Write `key` over the oldest of the applicant's last ids."""
    at = rows[row]["recent_next"]
    rows[row]["recent_ids"][at] = key
    rows[row]["recent_next"] = (at + 1) % RECENT_IDS


@kernel
def write_attributes(rows: Array, row: int, event: Array, i: int) -> None:
    """Copy the attributes that `event[i]` gives; one that it leaves out keeps its last value."""
    for k in range(ATTRIBUTES_MAX):
        value = event[i]["attributes"][k]
        if not np.isnan(value):
            rows[row]["attributes"][k] = value


@kernel
def write_signal(rows: Array, row: int, event: Array, i: int) -> None:
    """Keep the signal of `event[i]` where it is not older than the one known. Not ok: known to be
    missing.
    """
    k = event[i]["signal"]
    if event[i]["at"] < rows[row]["signal_at"][k]:
        return
    rows[row]["signal_at"][k] = event[i]["at"]
    rows[row]["signal_value"][k] = event[i]["value"] if event[i]["status"] == 0 else np.nan
