"""Ids remembered against repeats: requests and answers until `at` + L, loan events while their loan
is known.

Keys are 128-bit keyed hashes of applicant and id. The table is one array, open addressing in place.
"""

import numpy as np

from streams.buffers import Array
from streams.compile import i64, kernel


@kernel
def _alive(partition: Array, loans: Array, ids: Array, i: int) -> bool:
    """Say whether the id at `i` still counts: by its time, or by the loan row it hangs on."""
    loan = ids[i]["loan"]
    if loan >= 0:
        return bool(loans[loan]["generation"] == ids[i]["until"])
    return bool(ids[i]["until"] >= partition[0]["time"])


@kernel
def has_id(partition: Array, loans: Array, ids: Array, lo: int, hi: int) -> bool:
    """Say whether this id was accepted before and is still remembered."""
    mask = ids.shape[0] - 1
    i = i64(lo & np.uint64(mask))
    while ids[i]["used"] == 1:
        if ids[i]["lo"] == lo and ids[i]["hi"] == hi:
            return bool(_alive(partition, loans, ids, i))
        i = (i + 1) & mask
    return False


@kernel
def ids_have_room(partition: Array, ids: Array, more: int) -> bool:
    """Say whether `more` ids fit; an eighth stays empty so that probes end soon."""
    return bool(partition[0]["ids_used"] + more <= ids.shape[0] - ids.shape[0] // 8)


@kernel
def remember_id(
    partition: Array, ids: Array, lo: int, hi: int, expires_at: int, loan: int, generation: int
) -> None:
    """Write an id; over its own forgotten entry where there is one. The caller knows that there is
    room. It counts until `expires_at` or, where `loan` is a row, while that is of `generation`.
    """
    mask = ids.shape[0] - 1
    i = i64(lo & np.uint64(mask))
    while ids[i]["used"] == 1:
        if ids[i]["lo"] == lo and ids[i]["hi"] == hi:
            break
        i = (i + 1) & mask
    if ids[i]["used"] == 0:
        partition[0]["ids_used"] += 1
    ids[i]["lo"] = lo
    ids[i]["hi"] = hi
    ids[i]["until"] = generation if loan >= 0 else expires_at
    ids[i]["loan"] = loan
    ids[i]["used"] = 1


@kernel
def _delete_at(partition: Array, ids: Array, i: int) -> None:
    """Remove the id at `i`, shifting back what stood behind it (as in `index.delete_slot`)."""
    mask = ids.shape[0] - 1
    j = i
    while True:
        j = (j + 1) & mask
        if ids[j]["used"] == 0:
            break
        home = i64(ids[j]["lo"] & np.uint64(mask))
        if (j - home) & mask >= (j - i) & mask:
            ids[i]["lo"] = ids[j]["lo"]
            ids[i]["hi"] = ids[j]["hi"]
            ids[i]["until"] = ids[j]["until"]
            ids[i]["loan"] = ids[j]["loan"]
            i = j
    ids[i]["used"] = 0
    partition[0]["ids_used"] -= 1


@kernel
def sweep_ids(partition: Array, loans: Array, ids: Array, rows: int) -> None:
    """Look at the next `rows` places and delete ids that no longer count. What it deletes changes
    no answer.
    """
    mask = ids.shape[0] - 1
    i = i64(partition[0]["sweep_id"])
    for _ in range(min(rows, ids.shape[0])):
        if ids[i]["used"] == 1 and not _alive(partition, loans, ids, i):
            _delete_at(partition, ids, i)  # another may have moved here: look at this place again
        else:
            i = (i + 1) & mask
    partition[0]["sweep_id"] = i
