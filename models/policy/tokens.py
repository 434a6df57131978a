"""What a request's tokens are: who asks, and by which device, phone, document and account.

On the wire they are pseudonymous texts; here each is its SipHash-128 under the deployment's secret
key, so no table in memory holds one. The applicant's token is always there, the others where the
request gives them.
"""

import numpy as np
from numpy.typing import NDArray

from streams.buffers import Array
from streams.codec.hashing import sip_hash_wide
from streams.compile import kernel
from streams.wire import SPAN_APPLICANT, SPAN_BANK_ACCOUNT, SPAN_DEVICE, SPAN_ID_DOC, SPAN_PHONE

TOKENS = ("applicant", "device", "phone", "id_doc", "bank_account")
_SPANS = np.array([SPAN_APPLICANT, SPAN_DEVICE, SPAN_PHONE, SPAN_ID_DOC, SPAN_BANK_ACCOUNT])
_COUNT = len(TOKENS)
_ONE, _ZERO = np.uint64(1), np.uint64(0)

# A token that a request has, as it is compared; 0, 0: it has none of this kind.
TOKEN = np.dtype([("lo", "u8"), ("hi", "u8")], align=True)


@kernel
def hash_tokens(key: Array, data: Array, raw: Array, tokens: Array) -> None:
    """Write TOKEN[TOKENS] of one raw row (`wire.RAW`) whose texts stand in `data`; `key`
    uint64[2].
    """
    for kind in range(_COUNT):
        slot = _SPANS[kind]
        tokens[kind]["lo"] = tokens[kind]["hi"] = _ZERO
        if raw["spans_present"] >> np.uint64(slot) & _ONE != _ZERO:
            lo, hi = sip_hash_wide(key, data, raw["span_start"][slot], raw["span_len"][slot])
            tokens[kind]["lo"], tokens[kind]["hi"] = lo, hi


@kernel
def _hash_texts(
    key: Array, data: Array, start: NDArray[np.int64], length: NDArray[np.int64], tokens: Array
) -> None:
    """Write TOKEN[n] of n texts in `data`."""
    for row in range(start.shape[0]):
        lo, hi = sip_hash_wide(key, data, start[row], length[row])
        tokens[row]["lo"], tokens[row]["hi"] = lo, hi


def hash_texts(key: NDArray[np.uint64], texts: list[bytes]) -> Array:
    """Return TOKEN[n] of texts (control path)."""
    length = np.array([len(text) for text in texts], np.int64)
    tokens = np.zeros(len(texts), TOKEN)
    if texts:
        data = np.frombuffer(bytearray(b"".join(texts) + bytes(8)), np.uint8)
        _hash_texts(key, data, np.cumsum(length) - length, length, tokens)
    return tokens
