"""Keyed hashes and the partitioner."""

import numpy as np
import pytest
from aiokafka.partitioner import murmur2 as aiokafka_murmur2
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2 as kafka_python_murmur2

from streams.codec import hashing
from tests.sizes import sized
from tests.streams.codec.hash_twin import siphash

KEY = bytes(range(16))
KEY_WORDS = np.frombuffer(bytearray(KEY), np.uint64)


def _data(message: bytes, before: int = 0) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Return `message` behind some other bytes and in front of some, as kernels take it."""
    return np.frombuffer(bytearray(b"\xff" * before + message + b"\xfe" * 8), np.uint8)


def _narrow(message: bytes, before: int = 0) -> bytes:
    value = hashing.sip_hash(KEY_WORDS, _data(message, before), before, len(message))
    return int(value).to_bytes(8, "little")


def _wide(message: bytes, before: int = 0) -> bytes:
    lo, hi = hashing.sip_hash_wide(KEY_WORDS, _data(message, before), before, len(message))
    return int(lo).to_bytes(8, "little") + int(hi).to_bytes(8, "little")


@pytest.mark.kernel
def test_siphash_gives_the_published_values() -> None:
    """Key 00..0f: the vectors printed in the paper and in the reference code hold."""
    assert _narrow(b"") == (0x726FDB47DD0E0E31).to_bytes(8, "little")
    assert _narrow(bytes(range(15))) == (0xA129CA6149BE45E5).to_bytes(8, "little")
    assert _wide(b"").hex() == "a3817f04ba25a8e66df67214c7550293"


@pytest.mark.kernel
def test_siphash_equals_its_twin_on_all_lengths_of_the_official_vectors() -> None:
    """Messages 00..3e of every length, at every distance from a word's edge, hash as by the
    twin.
    """
    for length in range(64):
        message = bytes(range(length))
        before = length % 9
        assert _narrow(message, before) == siphash(KEY, message, 8)
        assert _wide(message, before) == siphash(KEY, message, 16)


@pytest.mark.kernel
@given(st.binary(max_size=40), st.binary(max_size=64), st.binary(max_size=64))
def test_keys_hash_the_stated_bytes(applicant: bytes, middle: bytes, last: bytes) -> None:
    """Request and loan keys are SipHash-128 of length-prefixed parts, as the design writes them."""
    data = _data(applicant + middle + last)
    sizes = len(applicant), len(middle), len(last)
    one = hashing.request_key(KEY_WORDS, data, 0, sizes[0], sum(sizes[:2]), sizes[2])
    message = bytes([sizes[0]]) + applicant + last
    assert b"".join(int(half).to_bytes(8, "little") for half in one) == siphash(KEY, message, 16)
    two = hashing.loan_key(
        KEY_WORDS, data, 0, sizes[0], sizes[0], sizes[1], sum(sizes[:2]), sizes[2]
    )
    message = bytes([sizes[0]]) + applicant + bytes([sizes[1]]) + middle + last
    assert b"".join(int(half).to_bytes(8, "little") for half in two) == siphash(KEY, message, 16)


@pytest.mark.kernel
@given(st.binary(max_size=64))
def test_counterparties_are_56_bits_of_siphash(name: bytes) -> None:
    """A counterparty is the upper 56 bits of its SipHash and never 0."""
    value = int(hashing.counterparty_hash(KEY_WORDS, _data(name), 0, len(name)))
    assert value == (int.from_bytes(siphash(KEY, name, 8), "little") >> 8 or 1)


@pytest.mark.kernel
@given(st.lists(st.binary(max_size=70), min_size=1, max_size=sized(40)))
def test_murmur2_equals_two_kafka_clients(keys: list[bytes]) -> None:
    """Partitions are those of aiokafka and kafka-python, which follow Kafka's Java client."""
    for key in keys:
        value = int(hashing.murmur2(_data(key, 3), 3, len(key)))
        assert value == aiokafka_murmur2(key) & 0xFFFFFFFF
        assert value == kafka_python_murmur2(key) & 0xFFFFFFFF
        assert hashing.partition_of_key(key, 7) == (value & 0x7FFFFFFF) % 7
