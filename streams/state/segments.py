"""The rows of caps by day and segment; `streams/funding/segments.py` says what they do."""

import numpy as np

from streams.limits import SEGMENT_DAYS

# A cap of a part of an institution's lending, this partition's share of it, and what is promised
# and lent on it, by day where it is a cap by day: a day's place is its number modulo SEGMENT_DAYS.
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
        ("share_cents", "i8"),
        ("used_cents", "i8", (SEGMENT_DAYS,)),  # the first alone where it is none by day
    ],
    align=True,
)
