"""Keyed hashes of ids, and the hash by which Kafka's clients choose a partition.

SipHash-2-4 withstands chosen collisions as long as its key is secret: J.-P. Aumasson and D. J.
Bernstein, "SipHash: a fast short-input PRF", 2012; the 128-bit output is that of its authors'
reference code. murmur2 is the variant of Kafka's Java client, the default partitioner there and in
aiokafka and kafka-python.

A 128-bit hash is two uint64: `lo` is its first eight bytes, `hi` its last eight, both
little-endian.
"""

from typing import NamedTuple

import numpy as np

from streams.buffers import Array
from streams.codec.words import WORD_BYTES, load_part, signed
from streams.compile import kernel

_ZERO = np.uint64(0)
_R13, _R14, _R16, _R17, _R21, _R32 = (np.uint64(k) for k in (13, 14, 16, 17, 21, 32))
_WORD_BITS = np.uint64(64)
_V0 = np.uint64(0x736F6D6570736575)
_V1 = np.uint64(0x646F72616E646F6D)
_V2 = np.uint64(0x6C7967656E657261)
_V3 = np.uint64(0x7465646279746573)
_WIDE_START = np.uint64(0xEE)
_WIDE_END = np.uint64(0xEE)
_WIDE_MORE = np.uint64(0xDD)
_NARROW_END = np.uint64(0xFF)
_COUNT_SHIFT = np.uint64(56)
_COUNTERPARTY_SHIFT = np.uint64(8)


class SipState(NamedTuple):
    """A SipHash under way: four words, up to seven bytes not yet mixed in, and how many came so
    far.
    """

    v0: np.uint64
    v1: np.uint64
    v2: np.uint64
    v3: np.uint64
    tail: np.uint64
    taken: int


@kernel
def _sip_round(
    v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Mix the four words once."""
    v0 += v1
    v1 = (v1 << _R13) | (v1 >> (_WORD_BITS - _R13))
    v1 ^= v0
    v0 = (v0 << _R32) | (v0 >> _R32)
    v2 += v3
    v3 = (v3 << _R16) | (v3 >> (_WORD_BITS - _R16))
    v3 ^= v2
    v0 += v3
    v3 = (v3 << _R21) | (v3 >> (_WORD_BITS - _R21))
    v3 ^= v0
    v2 += v1
    v1 = (v1 << _R17) | (v1 >> (_WORD_BITS - _R17))
    v1 ^= v2
    v2 = (v2 << _R32) | (v2 >> _R32)
    return v0, v1, v2, v3


@kernel
def _sip_rounds(
    v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64, rounds: int
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Mix the four words `rounds` times."""
    for _ in range(rounds):
        v0, v1, v2, v3 = _sip_round(v0, v1, v2, v3)
    return v0, v1, v2, v3


@kernel
def sip_start(key: Array) -> SipState:
    """Begin a hash of 64 bits with `key` (uint64[2])."""
    return SipState(_V0 ^ key[0], _V1 ^ key[1], _V2 ^ key[0], _V3 ^ key[1], _ZERO, 0)


@kernel
def sip_start_wide(key: Array) -> SipState:
    """Begin a hash of 128 bits with `key` (uint64[2])."""
    return SipState(_V0 ^ key[0], _V1 ^ key[1] ^ _WIDE_START, _V2 ^ key[0], _V3 ^ key[1], _ZERO, 0)


@kernel
def _sip_word(state: SipState, word: np.uint64, length: int) -> SipState:
    """Take in the first `length` (1 to 8) bytes of `word`; bytes past them are 0."""
    v0, v1, v2, v3 = state.v0, state.v1, state.v2, state.v3
    held = state.taken & 7
    tail = state.tail | (word << np.uint64(8 * held))
    if held + length >= WORD_BYTES:
        v3 ^= tail
        v0, v1, v2, v3 = _sip_rounds(v0, v1, v2, v3, 2)
        v0 ^= tail
        tail = _ZERO
        if held > 0:
            tail = word >> np.uint64(8 * (WORD_BYTES - held))
    return SipState(v0, v1, v2, v3, tail, state.taken + length)


@kernel
def sip_bytes(state: SipState, data: Array, start: int, length: int) -> SipState:
    """Take in data[start : start + length] (uint8)."""
    for k in range(0, length, WORD_BYTES):
        part = min(length - k, WORD_BYTES)
        state = _sip_word(state, load_part(data, start + k, part), part)
    return state


@kernel
def sip_length(state: SipState, length: int) -> SipState:
    """Take in one byte with `length` (0 to 255), so that two spans in a row cannot be split
    elsewhere.
    """
    return _sip_word(state, np.uint64(length), 1)


@kernel
def _sip_last(state: SipState, mark: np.uint64) -> SipState:
    """Mix in what is left with the count, then finish the first 64 bits."""
    last = state.tail | (np.uint64(state.taken & 255) << _COUNT_SHIFT)
    v0, v1, v2, v3 = _sip_rounds(state.v0, state.v1, state.v2, state.v3 ^ last, 2)
    v0, v1, v2, v3 = _sip_rounds(v0 ^ last, v1, v2 ^ mark, v3, 4)
    return SipState(v0, v1, v2, v3, _ZERO, state.taken)


@kernel
def sip_end(state: SipState) -> np.uint64:
    """Return the 64 bits of a hash begun with `sip_start`."""
    end = _sip_last(state, _NARROW_END)
    return end.v0 ^ end.v1 ^ end.v2 ^ end.v3


@kernel
def sip_end_wide(state: SipState) -> tuple[np.uint64, np.uint64]:
    """Return (lo, hi), the 128 bits of a hash begun with `sip_start_wide`."""
    end = _sip_last(state, _WIDE_END)
    lo = end.v0 ^ end.v1 ^ end.v2 ^ end.v3
    v0, v1, v2, v3 = _sip_rounds(end.v0, end.v1 ^ _WIDE_MORE, end.v2, end.v3, 4)
    return lo, v0 ^ v1 ^ v2 ^ v3


@kernel
def sip_hash(key: Array, data: Array, start: int, length: int) -> np.uint64:
    """Return SipHash-2-4 with 64 bits of data[start : start + length] under `key` (uint64[2])."""
    return sip_end(sip_bytes(sip_start(key), data, start, length))


@kernel
def sip_hash_wide(key: Array, data: Array, start: int, length: int) -> tuple[np.uint64, np.uint64]:
    """Return (lo, hi), SipHash-2-4 with 128 bits of data[start : start + length] under `key`."""
    return sip_end_wide(sip_bytes(sip_start_wide(key), data, start, length))


@kernel
def request_key(
    key: Array, data: Array, applicant: int, applicant_len: int, id_start: int, id_len: int
) -> tuple[np.uint64, np.uint64]:
    """Return (lo, hi) of an event: 128 bits over the applicant's length in one byte, the applicant,
    the id.

    `applicant` and `id_start` are first bytes in `data`. For a request this is the decision's id.
    """
    state = sip_length(sip_start_wide(key), applicant_len)
    state = sip_bytes(state, data, applicant, applicant_len)
    return sip_end_wide(sip_bytes(state, data, id_start, id_len))


@kernel
def loan_key(
    key: Array,
    data: Array,
    applicant: int,
    applicant_len: int,
    issuer: int,
    issuer_len: int,
    loan: int,
    loan_len: int,
) -> tuple[np.uint64, np.uint64]:
    """Return (lo, hi) of a loan: 128 bits over applicant and issuer, each behind its length, and
    the loan's id.
    """
    state = sip_length(sip_start_wide(key), applicant_len)
    state = sip_bytes(state, data, applicant, applicant_len)
    state = sip_length(state, issuer_len)
    state = sip_bytes(state, data, issuer, issuer_len)
    return sip_end_wide(sip_bytes(state, data, loan, loan_len))


@kernel
def counterparty_hash(key: Array, data: Array, start: int, length: int) -> np.uint64:
    """Return 56 bits of a counterparty's SipHash, never 0: that means none."""
    value = sip_hash(key, data, start, length) >> _COUNTERPARTY_SHIFT
    if value == _ZERO:
        return np.uint64(1)
    return value


_MURMUR_SEED = 0x9747B28C
_MURMUR_FACTOR = 0x5BD1E995
_MASK_32 = 0xFFFFFFFF
_MASK_31 = 0x7FFFFFFF


@kernel
def murmur2(data: Array, start: int, length: int) -> int:
    """Return murmur2 of data[start : start + length] as Kafka's Java client computes it, 0 to 2**32
    - 1.

    The factor has 31 bits and all else 32, so products fit an int64.
    """
    value = (_MURMUR_SEED ^ length) & _MASK_32
    whole = length & ~3
    for k in range(start, start + whole, 4):
        word = signed(load_part(data, k, 4))
        word = (word * _MURMUR_FACTOR) & _MASK_32
        word = ((word ^ (word >> 24)) * _MURMUR_FACTOR) & _MASK_32
        value = ((value * _MURMUR_FACTOR) & _MASK_32) ^ word
    if whole < length:
        rest = signed(load_part(data, start + whole, length - whole))
        value = ((value ^ rest) * _MURMUR_FACTOR) & _MASK_32
    value = ((value ^ (value >> 13)) * _MURMUR_FACTOR) & _MASK_32
    return value ^ (value >> 15)


@kernel
def partition_of(data: Array, start: int, length: int, count: int) -> int:
    """Return the partition, 0 to count - 1, of the key data[start : start + length]."""
    return (murmur2(data, start, length) & _MASK_31) % count


def partition_of_key(key: bytes, count: int) -> int:
    """Return the partition, 0 to count - 1, that Kafka's Java client gives `key` (control path)."""
    return int(
        partition_of(np.frombuffer(key.ljust(8, b"\0"), np.uint8).copy(), 0, len(key), count)
    )


def key_words(key: bytes) -> Array:
    """Return a key of 16 bytes as kernels take it, uint64[2]."""
    return np.array(np.frombuffer(key, "<u8"), np.uint64)
