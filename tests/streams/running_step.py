"""A step that is easy to foresee: it numbers the records of each key, and so shows lost state.

It keeps the contract of `streams.step.Step` between `streams.partition.Partition` and its buffers.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from streams.buffers import Array, Out, clear_batch, make_batch, make_out
from streams.limits import Limits
from streams.schema import Refusal
from streams.topology import OUT_DEAD_LETTER, OUT_DECISION

SIZE = Limits(batch_rows=64, out_rows=64)


class RunningStep:
    """For each record one decision `<partition> <key> <count> <value>`; what starts with "bad"
    is a dead letter.
    """

    def __init__(self, partition: int, count: int) -> None:
        self.partition = partition
        self.count = count
        self.batch = make_batch(SIZE)
        self.out = make_out(SIZE)
        self.counters: Array = np.zeros(64, np.int64)
        self.state = None
        self._seen: Counter[bytes] = Counter()
        self._muted = False

    def mute(self, *, on: bool) -> None:
        """Switch the output off or on."""
        self._muted = on

    def run(self) -> Iterator[Out]:
        """Number the records; hand the output over after every 10."""
        for row in range(int(self.batch.used[0])):
            value = self._span(row, "value")
            if value == b"halt":
                raise AssertionError("a fault of ours")
            if value is not None and value.startswith(b"bad"):
                self._put(row, OUT_DEAD_LETTER, None, b"", Refusal.WRONG_PARTITION)
            elif value is not None:
                key = self._span(row, "key") or b"-"
                self._seen[key] += 1
                text = b"%d %s %d %s" % (self.partition, key, self._seen[key], value[:40])
                self._put(row, OUT_DECISION, key, text, Refusal.NONE)
            if row % 10 == 9:
                yield self.out
                self.out.used[:] = 0
        yield self.out
        self.out.used[:] = 0
        clear_batch(self.batch)

    def _span(self, row: int, name: str) -> bytes | None:
        start, length = (int(getattr(self.batch, f"{name}_{of}")[row]) for of in ("start", "len"))
        return None if length < 0 else self.batch.data[start : start + length].tobytes()

    def _put(self, row: int, topic: int, key: bytes | None, value: bytes, refusal: int) -> None:
        if self._muted:
            return
        at = int(self.out.used[1])
        text = (key or b"") + value
        self.out.data[at : at + len(text)] = np.frombuffer(text, np.uint8)
        middle = at + len(key or b"")
        key_len = -1 if key is None else len(key)
        place = (topic, row, at, key_len, middle, len(value), refusal, -1)
        self.out.rows[int(self.out.used[0])] = place
        self.out.used[0] += 1
        self.out.used[1] = at + len(text)
