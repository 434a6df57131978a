"""The second half of decode: raw rows to event rows, for fast and slow lane alike.

Names become codes, ids become keyed hashes, and every rule on a single event's fields is held here:
which its type needs, how long its texts may be, in what range its numbers lie. The first refusal in
the order of `schema.Refusal` stands. A field that the type does not carry is not looked at.
"""

import numpy as np

from streams.buffers import Array, Batch
from streams.codec.hashing import counterparty_hash, loan_key, request_key, sip_hash
from streams.codec.rules import (
    COUNTERPARTY,
    INT_MAX,
    INT_MIN,
    INTS_CARRIED,
    INTS_NEEDED,
    LENGTH_MAX,
    NAMES,
    REFERENCE,
    SPANS_CARRIED,
    SPANS_NEEDED,
    VOCABULARY,
    mask_of,
)
from streams.codec.symbols import Symbols, find_signal, find_symbol
from streams.codec.words import signed
from streams.compile import kernel
from streams.limits import ATTRIBUTES_MAX, TOKEN_BYTES_MAX
from streams.schema import EventType, Lane, LineAction, LoanStep, Refusal
from streams.wire import (
    FLOAT_ATTRIBUTE_0,
    FLOAT_VALUE,
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
    SPAN_CAP,
    SPAN_CATEGORY_0,
    SPAN_CHANNEL,
    SPAN_DECISION,
    SPAN_ID,
    SPAN_INSTITUTION,
    SPAN_ISSUER,
    SPAN_KIND,
    SPAN_LOAN,
    SPAN_NAME,
    SPAN_PRODUCT,
    SPAN_SOURCE,
    SPAN_STATUS,
    SPAN_STEP,
    SPAN_TYPE,
    STATUSES,
)

_ONE_BIT = np.uint64(1)
_NO_BITS = np.uint64(0)
_TYPE_BIT = np.uint64(mask_of(SPAN_TYPE))
_STATUS_BIT = np.uint64(mask_of(SPAN_STATUS))
_ISSUER_BIT = np.uint64(mask_of(SPAN_ISSUER))
_DECISION_BIT = np.uint64(mask_of(SPAN_DECISION))
_DUE_AT_BIT = np.uint64(mask_of(INT_DUE_AT))
_LIMIT_BIT = np.uint64(mask_of(INT_LIMIT))
_VALUE_BIT = np.uint64(mask_of(FLOAT_VALUE))

_APPLICATION, _DRAWDOWN = int(EventType.APPLICATION), int(EventType.DRAWDOWN)
_ACTIVITY, _SIGNAL, _LOAN = int(EventType.ACTIVITY), int(EventType.SIGNAL), int(EventType.LOAN)
_LINE = int(EventType.LINE)
_TICK, _NO_TYPE = int(EventType.TICK), int(EventType.NONE)
_GRANT, _RECALL = int(EventType.GRANT), int(EventType.RECALL)
_PAUSE, _RESUME = int(EventType.PAUSE), int(EventType.RESUME)
_DISBURSED, _DISBURSE_FAILED = int(LoanStep.DISBURSED), int(LoanStep.DISBURSE_FAILED)
_DUE = int(LoanStep.DUE)
_NEW_LIMIT = int(LineAction.LIMIT)
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
def _span(raw: Array, slot: int) -> tuple[int, int]:
    """Return first byte and length of the text in span `slot`; as int64: callees compile once."""
    return signed(raw["span_start"][slot]), signed(raw["span_len"][slot])


@kernel
def _find(symbols: Symbols, data: Array, raw: Array, slot: int) -> int:
    """Return the code of the text in span `slot`, -1 where it is unknown or not given."""
    if raw["spans_present"] >> np.uint64(slot) & _ONE_BIT == _NO_BITS:
        return -1
    start, length = _span(raw, slot)
    return find_symbol(symbols, VOCABULARY[slot], data, start, length)


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
            elif lengths[slot] > LENGTH_MAX[slot] and long < 0:
                long = slot
        left >>= _ONE_BIT
        slot += 1
    return long


@kernel
def _in_range(kind: int, raw: Array) -> bool:
    """Return whether every number that type `kind` carries lies in its range."""
    left = raw["ints_present"] & INTS_CARRIED[kind]
    values = raw["ints"]
    slot = 0
    while left != _NO_BITS:
        if left & _ONE_BIT != _NO_BITS:
            if not INT_MIN[slot] <= values[slot] <= INT_MAX[slot]:
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
    first = -1
    second = -1
    if NAMES[kind, 0] >= 0:
        first = _find(symbols, data, raw, NAMES[kind, 0])
    if NAMES[kind, 1] >= 0:
        second = _find(symbols, data, raw, NAMES[kind, 1])
    if kind == _APPLICATION:
        event["product"], event["channel"] = first, second
    elif kind == _ACTIVITY:
        event["kind"] = first
    elif kind == _SIGNAL:
        given = raw["spans_present"] & _STATUS_BIT != _NO_BITS
        event["status"] = first if given else _OK
    elif kind in (_LOAN, _LINE):
        event["step"], event["issuer"] = first, second
    elif kind > _TICK:
        event["institution"], event["cap"] = first, second


@kernel
def _misses(kind: int, raw: Array, event: Array) -> bool:
    """Return whether a field that the event needs is not there; names in `event` are codes
    already.
    """
    spans = SPANS_NEEDED[kind]
    ints = INTS_NEEDED[kind]
    if kind == _LOAN:
        step = event["step"]
        if step == _DUE:
            ints |= _DUE_AT_BIT
        elif event["issuer"] >= 0 and (step in (_DISBURSED, _DISBURSE_FAILED)):
            spans |= _DECISION_BIT
    elif kind == _LINE:
        if event["step"] == _NEW_LIMIT:
            ints |= _LIMIT_BIT
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
        source, source_len = _span(raw, SPAN_SOURCE)
        name, name_len = _span(raw, SPAN_NAME)
        event["signal"] = find_signal(symbols, data, source, source_len, name, name_len)
        if event["signal"] < 0:
            return SPAN_NAME
        if event["status"] < 0:
            return SPAN_STATUS
    elif kind == _LOAN:
        if event["step"] < 0:
            return SPAN_STEP
    elif kind == _LINE:
        if event["step"] < 0:
            return SPAN_ACTION
        if event["issuer"] < 0:
            return SPAN_ISSUER
    elif kind in (_GRANT, _RECALL, _PAUSE, _RESUME):
        if event["institution"] < 0:
            return SPAN_INSTITUTION
        if event["cap"] < 0 and kind <= _RECALL:
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
    long = _drop_empty(raw, SPANS_CARRIED[kind])
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
def _fill_numbers(symbols: Symbols, data: Array, kind: int, raw: Array, event: Array) -> None:
    """Write what an event carries in numbers, and the attributes of an application."""
    given = raw["ints_present"] & INTS_CARRIED[kind]
    numbers = raw["ints"]
    for slot in range(INTS):
        if given >> np.uint64(slot) & _ONE_BIT == _NO_BITS:
            numbers[slot] = 0
    event["at"] = numbers[INT_AT]
    event["amount_cents"] = numbers[INT_LIMIT] if kind == _LINE else numbers[INT_AMOUNT]
    event["tenor_days"] = numbers[INT_TENOR]
    event["principal_cents"] = numbers[INT_PRINCIPAL]
    event["interest_cents"] = numbers[INT_INTEREST]
    event["fee_cents"] = numbers[INT_FEE]
    event["penalty_cents"] = numbers[INT_PENALTY]
    event["due_at"] = numbers[INT_DUE_AT]
    event["partition"] = numbers[INT_PARTITION]
    event["seq"] = numbers[INT_SEQ]
    event["segment"] = numbers[INT_SEGMENT]
    event["day"] = numbers[INT_DAY]
    event["part_ppm"] = numbers[INT_PART_PPM]
    if kind == _SIGNAL and raw["floats_present"] & _VALUE_BIT != _NO_BITS:
        event["value"] = raw["floats"][FLOAT_VALUE]
    if kind != _APPLICATION:
        return
    attributes = event["attributes"]
    values = raw["floats"]
    given = raw["floats_present"] >> np.uint64(FLOAT_ATTRIBUTE_0)
    named = raw["spans_present"] >> np.uint64(SPAN_CATEGORY_0)
    for k in range(ATTRIBUTES_MAX):
        if given >> np.uint64(k) & _ONE_BIT != _NO_BITS:
            attributes[k] = values[FLOAT_ATTRIBUTE_0 + k]
        elif named >> np.uint64(k) & _ONE_BIT != _NO_BITS:
            code = _find(symbols, data, raw, SPAN_CATEGORY_0 + k)
            if code >= 0:
                attributes[k] = code


@kernel
def _fill_reference(data: Array, kind: int, raw: Array, event: Array) -> None:
    """Write the decision, line or version that an event names, where that is 32 hex digits."""
    reference = REFERENCE[kind]
    if reference >= 0 and raw["spans_present"] >> np.uint64(reference) & _ONE_BIT != _NO_BITS:
        start, length = _span(raw, reference)
        if length == _HEX_DIGITS:
            high_is_hex, high = _hex_word(data, start)
            low_is_hex, low = _hex_word(data, start + _HEX_DIGITS // 2)
            if high_is_hex and low_is_hex:
                event["reference_hi"], event["reference_lo"] = high, low


@kernel
def _fill_hashes(symbols: Symbols, data: Array, kind: int, raw: Array, event: Array) -> None:
    """Write where an applicant's event says who and which, and the keyed hashes of its ids."""
    key = symbols.key
    present = raw["spans_present"]
    who, who_len = _span(raw, SPAN_APPLICANT)
    which, which_len = _span(raw, SPAN_ID)
    event["applicant_start"], event["applicant_len"] = who, who_len
    event["id_start"], event["id_len"] = which, which_len
    event["applicant_hash"] = sip_hash(key, data, who, who_len)
    lo, hi = request_key(key, data, who, who_len, which, which_len)
    event["key_lo"], event["key_hi"] = lo, hi
    other = COUNTERPARTY[kind]
    if other >= 0 and present >> np.uint64(other) & _ONE_BIT != _NO_BITS:
        start, length = _span(raw, other)
        event["counterparty"] = counterparty_hash(key, data, start, length)
    if kind == _LOAN:
        issuer, issuer_len = _span(raw, SPAN_ISSUER)
        if present & _ISSUER_BIT == _NO_BITS:
            issuer_len = 0
        loan, loan_len = _span(raw, SPAN_LOAN)
        lo, hi = loan_key(key, data, who, who_len, issuer, issuer_len, loan, loan_len)
        event["loan_lo"], event["loan_hi"] = lo, hi


@kernel
def resolve_row(symbols: Symbols, data: Array, start: int, raw: Array, event: Array) -> None:
    """Turn one raw row, whose value begins at byte `start` of `data`, into an event row."""
    _clear(event)
    event["lane"] = raw["lane"]
    event["refusal"] = raw["refusal"]
    if raw["refusal"] != _NONE:
        event["position"] = raw["position"]
        return
    kind = max(_find(symbols, data, raw, SPAN_TYPE), _NO_TYPE)
    event["type"] = kind
    refusal, slot = _judge(symbols, data, kind, raw, event)
    event["refusal"] = refusal
    if refusal != _NONE:
        # The slow lane may have found the same text in another place: it does not know the byte.
        if slot >= 0 and raw["lane"] == _FAST:
            event["position"] = raw["span_start"][slot] - start
        return
    _fill_numbers(symbols, data, kind, raw, event)
    _fill_reference(data, kind, raw, event)
    if kind < _TICK:
        _fill_hashes(symbols, data, kind, raw, event)


@kernel
def must_be_signed(event: Array) -> bool:
    """Return whether it is a control event, or of a loan or line of ours, and not refused."""
    ours = event["type"] in (_LOAN, _LINE) and event["issuer"] >= 0
    return bool(event["refusal"] == _NONE and (ours or event["type"] >= _TICK))


@kernel
def resolve(symbols: Symbols, batch: Batch, first: int, last: int) -> int:
    """Turn raw rows `first` to `last` - 1 into event rows; return how many must be signed:
    control events, and loan and line events of institutions of ours, that are not refused.

    A refused row has its refusal, the byte at fault where it is known, and its type if that was
    readable. Ids and applicants have 1 to 40 bytes, other texts up to 64; an empty text counts as
    not given. Amounts lie in 0 .. AMOUNT_CENTS_MAX, those of requests in 1 .. AMOUNT_CENTS_MAX,
    times in 1 .. 2**52, tenors in 1 .. 36,500. A category's value that the catalog does not list is
    NaN, as if not given. `signature_ok` is 0 in every row.
    """
    signed = 0
    for row in range(first, last):
        event = batch.events[row]
        resolve_row(symbols, batch.data, batch.value_start[row], batch.raw[row], event)
        signed += must_be_signed(event)
    return signed
