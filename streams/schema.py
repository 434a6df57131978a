"""Every code and every record layout, once: events on the wire, rows in memory, records on the way
out.

Layouts are NumPy structured dtypes, aligned, so that kernels, snapshots, tests and notebooks read
the same bytes. Units stand last in a name; times are epoch milliseconds, money is int64 minor
units, rates basis points.
"""

from enum import IntEnum

import numpy as np

from streams import limits


class EventType(IntEnum):
    """What an event is. From TICK on they are control events: no applicant, signed, sequenced."""

    NONE = 0
    APPLICATION = 1
    DRAWDOWN = 2
    ACCEPT = 3
    CANCEL = 4
    ACTIVITY = 5
    SIGNAL = 6
    LOAN = 7
    LINE = 8  # its institution freezes, unfreezes or closes a line, or changes its limit
    TICK = 9
    GRANT = 10
    RECALL = 11
    PREPARE = 12  # a version of policies and models may be activated from here on
    ACTIVATE = 13
    PAUSE = 14  # an institution lends nothing new from here on
    RESUME = 15


class LoanStep(IntEnum):
    """What happened to a loan."""

    DISBURSED = 0
    DISBURSE_FAILED = 1
    DUE = 2
    PAYMENT = 3
    REFUND = 4
    REVERSAL = 5
    WRITTEN_OFF = 6
    CLOSED = 7


class LineAction(IntEnum):
    """What the institution that funds a line does with it."""

    FREEZE = 0
    UNFREEZE = 1
    CLOSE = 2
    LIMIT = 3  # another limit from here on


class Refusal(IntEnum):
    """Why a record is not admitted, in order of precedence. DUPLICATE is only counted; others are
    dead letters.
    """

    NONE = 0
    # decode
    EMPTY = 1  # no value at all
    MALFORMED = 2  # not a JSON object that orjson accepts
    MISTYPED = 3  # a field has another type than the schema says
    MISSING_FIELD = 4  # a field that its type needs is not there
    TOO_LONG = 5  # an id over 40 bytes or a name over 64
    OUT_OF_RANGE = 6  # negative or overflowing amount, time or tenor
    UNKNOWN_TYPE = 7
    UNKNOWN_PRODUCT = 8
    UNKNOWN_CHANNEL = 9
    UNKNOWN_KIND = 10  # a kind, signal, step, action, institution or cap not declared
    # admit
    NO_KEY = 11
    KEY_MISMATCH = 12  # the record's key is not the applicant, or a control event has one
    WRONG_PARTITION = 13  # librdkafka: set partitioner=murmur2_random
    BAD_SIGNATURE = 14
    BAD_SEQUENCE = 15
    NOT_STARTED = 16  # no tick yet in this partition
    TOO_FAR_AHEAD = 17
    TOO_OLD = 18
    DUPLICATE = 19
    # enrich and reserve
    UNKNOWN_OFFER = 20
    UNKNOWN_LOAN = 21
    UNKNOWN_LINE = 22  # or another applicant's
    NOT_YOURS = 23  # the decision is another applicant's, or it or the line another institution's
    OFFER_EXPIRED = 24
    WRONG_STATE = 25  # the table of the life of an offer, loan or line has no such step
    BAD_AMOUNT = 26  # nothing at all, or more than was offered, is owed, or was paid
    PAUSED = 27  # a higher limit of an institution that lends nothing new
    NO_CAPACITY = 28  # a higher limit than the lease or the caps of its institution can hold here
    NO_ROOM = 29  # a table is full: the event may be sent again once there is room
    # by an operator, before all others
    SKIPPED = 30  # the step fails on it: it stands on the signed skip list
    # a control event that is due, and does nothing
    NOT_PREPARED = 31  # no prepare has named this version here


class Outcome(IntEnum):
    """Class of a decision; never one heap of "declined"."""

    APPROVED = 0
    ELIGIBILITY = 1
    FRAUD = 2
    CREDIT = 3
    DATA = 4
    PRICE_CAP = 5
    CAPACITY = 6
    EXPIRED = 7


class OfferState(IntEnum):
    """Life of an approved decision."""

    FREE = 0
    OFFERED = 1
    ACCEPTED = 2
    DRAWN = 3
    OPENED = 4  # a line: the offer has become one
    CANCELLED = 5
    EXPIRED = 6
    FAILED = 7
    REPAID = 8


class LineState(IntEnum):
    """Life of a credit line."""

    FREE = 0
    ACTIVE = 1
    FROZEN = 2
    CLOSED = 3


class LoanState(IntEnum):
    """Life of a loan, ours or another lender's."""

    FREE = 0
    OPEN = 1
    WRITTEN_OFF = 2
    CLOSED = 3


class Cap(IntEnum):
    """Which budget of an institution a lease is cut from."""

    OUTSTANDING = 0  # principal lent and not repaid
    COMMITMENT = 1  # limits of open lines


class OfferEvent(IntEnum):
    """What may happen to an offer; with OfferState the axes of the table in
    `streams/funding/life.py`.
    """

    ACCEPT = 0
    CANCEL = 1
    EXPIRE = 2
    DISBURSE = 3
    FAIL = 4
    REPAY = 5


class FundingMove(IntEnum):
    """What moved on a lease; the names on `dipper.funding` are these in lower case with dashes."""

    GRANT = 0
    RESERVE = 1
    DRAW = 2
    RELEASE = 3
    EXPIRE = 4
    REPAY = 5
    REVERSE = 6
    LEASE_RETURN = 7


class Lane(IntEnum):
    """How a record was decoded."""

    FAST = 0
    SLOW = 1  # by orjson, on the control path
    CONTROL = 2


CAPS = len(Cap)


def _fields(kind: str, names: str) -> list[tuple[str, str]]:
    """Return neighbours of one type, for a layout."""
    return [(name, kind) for name in names.split()]


# --- events --------------------------------------------------------------------------------------
# An event that was decoded: names are codes, ids are keyed hashes. What its type does not carry is
# 0 or -1.
EVENT = np.dtype(
    [
        *_fields(
            "i4",
            "type refusal position lane signature_ok applicant_start applicant_len id_start "
            "id_len product channel kind signal status",
        ),
        ("step", "i4"),  # LoanStep, or LineAction of a line
        ("issuer", "i4"),  # institution code, -1: another lender
        *_fields("i4", "institution cap tenor_days partition segment day part_ppm"),
        *_fields(
            "i8",
            "seq at amount_cents principal_cents interest_cents fee_cents penalty_cents due_at",
        ),
        ("value", "f8"),
        ("applicant_hash", "u8"),
        # SipHash-128 of applicant and id: the decision's id where it is a request.
        *_fields("u8", "key_lo key_hi"),
        # Decision, line or version that it names; 0, 0 where that is not 32 hex digits.
        *_fields("u8", "reference_lo reference_hi"),
        ("loan_lo", "u8"),  # SipHash-128 of applicant, issuer and loan
        ("loan_hi", "u8"),
        ("counterparty", "u8"),  # 56-bit hash, 0: none
        ("attributes", "f8", (limits.ATTRIBUTES_MAX,)),  # NaN: not given
    ],
    align=True,
)

# --- tables ---------------------------------------------------------------------------------------
# Open addressing: a slot holds the low half of a key's hash and the row; row -1 is an empty slot.
SLOT = np.dtype([("hash", "u8"), ("row", "i4")], align=True)

PARTITION = np.dtype(
    [
        ("number", "i4"),
        ("count", "i4"),  # how many partitions the input topic has
        ("started", "i4"),
        ("mute", "i4"),  # 1 while folding the log without output
        ("time", "i8"),  # last accepted tick
        ("seq", "i8"),  # last accepted control event
        ("wave", "i8"),  # number of the wave under way, marks rows that it has touched
        ("free_applicant", "i4"),  # heads of free lists, chained through `next`
        *_fields("i4", "free_page free_line free_loan free_due free_offer"),
        # rows taken, for whoever watches; the tables know by their free lists
        *_fields("i4", "applicants_used pages_used lines_used loans_used dues_used offers_used"),
        ("timers", "i4"),  # how many stand in the heap
        ("sweep_applicant", "i4"),
        ("sweep_id", "i4"),
        ("ids_used", "i4"),
        ("generation", "i8"),  # counts loans, so that a reused row is not taken for its predecessor
        ("funding_seq", "i8"),
        ("version", "i4"),  # row of the live one
        ("next_version", "i4"),  # row that the next one prepared takes
    ],
    align=True,
)
# Versions that may be activated: the deployment's own in row 0, then as they were prepared.
VERSION = np.dtype([("lo", "u8"), ("hi", "u8")], align=True)
# Its rows of SEGMENT, and how long before that of UTC its day begins.
INSTITUTION = np.dtype(_fields("i4", "paused segment_start segment_stop day_starts_ms"), align=True)

assert max(limits.ID_BYTES_MAX, limits.RECENT_IDS) < 256  # they fit into a byte of its row
APPLICANT = np.dtype(
    [
        ("hash", "u8"),
        ("id", "u1", (limits.ID_BYTES_MAX,)),
        *_fields("u1", "id_len used truncated recent_next"),
        ("next", "i4"),  # free list
        *_fields("i4", "first_page last_page events first_line first_loan open_offers"),
        ("reserved_cents", "i8"),  # held by open offers, all institutions
        ("last_at", "i8"),
        ("wave", "i8"),
        ("recent_ids", "u8", (limits.RECENT_IDS,)),
        ("attributes", "f8", (limits.ATTRIBUTES_MAX,)),
        ("signal_value", "f8", (limits.SIGNALS_MAX,)),
        ("signal_at", "i8", (limits.SIGNALS_MAX,)),  # 0: never
    ],
    align=True,
)

# The event pool: chains of pages. entries[page, k] for k < count; tag = counterparty << 8 | kind.
PAGE = np.dtype(
    [
        ("next", "i4"),
        ("count", "i4"),
        ("min_at", "i8"),
        ("max_at", "i8"),
        ("kinds", "u8"),  # one bit a kind
    ],
    align=True,
)
ENTRY = np.dtype([("at", "i8"), ("amount_cents", "i8"), ("tag", "u8")], align=True)

# Ids remembered against repeats: up to a time or, of a loan's events, while its row is of that
# generation. Two of them fill a cache line, and none lies on two.
ID = np.dtype(
    [
        ("lo", "u8"),
        ("hi", "u8"),
        ("until", "i8"),  # expires at this time; the generation where `loan` is a row
        ("loan", "i4"),  # -1: none
        ("used", "i4"),
    ],
    align=True,
)
assert ID.itemsize == 32

LINE = np.dtype(
    [
        ("lo", "u8"),
        ("hi", "u8"),
        ("applicant", "i4"),
        ("next", "i4"),  # of the same applicant, or free list
        *_fields("i4", "state institution product channel"),
        ("limit_cents", "i8"),
        ("available_cents", "i8"),  # below 0 where the limit was cut below what is drawn
        ("committed_cents", "i8"),  # taken from the commitment lease, 0 where the policy takes none
        ("segments", "u8"),  # of its commitment, as in OFFER
        ("opened_at", "i8"),
        ("closed_at", "i8"),  # partition time when it was closed, 0: open
    ],
    align=True,
)

LOAN = np.dtype(
    [
        ("lo", "u8"),
        ("hi", "u8"),
        ("applicant", "i4"),
        ("next", "i4"),  # of the same applicant, or free list
        ("state", "i4"),
        ("institution", "i4"),  # -1: another lender's
        ("line", "i4"),  # -1: none
        ("offer", "i4"),  # our own: row of its offer, -1
        ("first_due", "i4"),  # chain of dues, by due_at
        ("dues", "i4"),
        ("principal_cents", "i8"),
        ("outstanding_cents", "i8"),
        ("paid_cents", "i8"),  # of dues: principal, interest, fees and penalties, less reversals
        ("disbursed_at", "i8"),
        ("closed_at", "i8"),  # when it was written off or closed, 0: open
        ("generation", "i8"),
    ],
    align=True,
)

# One instalment. covered_at: when payments reached it, 0 never. Days past due follow from these and
# a time.
DUE = np.dtype(
    [("due_at", "i8"), ("amount_cents", "i8"), ("covered_at", "i8"), ("next", "i4")], align=True
)

OFFER = np.dtype(
    [
        ("lo", "u8"),
        ("hi", "u8"),
        ("applicant", "i4"),
        ("next", "i4"),  # free list
        *_fields("i4", "state institution product channel policy"),
        ("cap", "i4"),  # -1: no reservation (a line that takes no commitment)
        ("line", "i4"),  # row of the line drawn on, -1
        ("is_line", "i4"),
        *_fields("i4", "tenor_days day"),  # day of its institution: asked for, where of a segment
        ("segments", "u8"),  # one bit a row of SEGMENT of its institution, from the first on
        ("amount_cents", "i8"),
        ("outstanding_cents", "i8"),
        ("offer_ms", "i8"),  # how long it stands; an accepted one waits as long for its money
        ("expires_at", "i8"),  # when it ends by itself or, once it has ended, is removed
    ],
    align=True,
)

# Timers: a binary heap by (at, lo); a timer whose offer has changed state or row since does
# nothing.
TIMER = np.dtype([("at", "i8"), ("lo", "u8"), ("offer", "i4")], align=True)

# granted + overdrawn = free + reserved + drawn + returned, after every event.
LEASE = np.dtype(
    [
        *_fields(
            "i8",
            "granted_cents free_cents reserved_cents drawn_cents returned_cents overdrawn_cents",
        ),
    ],
    align=True,
)

# A verdict of one policy on one request. outcome: Outcome; reasons: mask by models.policy.reasons.
VERDICT = np.dtype(
    [
        ("policy", "i4"),
        ("institution", "i4"),
        ("outcome", "i4"),
        ("band", "i4"),  # -1: none
        *_fields("i4", "rate_bps apr_bps tenor_days method"),
        ("cap", "i4"),  # Cap to reserve from, -1: none
        ("rank", "i4"),  # place among the offers, -1: no offer
        ("reasons", "u8"),
        ("pd_ppm", "i8"),  # -1: the policy has no score
        ("amount_cents", "i8"),
        ("fee_cents", "i8"),
        ("instalment_cents", "i8"),
        ("offer_ms", "i8"),  # how long the offer stands
    ],
    align=True,
)

# The outcome of one request, as `record` leaves it for `encode`.
DECISION = np.dtype(
    [
        ("lo", "u8"),
        ("hi", "u8"),
        ("line_lo", "u8"),  # the line drawn on, 0 where it is none
        ("line_hi", "u8"),
        ("outcome", "i4"),
        ("candidates", "i4"),
        ("chosen", "i4"),  # index of the verdict that funds it, -1
        ("nearest", "i4"),  # index of the verdict whose reasons it carries, -1
        ("reasons", "u8"),
        ("segments", "u8"),  # of the offer that is chosen, as in OFFER
        ("expires_at", "i8"),
    ],
    align=True,
)

# First part of an evidence record; features, raw scores, PDs, verdicts and rule masks follow
# (little endian).
EVIDENCE_HEAD = np.dtype(
    [
        ("lo", "u8"),
        ("hi", "u8"),
        ("version", "u8"),  # low half of the version that decided
        *_fields("i8", "bytes offset at amount_cents"),  # bytes: length of this record
        *_fields("i4", "partition type product channel tenor_days outcome candidates chosen"),
    ],
    align=True,
)
assert EVIDENCE_HEAD.itemsize % 8 == 0
assert VERDICT.itemsize % 8 == 0

# What the step writes: one row a record. Dead letters point at their input row and carry no bytes.
OUTPUT = np.dtype(
    [
        ("topic", "i4"),  # index into topology.STEP_OUTPUTS
        ("source", "i4"),  # row of the batch
        ("key_start", "i4"),
        ("key_len", "i4"),  # -1: no key
        *_fields("i4", "value_start value_len refusal position"),
    ],
    align=True,
)
