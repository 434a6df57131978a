"""Every capacity with its reason. Fixed ones shape record layouts; `Limits` holds what a deployment
may size.

Relations between them are asserted at import and when a `Limits` is made, so that no kernel has to
check them.
"""

from typing import NamedTuple

# --- fixed: they shape records --------------------------------------------------------------------
ID_BYTES_MAX = 40  # event ids and applicant tokens: a UUID with dashes has 36
TOKEN_BYTES_MAX = 64  # other names on the wire (product, channel, counterparty, loan ...)
ATTRIBUTES_MAX = 16  # attributes that a catalog may declare
SIGNALS_MAX = 8  # partner and bureau signals that a catalog may declare
KINDS_MAX = 64  # activity kinds: one bit each in a 64-bit mask
RECENT_IDS = 16  # ids of activity and signals kept per applicant against repeats
PAGE_EVENTS = 16  # events a page: two pages hold the 20 recent events of a usual applicant
APPLICANT_EVENTS_MAX = 65_536  # one real firm has 44,863 invoices
BLOCK = 128  # rows scored together: 128 float64 are 16 cache lines a feature
REASONS_MAX = (
    4  # reason codes on a decision (Regulation B, 12 CFR 1002.9(b)(2), comment 1: four at most)
)
REASON_CODES_MAX = 64  # one bit each in a 64-bit mask
VERSIONS_MAX = 64  # versions of policies that a partition knows: the oldest must be prepared anew
SEGMENTS_MAX = 62  # caps by day and segment of one institution: a bit each in an int64
SEGMENT_DAYS = 16  # days whose use is known: a request is at most seven days late, minutes early
LOAN_DUES_MAX = 480  # instalments of one loan: 40 years of months

# --- times, milliseconds --------------------------------------------------------------------------
SECOND_MS = 1_000
DAY_MS = 86_400_000
AHEAD_MS_MAX = 5 * 60 * SECOND_MS  # an event further ahead of partition time is a dead letter
LATE_MS_MAX = (
    7 * DAY_MS
)  # L: a request further behind partition time is too old; ids are kept as long
CLOSED_LOAN_MS = 730 * DAY_MS  # a closed loan still counts in features for two years
IDLE_MS = 730 * DAY_MS  # an applicant with nothing open retires after two years without an event

# --- amounts --------------------------------------------------------------------------------------
AMOUNT_CENTS_MAX = (
    10**14
)  # a million million of currency: the sum of a full history still fits int64
LOAN_PAID_CENTS_MAX = 2 * AMOUNT_CENTS_MAX  # all that may reach one loan: its sums fit int64
PPM = 1_000_000
BPS = 10_000

RECORD_BYTES_MAX = (
    2_500_000  # a record of over two megabytes is still read, refused and kept as dead letter
)

assert APPLICANT_EVENTS_MAX % PAGE_EVENTS == 0
assert LATE_MS_MAX + AHEAD_MS_MAX < (SEGMENT_DAYS - 2) * DAY_MS
assert APPLICANT_EVENTS_MAX * AMOUNT_CENTS_MAX < 2**63
assert ID_BYTES_MAX <= TOKEN_BYTES_MAX


class Limits(NamedTuple):
    """Capacities of one partition, taken from memory at start. Powers of two where hashed."""

    batch_rows: int = 4_096
    batch_bytes: int = 8_388_608
    out_bytes: int = 33_554_432
    out_rows: int = 65_536
    applicants: int = 131_072
    pages: int = 262_144
    ids: int = 1_048_576
    lines: int = 65_536
    loans: int = 131_072
    dues: int = 524_288
    offers: int = 131_072
    timers: int = 524_288
    expiries_per_tick: int = 4_096
    sweep_rows_per_tick: int = 1_024

    def check(self) -> "Limits":
        """Return self, or fail where two capacities contradict each other."""
        for name in ("applicants", "ids", "lines", "loans", "offers"):
            size = getattr(self, name)
            assert size >= 8, f"{name} is {size}: at least 8"
            assert size & (size - 1) == 0, f"{name} is {size}: a power of two is needed"
        assert self.batch_bytes >= 2 * RECORD_BYTES_MAX, (
            "a batch must hold its largest record twice"
        )
        assert self.timers >= 4 * self.offers, "an offer leaves up to four timers behind"
        assert self.expiries_per_tick <= self.out_rows // 2
        assert self.out_rows >= self.batch_rows
        return self
