"""The second half of decode: raw rows to event rows, for fast and slow lane alike.

Names become codes, ids become keyed hashes, and every rule on a single event's fields is held here:
which its type needs, how long its texts may be, in what range its numbers lie. The first refusal in
the order of `schema.Refusal` stands. A field that the type does not carry is not looked at.
"""

import numpy as np

from streams.buffers import Array, Batch
from streams.codec.hashing import counterparty_hash, loan_key, request_key, sip_hash
from streams.codec.symbols import Symbols, find_signal, find_symbol
from streams.codec.words import signed
from streams.compile import kernel
from streams.limits import AMOUNT_CENTS_MAX, ATTRIBUTES_MAX, ID_BYTES_MAX, TOKEN_BYTES_MAX
from streams.schema import (
    FLOAT_ATTRIBUTE_0,
    FLOAT_VALUE,
    INT_AMOUNT,
    INT_AT,
    INT_DUE_AT,
    INT_FEE,
    INT_INTEREST,
    INT_PARTITION,
    INT_PENALTY,
    INT_PRINCIPAL,
    INT_SEQ,
    INT_TENOR,
    INTS,
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
    SPANS,
    STATUSES,
    VOCAB_CAP,
    VOCAB_CATEGORY_0,
    VOCAB_CHANNEL,
    VOCAB_INSTITUTION,
    VOCAB_KIND,
    VOCAB_PRODUCT,
    VOCAB_STATUS,
    VOCAB_STEP,
    VOCAB_TYPE,
    EventType,
    Lane,
    LoanStep,
    Refusal,
)

AT_MAX = 2**52
"""Latest time, epoch milliseconds: differences of two are exact in a float64."""
TENOR_DAYS_MAX = 36_500
"""A hundred years."""
SEQ_MAX = 2**52
PARTITION_MAX = 2**31 - 1


def _bits(*slots: int) -> int:
    return sum(1 << slot for slot in slots)


# What an event of each type must carry, and what it may: one mask of slots a type, indexed by
# EventType.
_PERSON = (SPAN_ID, SPAN_APPLICANT)
_TOKENS = (SPAN_DEVICE, SPAN_PHONE, SPAN_ID_DOC, SPAN_BANK_ACCOUNT)
_MONEY = (INT_PRINCIPAL, INT_INTEREST, INT_FEE, INT_PENALTY)
_CATEGORIES = tuple(range(SPAN_CATEGORY_0, SPAN_CATEGORY_0 + ATTRIBUTES_MAX))
_LEASE = (INT_PARTITION, INT_SEQ, INT_AMOUNT)
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
    EventType.TICK: ((), (INT_PARTITION, INT_SEQ, INT_AT), (), ()),
    EventType.GRANT: ((SPAN_INSTITUTION, SPAN_CAP), _LEASE, (), ()),
    EventType.RECALL: ((SPAN_INSTITUTION, SPAN_CAP), _LEASE, (), ()),
}
_ROWS = [_FIELDS.get(EventType(n), ((), (), (), ())) for n in range(len(EventType))]
_SPANS_NEEDED = np.array([_bits(*row[0]) for row in _ROWS], np.uint64)
_SPANS_CARRIED = np.array([_bits(*row[0], *row[2]) for row in _ROWS], np.uint64)
_INTS_NEEDED = np.array([_bits(*row[1]) for row in _ROWS], np.uint64)
_INTS_CARRIED = np.array([_bits(*row[1], *row[3]) for row in _ROWS], np.uint64)

_LENGTH_MAX = np.full(SPANS, TOKEN_BYTES_MAX)
_LENGTH_MAX[[SPAN_ID, SPAN_APPLICANT]] = ID_BYTES_MAX
_INT_MIN = np.zeros(INTS, np.int64)
_INT_MIN[[INT_AT, INT_DUE_AT, INT_TENOR, INT_SEQ]] = 1
_INT_MAX = np.full(INTS, AMOUNT_CENTS_MAX)
_INT_MAX[[INT_AT, INT_DUE_AT]] = AT_MAX
_INT_MAX[[INT_TENOR, INT_SEQ, INT_PARTITION]] = (TENOR_DAYS_MAX, SEQ_MAX, PARTITION_MAX)

_ONE_BIT = np.uint64(1)
_NO_BITS = np.uint64(0)
_TYPE_BIT = np.uint64(_bits(SPAN_TYPE))
_DECISION_BIT = np.uint64(_bits(SPAN_DECISION))
_DUE_AT_BIT = np.uint64(_bits(INT_DUE_AT))
_VALUE_BIT = np.uint64(_bits(FLOAT_VALUE))

_APPLICATION, _DRAWDOWN = int(EventType.APPLICATION), int(EventType.DRAWDOWN)
_ACTIVITY, _SIGNAL, _LOAN = int(EventType.ACTIVITY), int(EventType.SIGNAL), int(EventType.LOAN)
_TICK, _NO_TYPE = int(EventType.TICK), int(EventType.NONE)
_DISBURSED, _DISBURSE_FAILED = int(LoanStep.DISBURSED), int(LoanStep.DISBURSE_FAILED)
_DUE = int(LoanStep.DUE)
_OK = STATUSES.index("ok")
_FAST = int(Lane.FAST)

_NONE = int(Refusal.NONE)
_MISSING_FIELD = int(Refusal.MISSING_FIELD)
_TOO_LONG = int(Refusal.TOO_LONG)
_OUT_OF_RANGE = int(Refusal.OUT_OF_RANGE)
_UNKNOWN_TYPE = int(Refusal.UNKNOWN_TYPE)
_UNKNOWN_PRODUCT = int(Refusal.UNKNOWN_PRODUCT)
_UNKNOWN_CHANNEL = int(Refusal.UNKNOWN_CHANNEL)
_UNKNOWN_KIND = int(Refusal.UNKNOWN_KIND)

_DIGIT_0, _DIGIT_9, _LETTER_A, _LETTER_F = (ord(c) for c in "09af")
_HEX_DIGITS = 32
_NIBBLE = np.uint64(4)


@kernel
def _hex_word(data: Array, start: int) -> tuple[bool, np.uint64]:
    """Return whether 16 lower-case hex digits stand at `start`, and their number, first digit
    highest.
    """
    value = np.uint64(0)
    for at in range(start, start + 16):
        byte = signed(data[at])
        if _DIGIT_0 <= byte <= _DIGIT_9:
            digit = byte - _DIGIT_0
        elif _LETTER_A <= byte <= _LETTER_F:
            digit = byte - _LETTER_A + 10
        else:
            return False, np.uint64(0)
        value = (value << _NIBBLE) | np.uint64(digit)
    return True, value


@kernel
def _find(symbols: Symbols, vocabulary: int, data: Array, raw: Array, slot: int) -> int:
    """Return the code of the text in span `slot`, -1 where it is unknown or not given."""
    if raw["spans_present"] >> np.uint64(slot) & _ONE_BIT == _NO_BITS:
        return -1
    return find_symbol(symbols, vocabulary, data, raw["span_start"][slot], raw["span_len"][slot])


@kernel
def _drop_empty(raw: Array, carried: np.uint64) -> int:
    """Take empty texts among the `carried` spans for not given; return the first slot that is too
    long, or -1.
    """
    left = raw["spans_present"] & carried
    lengths = raw["span_len"]
    long = -1
    slot = 0
    while left != _NO_BITS:
        if left & _ONE_BIT != _NO_BITS:
            if lengths[slot] == 0:
                raw["spans_present"] &= ~(_ONE_BIT << np.uint64(slot))
            elif lengths[slot] > _LENGTH_MAX[slot] and long < 0:
                long = slot
        left >>= _ONE_BIT
        slot += 1
    return long


@kernel
def _in_range(kind: int, raw: Array) -> bool:
    """Return whether every number that type `kind` carries lies in its range."""
    left = raw["ints_present"] & _INTS_CARRIED[kind]
    values = raw["ints"]
    slot = 0
    while left != _NO_BITS:
        if left & _ONE_BIT != _NO_BITS:
            if not _INT_MIN[slot] <= values[slot] <= _INT_MAX[slot]:
                return False
        left >>= _ONE_BIT
        slot += 1
    if kind in (_APPLICATION, _DRAWDOWN):
        return values[INT_AMOUNT] >= 1
    return True


@kernel
def _clear(event: Array) -> None:
    """Set an event row to what an event that carries nothing has."""
    event["type"] = _NO_TYPE
    event["position"] = -1
    event["signature_ok"] = 0
    event["applicant_start"] = event["applicant_len"] = 0
    event["id_start"] = event["id_len"] = 0
    event["product"] = event["channel"] = event["kind"] = event["signal"] = -1
    event["status"] = event["step"] = event["issuer"] = event["institution"] = event["cap"] = -1
    event["tenor_days"] = event["partition"] = 0
    event["seq"] = event["at"] = event["amount_cents"] = event["due_at"] = 0
    event["principal_cents"] = event["interest_cents"] = 0
    event["fee_cents"] = event["penalty_cents"] = 0
    event["value"] = np.nan
    event["applicant_hash"] = event["counterparty"] = _NO_BITS
    event["key_lo"] = event["key_hi"] = _NO_BITS
    event["reference_lo"] = event["reference_hi"] = _NO_BITS
    event["loan_lo"] = event["loan_hi"] = _NO_BITS
    attributes = event["attributes"]
    for k in range(ATTRIBUTES_MAX):
        attributes[k] = np.nan


@kernel
def _name(symbols: Symbols, data: Array, kind: int, raw: Array, event: Array) -> None:
    """Write the codes of the names that an event of type `kind` carries; -1 where unknown."""
    if kind == _APPLICATION:
        event["product"] = _find(symbols, VOCAB_PRODUCT, data, raw, SPAN_PRODUCT)
        event["channel"] = _find(symbols, VOCAB_CHANNEL, data, raw, SPAN_CHANNEL)
    elif kind == _ACTIVITY:
        event["kind"] = _find(symbols, VOCAB_KIND, data, raw, SPAN_KIND)
    elif kind == _SIGNAL:
        event["status"] = _OK
        if raw["spans_present"] >> np.uint64(SPAN_STATUS) & _ONE_BIT != _NO_BITS:
            event["status"] = _find(symbols, VOCAB_STATUS, data, raw, SPAN_STATUS)
    elif kind == _LOAN:
        event["step"] = _find(symbols, VOCAB_STEP, data, raw, SPAN_STEP)
        event["issuer"] = _find(symbols, VOCAB_INSTITUTION, data, raw, SPAN_ISSUER)
    elif kind > _TICK:
        event["institution"] = _find(symbols, VOCAB_INSTITUTION, data, raw, SPAN_INSTITUTION)
        event["cap"] = _find(symbols, VOCAB_CAP, data, raw, SPAN_CAP)


@kernel
def _misses(kind: int, raw: Array, event: Array) -> bool:
    """Return whether a field that the event needs is not there; names in `event` are codes
    already.
    """
    spans = _SPANS_NEEDED[kind]
    ints = _INTS_NEEDED[kind]
    if kind == _LOAN:
        step = event["step"]
        if step == _DUE:
            ints |= _DUE_AT_BIT
        elif event["issuer"] >= 0 and (step in (_DISBURSED, _DISBURSE_FAILED)):
            spans |= _DECISION_BIT
    elif kind == _SIGNAL and event["status"] == _OK:
        if raw["floats_present"] & _VALUE_BIT == _NO_BITS:
            return True
    return spans & ~raw["spans_present"] | ints & ~raw["ints_present"] != _NO_BITS


@kernel
def _find_unknown(symbols: Symbols, data: Array, kind: int, raw: Array, event: Array) -> int:
    """Return the slot of the first name that no catalog declares, -1 none; writes the signal's
    code.
    """
    if kind == _APPLICATION:
        if event["product"] < 0:
            return SPAN_PRODUCT
        if event["channel"] < 0:
            return SPAN_CHANNEL
    elif kind == _ACTIVITY:
        if event["kind"] < 0:
            return SPAN_KIND
    elif kind == _SIGNAL:
        starts, lengths = raw["span_start"], raw["span_len"]
        event["signal"] = find_signal(
            symbols,
            data,
            starts[SPAN_SOURCE],
            lengths[SPAN_SOURCE],
            starts[SPAN_NAME],
            lengths[SPAN_NAME],
        )
        if event["signal"] < 0:
            return SPAN_NAME
        if event["status"] < 0:
            return SPAN_STATUS
    elif kind == _LOAN:
        if event["step"] < 0:
            return SPAN_STEP
    elif kind > _TICK:
        if event["institution"] < 0:
            return SPAN_INSTITUTION
        if event["cap"] < 0:
            return SPAN_CAP
    return -1


@kernel
def _judge(symbols: Symbols, data: Array, kind: int, raw: Array, event: Array) -> tuple[int, int]:
    """Return why an event of type `kind` (0: unknown) is refused, NONE if not, and the span at
    fault or -1.
    """
    spans = raw["spans_present"]
    if kind == _NO_TYPE:
        if spans & _TYPE_BIT == _NO_BITS or raw["span_len"][SPAN_TYPE] == 0:
            return _MISSING_FIELD, -1
        if raw["span_len"][SPAN_TYPE] > TOKEN_BYTES_MAX:
            return _TOO_LONG, SPAN_TYPE
        return _UNKNOWN_TYPE, SPAN_TYPE
    long = _drop_empty(raw, _SPANS_CARRIED[kind])
    _name(symbols, data, kind, raw, event)
    if _misses(kind, raw, event):
        return _MISSING_FIELD, -1
    if long >= 0:
        return _TOO_LONG, long
    if not _in_range(kind, raw):
        return _OUT_OF_RANGE, -1
    unknown = _find_unknown(symbols, data, kind, raw, event)
    if unknown == SPAN_PRODUCT:
        return _UNKNOWN_PRODUCT, unknown
    if unknown == SPAN_CHANNEL:
        return _UNKNOWN_CHANNEL, unknown
    if unknown >= 0:
        return _UNKNOWN_KIND, unknown
    return _NONE, -1


@kernel
def _number(raw: Array, carried: np.uint64, slot: int) -> int:
    """Return the number in int slot `slot`, 0 where it is not among the `carried` ones or not
    given.
    """
    if raw["ints_present"] & carried >> np.uint64(slot) & _ONE_BIT == _NO_BITS:
        return 0
    return raw["ints"][slot]


@kernel
def _fill_numbers(symbols: Symbols, data: Array, kind: int, raw: Array, event: Array) -> None:
    """Write what an event carries in numbers, and the attributes of an application."""
    carried = raw["ints_present"] & _INTS_CARRIED[kind]
    event["at"] = _number(raw, carried, INT_AT)
    event["amount_cents"] = _number(raw, carried, INT_AMOUNT)
    event["tenor_days"] = _number(raw, carried, INT_TENOR)
    event["principal_cents"] = _number(raw, carried, INT_PRINCIPAL)
    event["interest_cents"] = _number(raw, carried, INT_INTEREST)
    event["fee_cents"] = _number(raw, carried, INT_FEE)
    event["penalty_cents"] = _number(raw, carried, INT_PENALTY)
    event["due_at"] = _number(raw, carried, INT_DUE_AT)
    event["partition"] = _number(raw, carried, INT_PARTITION)
    event["seq"] = _number(raw, carried, INT_SEQ)
    if kind == _SIGNAL and raw["floats_present"] & _VALUE_BIT != _NO_BITS:
        event["value"] = raw["floats"][FLOAT_VALUE]
    if kind != _APPLICATION:
        return
    attributes = event["attributes"]
    numbers = raw["floats_present"] >> np.uint64(FLOAT_ATTRIBUTE_0)
    names = raw["spans_present"] >> np.uint64(SPAN_CATEGORY_0)
    for k in range(ATTRIBUTES_MAX):
        if numbers >> np.uint64(k) & _ONE_BIT != _NO_BITS:
            attributes[k] = raw["floats"][FLOAT_ATTRIBUTE_0 + k]
        elif names >> np.uint64(k) & _ONE_BIT != _NO_BITS:
            code = _find(symbols, VOCAB_CATEGORY_0 + k, data, raw, SPAN_CATEGORY_0 + k)
            if code >= 0:
                attributes[k] = code


@kernel
def _fill_hashes(symbols: Symbols, data: Array, kind: int, raw: Array, event: Array) -> None:
    """Write where an applicant's event says who and which, and the keyed hashes of its ids."""
    key = symbols.key
    present = raw["spans_present"] & _SPANS_CARRIED[kind]
    starts, lengths = raw["span_start"], raw["span_len"]
    who, who_len = starts[SPAN_APPLICANT], lengths[SPAN_APPLICANT]
    event["applicant_start"], event["applicant_len"] = who, who_len
    event["id_start"], event["id_len"] = starts[SPAN_ID], lengths[SPAN_ID]
    event["applicant_hash"] = sip_hash(key, data, who, who_len)
    lo, hi = request_key(key, data, who, who_len, starts[SPAN_ID], lengths[SPAN_ID])
    event["key_lo"], event["key_hi"] = lo, hi
    other = SPAN_MERCHANT if kind == _DRAWDOWN else SPAN_COUNTERPARTY
    if present >> np.uint64(other) & _ONE_BIT != _NO_BITS:
        event["counterparty"] = counterparty_hash(key, data, starts[other], lengths[other])
    reference = SPAN_LINE if kind == _DRAWDOWN else SPAN_DECISION
    if present >> np.uint64(reference) & _ONE_BIT != _NO_BITS:
        if lengths[reference] == _HEX_DIGITS:
            high_is_hex, high = _hex_word(data, starts[reference])
            low_is_hex, low = _hex_word(data, starts[reference] + _HEX_DIGITS // 2)
            if high_is_hex and low_is_hex:
                event["reference_hi"], event["reference_lo"] = high, low
    if kind == _LOAN:
        issuer_len = 0
        if present >> np.uint64(SPAN_ISSUER) & _ONE_BIT != _NO_BITS:
            issuer_len = lengths[SPAN_ISSUER]
        lo, hi = loan_key(
            key,
            data,
            who,
            who_len,
            starts[SPAN_ISSUER],
            issuer_len,
            starts[SPAN_LOAN],
            lengths[SPAN_LOAN],
        )
        event["loan_lo"], event["loan_hi"] = lo, hi


@kernel
def _resolve_row(symbols: Symbols, data: Array, start: int, raw: Array, event: Array) -> None:
    """Turn one raw row, whose value begins at byte `start` of `data`, into an event row."""
    _clear(event)
    event["lane"] = raw["lane"]
    event["refusal"] = raw["refusal"]
    if raw["refusal"] != _NONE:
        event["position"] = raw["position"]
        return
    kind = max(_find(symbols, VOCAB_TYPE, data, raw, SPAN_TYPE), _NO_TYPE)
    event["type"] = kind
    refusal, slot = _judge(symbols, data, kind, raw, event)
    event["refusal"] = refusal
    if refusal != _NONE:
        # The slow lane may have found the same text in another place: it does not know the byte.
        if slot >= 0 and raw["lane"] == _FAST:
            event["position"] = raw["span_start"][slot] - start
        return
    _fill_numbers(symbols, data, kind, raw, event)
    if kind < _TICK:
        _fill_hashes(symbols, data, kind, raw, event)


@kernel
def resolve(symbols: Symbols, batch: Batch, first: int, last: int) -> int:
    """Turn raw rows `first` to `last` - 1 into event rows; return how many are control events not
    refused.

    A refused row has its refusal, the byte at fault where it is known, and its type if that was
    readable. Ids and applicants have 1 to 40 bytes, other texts up to 64; an empty text counts as
    not given. Amounts lie in 0 .. AMOUNT_CENTS_MAX, those of requests in 1 .. AMOUNT_CENTS_MAX,
    times in 1 .. 2**52, tenors in 1 .. 36,500. A category's value that the catalog does not list is
    NaN, as if not given. `signature_ok` is 0 in every row.
    """
    signed = 0
    for row in range(first, last):
        event = batch.events[row]
        _resolve_row(symbols, batch.data, batch.value_start[row], batch.raw[row], event)
        if event["type"] >= _TICK and event["refusal"] == _NONE:
            signed += 1
    return signed
