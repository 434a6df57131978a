"""A disk for snapshots that runs full, tears, rots, mislays and stops answering, by seed.

The store's promise (`streams/snapshot/store.py`) is that a name has all its bytes or does not
exist. This one breaks it as disks do: what was acknowledged is found torn, or with one bit wrong,
or under a name that is not its own. Of two snapshots in a row one stays good: nothing can recover
from a log that is trimmed to snapshots of which all are lost.
"""

import errno
import random
from collections.abc import Callable, Iterable

from streams.snapshot.store import Part

_UNFINISHED = ".part"
_LINE_BYTES = 64
# A snapshot stands at an offset of a partition: whoever publishes one behind it is told of.
Look = Callable[[str], None]


class KilledError(Exception):
    """The process ended where it stood, between the last byte written and the rename."""


class FakeDisk:
    """All files by name. `calm` mends it, but for what is damaged already."""

    def __init__(self, dice: random.Random, look: Look) -> None:
        self.files: dict[str, bytes] = {}
        self.damaged: set[str] = set()
        self._dice = dice
        self._look = look
        self._full = dice.choice([0.0, 0.3])
        self._killed = dice.choice([0.0, 0.2])
        self._bad = dice.choice([0.0, 0.5])
        self._unread = dice.choice([0.0, 0.1])

    def calm(self) -> None:
        """Lose no more."""
        self._full = self._killed = self._bad = self._unread = 0.0

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted; what was begun and not finished is none."""
        self._answer()
        inside = (name for name in self.files if name.rpartition("/")[0] == folder)
        return sorted(name for name in inside if not name.endswith(_UNFINISHED))

    def write(self, name: str, parts: Iterable[Part]) -> None:
        """Write a name: whole, or not at all, or so that only its reader can notice."""
        full = self._dice.random() < self._full
        data = bytearray()
        for part in parts:
            if full and self._dice.random() < 0.5:
                raise OSError(errno.ENOSPC, "No space left on device")
            data += part
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.files[name + _UNFINISHED] = bytes(data)
        if self._dice.random() < self._killed:
            raise KilledError
        self._look(name)
        self._damage(name, data)
        self.files[name] = bytes(data)
        del self.files[name + _UNFINISHED]

    def size(self, name: str) -> int:
        """Return how many bytes stand under a name."""
        self._answer()
        return len(self._bytes(name))

    def read_into(self, name: str, at: int, data: memoryview) -> None:
        """Fill `data` from place `at`. Several threads read at once, so nothing is drawn here."""
        found = self._bytes(name)[at : at + data.nbytes]
        if len(found) != data.nbytes:
            raise EOFError(f"{name} ends at byte {at + len(found)}")
        data[:] = found

    def remove(self, name: str) -> None:
        """Remove a name."""
        self.files.pop(name, None)
        self.damaged.discard(name)

    def _answer(self) -> None:
        if self._dice.random() < self._unread:
            raise OSError(errno.EIO, "Input/output error")

    def _bytes(self, name: str) -> bytes:
        if name not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file", name)
        return self.files[name]

    def _damage(self, name: str, data: bytearray) -> None:
        """Tear it, mislay it, lose a line of it or turn a bit."""
        folder = name.rpartition("/")[0]
        others = sorted(n for n in self.files if n.startswith(folder) and n < name)
        others = [other for other in others if not other.endswith(_UNFINISHED)]
        last_good = bool(others) and others[-1] not in self.damaged
        if not last_good or self._dice.random() >= self._bad:
            self.damaged.discard(name)
            return
        self.damaged.add(name)
        kind = self._dice.randrange(4)
        if kind == 0:
            del data[self._dice.randrange(len(data)) :]
        elif kind == 1:
            data[:] = self.files[others[-1]]
        elif kind == 2:
            at = self._dice.choice([0, self._dice.randrange(len(data))])
            data[at : at + _LINE_BYTES] = bytes(len(data[at : at + _LINE_BYTES]))
        else:
            data[self._dice.randrange(len(data))] ^= 1 << self._dice.randrange(8)
