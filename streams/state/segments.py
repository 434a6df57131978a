"""The rows of caps by day and segment; `streams/funding/segments.py` says what they do."""

import numpy as np

from streams.limits import SEGMENT_DAYS

# A cap of a part of an institution's lending, this partition's part of it (the equal one and what
# the treasury moved), and what is promised and lent on it, by day where it is a cap by day: a day's
# place is its number modulo SEGMENT_DAYS; where it is none by day the first place alone counts.
SEGMENT = np.dtype(
    [
        ("cap", "i4"),  # schema.Cap of the leases that it bounds, too
        ("daily", "i4"),
        ("attribute", "i4"),  # place of a category, -1: any applicant
        ("random", "i4"),  # 1: what was approved at random alone
        ("day", "i4", (SEGMENT_DAYS,)),
        ("products", "u8"),  # one bit a product
        ("bands", "u8"),
        ("values", "u8"),  # one bit a value of the attribute
        ("cap_cents", "i8"),  # of all partitions together
        ("used_cents", "i8", (SEGMENT_DAYS,)),
        ("moved_ppm", "i4", (SEGMENT_DAYS,)),  # granted less given back
        ("equal_ppm", "i4"),
    ],
    align=True,
)
