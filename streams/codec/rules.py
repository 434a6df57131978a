"""What an event of each type must carry and may carry, and in what bounds: data for `resolve`.

All arrays are indexed by EventType or by slot (`streams/schema.py`); masks have one bit a slot.
"""

import numpy as np

from streams.limits import (
    AMOUNT_CENTS_MAX,
    ATTRIBUTES_MAX,
    DAY_MS,
    ID_BYTES_MAX,
    PPM,
    SEGMENTS_MAX,
    TOKEN_BYTES_MAX,
)
from streams.schema import EventType
from streams.wire import (
    INT_AMOUNT,
    INT_AT,
    INT_DAY,
    INT_DUE_AT,
    INT_FEE,
    INT_INTEREST,
    INT_LIMIT,
    INT_PART_PPM,
    INT_PARTITION,
    INT_PENALTY,
    INT_PRINCIPAL,
    INT_SEGMENT,
    INT_SEQ,
    INT_TENOR,
    INTS,
    SPAN_ACTION,
    SPAN_APPLICANT,
    SPAN_BANK_ACCOUNT,
    SPAN_CAP,
    SPAN_CATEGORY_0,
    SPAN_CHANNEL,
    SPAN_COUNTERPARTY,
    SPAN_DECISION,
    SPAN_DEVICE,
    SPAN_ID,
    SPAN_ID_DOC,
    SPAN_INSTITUTION,
    SPAN_ISSUER,
    SPAN_KIND,
    SPAN_LINE,
    SPAN_LOAN,
    SPAN_MERCHANT,
    SPAN_NAME,
    SPAN_PHONE,
    SPAN_PRODUCT,
    SPAN_SOURCE,
    SPAN_STATUS,
    SPAN_STEP,
    SPAN_TYPE,
    SPAN_VERSION,
    SPANS,
    VOCAB_ACTION,
    VOCAB_CAP,
    VOCAB_CATEGORY_0,
    VOCAB_CHANNEL,
    VOCAB_INSTITUTION,
    VOCAB_KIND,
    VOCAB_PRODUCT,
    VOCAB_STATUS,
    VOCAB_STEP,
    VOCAB_TYPE,
)

AT_MAX = 2**52
"""Latest time, epoch milliseconds: differences of two are exact in a float64."""
TENOR_DAYS_MAX = 36_500
"""A hundred years."""
SEQ_MAX = 2**52
PARTITION_MAX = 2**31 - 1


def mask_of(*slots: int) -> int:
    """Return the mask with the bit of each slot set."""
    return sum(1 << slot for slot in slots)


# What an event of each type must carry, and what it may: one mask of slots a type, indexed by
# EventType.
_PERSON = (SPAN_ID, SPAN_APPLICANT)
_TOKENS = (SPAN_DEVICE, SPAN_PHONE, SPAN_ID_DOC, SPAN_BANK_ACCOUNT)
_MONEY = (INT_PRINCIPAL, INT_INTEREST, INT_FEE, INT_PENALTY)
_CATEGORIES = tuple(range(SPAN_CATEGORY_0, SPAN_CATEGORY_0 + ATTRIBUTES_MAX))
_LEASE = (INT_PARTITION, INT_SEQ, INT_AMOUNT)
_PART = (INT_SEGMENT, INT_DAY, INT_PART_PPM)
_FIELDS: dict[EventType, tuple[tuple[int, ...], ...]] = {
    # type: needed spans, needed ints, further spans, further ints
    EventType.APPLICATION: (
        (*_PERSON, SPAN_PRODUCT, SPAN_CHANNEL),
        (INT_AT, INT_AMOUNT, INT_TENOR),
        (*_TOKENS, *_CATEGORIES),
        (),
    ),
    EventType.DRAWDOWN: (
        (*_PERSON, SPAN_LINE),
        (INT_AT, INT_AMOUNT, INT_TENOR),
        (*_TOKENS, SPAN_MERCHANT),
        (),
    ),
    EventType.ACCEPT: ((*_PERSON, SPAN_DECISION), (INT_AT,), _TOKENS, ()),
    EventType.CANCEL: ((*_PERSON, SPAN_DECISION), (INT_AT,), _TOKENS, ()),
    EventType.ACTIVITY: (
        (*_PERSON, SPAN_KIND),
        (INT_AT,),
        (*_TOKENS, SPAN_COUNTERPARTY),
        (INT_AMOUNT,),
    ),
    EventType.SIGNAL: (
        (*_PERSON, SPAN_SOURCE, SPAN_NAME),
        (INT_AT,),
        (*_TOKENS, SPAN_STATUS),
        (),
    ),
    EventType.LOAN: (
        (*_PERSON, SPAN_LOAN, SPAN_STEP),
        (INT_AT,),
        (*_TOKENS, SPAN_DECISION, SPAN_ISSUER),
        (*_MONEY, INT_DUE_AT),
    ),
    EventType.LINE: (
        (*_PERSON, SPAN_LINE, SPAN_ACTION, SPAN_ISSUER),
        (INT_AT,),
        _TOKENS,
        (INT_LIMIT,),
    ),
    EventType.TICK: ((), (INT_PARTITION, INT_SEQ, INT_AT), (), ()),
    EventType.GRANT: ((SPAN_INSTITUTION, SPAN_CAP), _LEASE, (), _PART),
    EventType.RECALL: ((SPAN_INSTITUTION, SPAN_CAP), _LEASE, (), _PART),
    EventType.PREPARE: ((SPAN_VERSION,), (INT_PARTITION, INT_SEQ), (), ()),
    EventType.ACTIVATE: ((SPAN_VERSION,), (INT_PARTITION, INT_SEQ), (), ()),
    EventType.PAUSE: ((SPAN_INSTITUTION,), (INT_PARTITION, INT_SEQ), (), ()),
    EventType.RESUME: ((SPAN_INSTITUTION,), (INT_PARTITION, INT_SEQ), (), ()),
}
_ROWS = [_FIELDS.get(EventType(n), ((), (), (), ())) for n in range(len(EventType))]
SPANS_NEEDED = np.array([mask_of(*row[0]) for row in _ROWS], np.uint64)
SPANS_CARRIED = np.array([mask_of(*row[0], *row[2]) for row in _ROWS], np.uint64)
INTS_NEEDED = np.array([mask_of(*row[1]) for row in _ROWS], np.uint64)
INTS_CARRIED = np.array([mask_of(*row[1], *row[3]) for row in _ROWS], np.uint64)

LENGTH_MAX = np.full(SPANS, TOKEN_BYTES_MAX)
LENGTH_MAX[[SPAN_ID, SPAN_APPLICANT]] = ID_BYTES_MAX
INT_MIN = np.zeros(INTS, np.int64)
INT_MIN[[INT_AT, INT_DUE_AT, INT_TENOR, INT_SEQ, INT_PART_PPM, INT_LIMIT]] = 1
INT_MAX = np.full(INTS, AMOUNT_CENTS_MAX)
INT_MAX[[INT_AT, INT_DUE_AT]] = AT_MAX
INT_MAX[[INT_TENOR, INT_SEQ, INT_PARTITION]] = (TENOR_DAYS_MAX, SEQ_MAX, PARTITION_MAX)
INT_MAX[[INT_SEGMENT, INT_DAY, INT_PART_PPM]] = (SEGMENTS_MAX - 1, AT_MAX // DAY_MS, PPM)

# Names that become codes: the vocabulary of each span, -1 none, and the spans of each type.
VOCABULARY = np.full(SPANS, -1)
VOCABULARY[
    [
        SPAN_TYPE,
        SPAN_PRODUCT,
        SPAN_CHANNEL,
        SPAN_KIND,
        SPAN_STATUS,
        SPAN_STEP,
        SPAN_ISSUER,
        SPAN_INSTITUTION,
        SPAN_CAP,
        SPAN_ACTION,
    ]
] = (
    VOCAB_TYPE,
    VOCAB_PRODUCT,
    VOCAB_CHANNEL,
    VOCAB_KIND,
    VOCAB_STATUS,
    VOCAB_STEP,
    VOCAB_INSTITUTION,
    VOCAB_INSTITUTION,
    VOCAB_CAP,
    VOCAB_ACTION,
)
VOCABULARY[SPAN_CATEGORY_0:] = VOCAB_CATEGORY_0 + np.arange(ATTRIBUTES_MAX)
NAMES = np.full((len(EventType), 2), -1)
NAMES[EventType.APPLICATION] = SPAN_PRODUCT, SPAN_CHANNEL
NAMES[EventType.ACTIVITY, 0] = SPAN_KIND
NAMES[EventType.SIGNAL, 0] = SPAN_STATUS
NAMES[EventType.LOAN] = SPAN_STEP, SPAN_ISSUER
NAMES[EventType.LINE] = SPAN_ACTION, SPAN_ISSUER
NAMES[[EventType.GRANT, EventType.RECALL]] = SPAN_INSTITUTION, SPAN_CAP
NAMES[[EventType.PAUSE, EventType.RESUME], 0] = SPAN_INSTITUTION
# The span that names another party, and the one that names a decision, line or version; -1 none.
COUNTERPARTY = np.full(len(EventType), -1)
COUNTERPARTY[[EventType.DRAWDOWN, EventType.ACTIVITY]] = SPAN_MERCHANT, SPAN_COUNTERPARTY
REFERENCE = np.full(len(EventType), -1)
REFERENCE[[EventType.ACCEPT, EventType.CANCEL, EventType.LOAN]] = SPAN_DECISION
REFERENCE[[EventType.DRAWDOWN, EventType.LINE]] = SPAN_LINE
REFERENCE[[EventType.PREPARE, EventType.ACTIVATE]] = SPAN_VERSION
