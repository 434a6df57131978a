"""Facts of an applicant's credit lines, and of the line that a drawdown draws on.

A line counts from the moment after it was opened. Limits and what is available are as they stand
in the log when the request is read.
"""

import math

from features.tables import LINES_0
from streams.buffers import Array
from streams.compile import kernel
from streams.limits import DAY_MS
from streams.schema import LineState

_NAN = math.nan
_ACTIVE = int(LineState.ACTIVE)


@kernel
def line_facts(lines: Array, first_line: int, line: int, as_of: int, facts: Array) -> None:
    """Write the facts of source "lines" to `facts[LINES_0 :]`, in the order of `tables.FACTS`.

    Reads LINE[lines] from `first_line` (-1: none) along `next`, and row `line` (-1: no drawdown).
    Amounts in cents, never below 0; age in days. Utilisation is 0 to 1, and above it where a limit
    was cut below what is drawn or a payment bounced.
    """
    active, limit, available = 0, 0, 0
    row = first_line
    while row >= 0:
        if lines[row]["state"] == _ACTIVE and lines[row]["opened_at"] < as_of:
            active += 1
            limit += lines[row]["limit_cents"]
            available += lines[row]["available_cents"]
        row = lines[row]["next"]
    facts[LINES_0] = active
    facts[LINES_0 + 1] = limit
    facts[LINES_0 + 2] = _utilisation(limit, available)
    for k in range(3, 7):
        facts[LINES_0 + k] = _NAN
    if line >= 0 and lines[line]["opened_at"] < as_of:
        own_limit, own_available = lines[line]["limit_cents"], lines[line]["available_cents"]
        facts[LINES_0 + 3] = own_limit
        facts[LINES_0 + 4] = max(own_available, 0)
        facts[LINES_0 + 5] = _utilisation(own_limit, own_available)
        facts[LINES_0 + 6] = float(as_of - lines[line]["opened_at"]) / DAY_MS


@kernel
def _utilisation(limit: int, available: int) -> float:
    if limit == 0:
        return _NAN
    return float(limit - available) / float(limit)
