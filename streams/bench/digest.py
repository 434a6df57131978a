"""A hash of many records in which their order does not count."""

import hashlib
from collections.abc import Iterable

_BITS = 128


class Digest:
    """The sum of the records' own hashes, and how many there were: repeats and losses change it."""

    def __init__(self, values: Iterable[bytes] = ()) -> None:
        self._sum = 0
        self.count = 0
        self.add(values)

    def add(self, values: Iterable[bytes]) -> None:
        """Take in records."""
        hashed, whole = hashlib.blake2b, int.from_bytes
        for value in values:
            self._sum += whole(hashed(value, digest_size=_BITS // 8).digest(), "little")
            self.count += 1

    @property
    def hex(self) -> str:
        """The hash as text; equal for equal records in any order."""
        text = b"%x/%d" % (self._sum % (1 << _BITS), self.count)
        return hashlib.sha256(text).hexdigest()
