"""Which version of policies and models is live in a partition, and which could be.

A version is named by the first 128 bits of its hash. Row 0 is the deployment's own; rows after it
are taken in turn as versions are prepared, so that each may be gone back to for a long time.
"""

import numpy as np

from streams.compile import kernel
from streams.state.tables import State


@kernel
def find_version(state: State, lo: np.uint64, hi: np.uint64) -> int:
    """Return the row of a version, -1 where none was prepared under this name."""
    versions = state.versions
    for row in range(versions.shape[0]):
        if versions[row]["lo"] == lo and versions[row]["hi"] == hi:
            if lo != np.uint64(0) or hi != np.uint64(0):
                return row
    return -1


@kernel
def prepare_version(state: State, lo: np.uint64, hi: np.uint64) -> None:
    """Let a version be activated from here on; one that may be already stays where it is."""
    if find_version(state, lo, hi) >= 0:
        return
    partition = state.partition
    rows = state.versions.shape[0]
    row = partition[0]["next_version"]
    if row == partition[0]["version"]:
        row = row % (rows - 1) + 1
    state.versions[row]["lo"] = lo
    state.versions[row]["hi"] = hi
    partition[0]["next_version"] = row % (rows - 1) + 1


@kernel
def activate_version(state: State, lo: np.uint64, hi: np.uint64) -> bool:
    """Make a version the live one; False, with nothing changed, where it was not prepared."""
    row = find_version(state, lo, hi)
    if row < 0:
        return False
    state.partition[0]["version"] = row
    return True
