"""Fields on the wire: their slots, a record as it was read, and the vocabularies of its names.

What each type of event must carry stands in `streams/codec/rules.py`; the decoded row is EVENT of
`streams/schema.py`.
"""

import numpy as np

from streams import limits

# A span is (start, length) into the batch buffer; ints and floats are values. Attributes follow
# VALUE in the floats (numbers) or STATUS in the spans (categories), at the index that the catalog
# gives them.
SPAN_FIELDS = (
    "type", "id", "applicant", "product", "channel", "line", "merchant", "decision", "kind",
    "counterparty", "source", "name", "status", "loan", "issuer", "step", "institution", "cap",
    "signature", "device", "phone", "id_doc", "bank_account", "version", "action",
)  # fmt: skip
INT_FIELDS = (
    "at", "amount_cents", "tenor_days", "principal_cents", "interest_cents", "fee_cents",
    "penalty_cents", "due_at", "partition", "seq", "segment", "day", "part_ppm", "limit_cents",
)  # fmt: skip
FLOAT_FIELDS = ("value",)

(
    SPAN_TYPE, SPAN_ID, SPAN_APPLICANT, SPAN_PRODUCT, SPAN_CHANNEL, SPAN_LINE, SPAN_MERCHANT,
    SPAN_DECISION, SPAN_KIND, SPAN_COUNTERPARTY, SPAN_SOURCE, SPAN_NAME, SPAN_STATUS, SPAN_LOAN,
    SPAN_ISSUER, SPAN_STEP, SPAN_INSTITUTION, SPAN_CAP, SPAN_SIGNATURE, SPAN_DEVICE, SPAN_PHONE,
    SPAN_ID_DOC, SPAN_BANK_ACCOUNT, SPAN_VERSION, SPAN_ACTION,
) = range(len(SPAN_FIELDS))  # fmt: skip
(
    INT_AT, INT_AMOUNT, INT_TENOR, INT_PRINCIPAL, INT_INTEREST, INT_FEE, INT_PENALTY, INT_DUE_AT,
    INT_PARTITION, INT_SEQ, INT_SEGMENT, INT_DAY, INT_PART_PPM, INT_LIMIT,
) = range(len(INT_FIELDS))  # fmt: skip
FLOAT_VALUE = 0
SPAN_CATEGORY_0 = len(SPAN_FIELDS)  # category attribute k: span SPAN_CATEGORY_0 + k
FLOAT_ATTRIBUTE_0 = len(FLOAT_FIELDS)  # number attribute k: float FLOAT_ATTRIBUTE_0 + k
SPANS = SPAN_CATEGORY_0 + limits.ATTRIBUTES_MAX
INTS = len(INT_FIELDS)
FLOATS = FLOAT_ATTRIBUTE_0 + limits.ATTRIBUTES_MAX

# A row as the scanner or the slow lane left it. `*_present` has one bit a slot; other slots hold
# old bytes.
RAW = np.dtype(
    [
        ("lane", "i4"),
        ("refusal", "i4"),
        ("position", "i4"),  # byte in the value that the refusal points at, -1 none
        ("span_start", "i4", (SPANS,)),
        ("span_len", "i4", (SPANS,)),
        ("spans_present", "u8"),
        ("ints_present", "u8"),
        ("floats_present", "u8"),
        ("ints", "i8", (INTS,)),
        ("floats", "f8", (FLOATS,)),
    ],
    align=True,
)
assert SPANS <= 64

# Vocabularies: names of finite sets, interned to codes. An entry of SYMBOL names one of them.
(
    VOCAB_FIELD_SPAN, VOCAB_FIELD_INT, VOCAB_FIELD_FLOAT, VOCAB_TYPE, VOCAB_PRODUCT, VOCAB_CHANNEL,
    VOCAB_KIND, VOCAB_SIGNAL, VOCAB_STATUS, VOCAB_STEP, VOCAB_INSTITUTION, VOCAB_CAP,
    VOCAB_ACTION, VOCAB_CATEGORY_0,
) = range(14)  # fmt: skip
STATUSES = ("ok", "empty", "error")

SYMBOL = np.dtype(
    [("hash", "u8"), ("vocabulary", "i4"), ("code", "i4"), ("start", "i4"), ("len", "i4")],
    align=True,
)
