"""From answers of the broker to rows of a `Batch`, without an object per record.

Touches no connection and no clock, so it runs beside the event loop; an object a record batch is
made, and none a record.
"""

from collections import deque
from collections.abc import Iterator

import numpy as np

from streams.broker.batches import Data, Header, read_batches
from streams.broker.inflate import (
    INFLATED_BYTES_MAX,
    TooLargeError,
    UnreadableError,
    inflate_into,
)
from streams.broker.records import (
    CURSOR,
    FILL_CORRUPT,
    FILL_DONE,
    FILL_OVERSIZE,
    FILL_UNTIL,
    PLAN,
    VARINT_BYTES_MAX,
    VARLONG_BYTES_MAX,
    fill_rows,
    read_span,
    read_varint,
)
from streams.buffers import Array, Batch
from streams.errors import CorruptBatchError
from streams.partition import Input
from streams.ports import Fetched, Place

FOREVER = 2**62
_NOTHING = np.frombuffer(b"", np.uint8)


class Reader:
    """Reads one partition from `position` on; `feed` it answers in order, `fill` batches from it.

    `position` is the offset after all that `fill` has taken; offsets without a record to be read
    are passed over. `refused` holds what no `Batch` can take as one record of its own: it comes
    with an empty batch and stands for all before `position`. It is a record larger than a batch, or
    a whole compressed batch beyond `INFLATED_BYTES_MAX` with its bytes as they came.
    """

    def __init__(self, place: Place) -> None:
        self.position = 0
        self.refused: Input | None = None
        self._place = place
        self._fed: deque[Fetched] = deque()
        self._data = b""
        self._batches: Iterator[Data] = iter(())
        self._ahead: Data | None = None
        self._error: CorruptBatchError | None = None
        self._too_large: Input | None = None
        # What is being split: its bytes, which batches stand in them, and how far it has come.
        self._going = False
        self._source: Array = _NOTHING
        self._plan: Array = np.zeros(0, PLAN)
        self._cursor: Array = np.zeros(1, CURSOR)
        self._next_offset = 0
        self._inflated: Array = np.zeros(0, np.uint8)

    @property
    def fed(self) -> bool:
        """Say whether an answer waits behind the one that is being read."""
        return bool(self._fed)

    def seek(self, offset: int) -> None:
        """Forget what was fed; read from this offset on."""
        self.position = offset
        self._fed.clear()
        self._batches, self._ahead, self._error = iter(()), None, None
        self._going = False

    def feed(self, fetched: Fetched) -> None:
        """Take the next answer."""
        self._fed.append(fetched)

    def fill(self, batch: Batch, until: int = FOREVER) -> bool:
        """Append records before `until` to the batch; False where there is nothing to decide yet.

        Raises `CorruptBatchError` where the next record batch is one and `batch` is empty: what
        stands before it is read first.
        """
        self.refused = None
        while self.position < until:
            if not self._going and not self._begin():
                break
            if self._too_large is not None:
                if batch.used[0] == 0:
                    self.refused, self._too_large = self._too_large, None
                    self._finish()
                break
            code = fill_rows(self._source, self._plan, self._cursor, self.position, until, batch)
            if rows := int(batch.used[0]):
                self.position = max(self.position, int(batch.offset[rows - 1]) + 1)
            if code == FILL_DONE:
                self._finish()
                continue
            if code == FILL_UNTIL:
                self.position = until
            elif code == FILL_OVERSIZE:
                self.refused = self._pass_over()
            elif code == FILL_CORRUPT and not rows:
                raise self._corrupt("a record in it has no possible length or offset")
            break
        if self._error is not None and not self._going and not batch.used[0]:
            raise self._error
        return bool(batch.used[0]) or self.refused is not None

    def _finish(self) -> None:
        self._going = False
        self.position = max(self.position, self._next_offset)

    def _begin(self) -> bool:
        """Plan the next batches that stand in one piece of memory; False where there are none."""
        if self._error is not None:
            return False
        headers: list[Header] = []
        for data in self._coming():
            header = data.header
            if header is not None and header.codec:
                if headers:
                    self._ahead = data
                else:
                    self._next_offset = data.next_offset
                    self._going = self._inflate(header)
                    return self._going
                break
            if header is not None:
                headers.append(header)
            self._next_offset = data.next_offset
            self._going = True
        if self._going:
            self._source = np.frombuffer(self._data, np.uint8)
            self._set_plan(headers)
        return self._going

    def _coming(self) -> Iterator[Data]:
        """Give what is left of the answer at hand, else of the next."""
        if self._ahead is not None:
            data, self._ahead = self._ahead, None
            yield data
        found = False
        while not found:
            try:
                for data in self._batches:
                    found = True
                    yield data
            except CorruptBatchError as error:
                self._error = error
                return
            if found or not self._fed:
                return
            fetched = self._fed.popleft()
            self._data, self._batches = fetched.data, read_batches(self._place, fetched)

    def _inflate(self, header: Header) -> bool:
        if not len(self._inflated):
            self._inflated = np.zeros(INFLATED_BYTES_MAX, np.uint8)
        view = memoryview(self._data)
        try:
            used = inflate_into(header.codec, view[header.start : header.end], self._inflated)
        except TooLargeError:
            whole = bytes(view[header.begin : header.end])
            self._too_large = Input(header.base_offset, None, whole)
            return True
        except UnreadableError as error:
            self._error = self._corrupt(f"it cannot be uncompressed: {error}")
            return False
        self._source = self._inflated[:used]
        self._source.flags.writeable = False  # the kernel is compiled for arrays that are only read
        self._set_plan([header._replace(start=0, end=used)])
        return True

    def _set_plan(self, headers: list[Header]) -> None:
        rows = [(h.start, h.end, h.base_offset, h.last_delta, h.records) for h in headers]
        self._plan = np.array(rows, PLAN)
        self._cursor[0] = (0, 0, -1, -1)

    def _pass_over(self) -> Input:
        """Take the record at the cursor, which is larger than a batch, by itself."""
        cursor = self._cursor[0]
        at, info = int(cursor["at"]), self._plan[cursor["batch"]]
        end = int(info["end"])
        length, at = read_varint(self._source, at, end, VARINT_BYTES_MAX)
        stop = at + length
        _, at = read_varint(self._source, at + 1, stop, VARLONG_BYTES_MAX)
        delta, at = read_varint(self._source, at, stop, VARINT_BYTES_MAX)
        key_len, key = read_span(self._source, at, stop)
        value_len, value = read_span(self._source, key + max(key_len, 0), stop)
        cursor["at"], cursor["delta"] = stop, delta
        cursor["left"] -= 1
        offset = int(info["base_offset"]) + delta
        self.position = offset + 1
        return Input(offset, self._bytes(key, key_len), self._bytes(value, value_len))

    def _bytes(self, start: int, length: int) -> bytes | None:
        return None if length < 0 else self._source[start : start + length].tobytes()

    def _corrupt(self, why: str) -> CorruptBatchError:
        return CorruptBatchError(self._place.topic, self._place.partition, self.position, why)
