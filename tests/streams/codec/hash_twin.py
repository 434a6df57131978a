"""SipHash-2-4 in plain Python integers, written from the paper."""

from functools import lru_cache

_MASK = 2**64 - 1


def _rotate(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) & _MASK


def _mix(v: list[int], rounds: int) -> None:
    for _ in range(rounds):
        v[0] = (v[0] + v[1]) & _MASK
        v[2] = (v[2] + v[3]) & _MASK
        v[1] = _rotate(v[1], 13) ^ v[0]
        v[3] = _rotate(v[3], 16) ^ v[2]
        v[0] = _rotate(v[0], 32)
        v[2] = (v[2] + v[1]) & _MASK
        v[0] = (v[0] + v[3]) & _MASK
        v[1] = _rotate(v[1], 17) ^ v[2]
        v[3] = _rotate(v[3], 21) ^ v[0]
        v[2] = _rotate(v[2], 32)


@lru_cache(maxsize=4_096)
def siphash(key: bytes, message: bytes, size: int) -> bytes:
    """Return the hash of `message` in `size` (8 or 16) bytes."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v = [
        int.from_bytes(b"somepseu", "big") ^ k0,
        int.from_bytes(b"dorandom", "big") ^ k1,
        int.from_bytes(b"lygenera", "big") ^ k0,
        int.from_bytes(b"tedbytes", "big") ^ k1,
    ]
    if size == 16:
        v[1] ^= 0xEE
    padded = message + bytes(7 - len(message) % 8) + bytes([len(message) % 256])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= word
        _mix(v, 2)
        v[0] ^= word
    v[2] ^= 0xEE if size == 16 else 0xFF
    _mix(v, 4)
    out = (v[0] ^ v[1] ^ v[2] ^ v[3]).to_bytes(8, "little")
    if size == 16:
        v[1] ^= 0xDD
        _mix(v, 4)
        out += (v[0] ^ v[1] ^ v[2] ^ v[3]).to_bytes(8, "little")
    return out
