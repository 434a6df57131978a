"""Records for the step, made beforehand: histories, then requests, or requests among the rest."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from streams.bench.deployment import CHANNEL, LINE, LOAN
from streams.buffers import Array, Batch
from streams.limits import DAY_MS, SECOND_MS

START_MS = 1_767_225_600_000  # 2026-01-01
HISTORY_MS = 90 * DAY_MS
DRAWDOWN_SHARE = 0.8  # of requests, as in real traffic
# What comes between requests in mixed traffic; the rest is signals.
ACTIVITY_SHARE = 0.95
EVENTS_PER_MS = 250

Record = tuple[bytes | None, bytes]

_KINDS = ("order", "order", "order", "order", "login", "bill_paid", "transfer_in", "refund")
_REGIONS = ("north", "east", "south", "west", "centre")


def applicant_id(row: int) -> bytes:
    """Return the token of applicant `row`."""
    return b"p-%08x" % (row * 2_654_435_761 % 2**32)


class Traffic:
    """A seeded population of `applicants`, counted from `first`, and what it sends."""

    def __init__(self, applicants: int, seed: int = 1, first: int = 0) -> None:
        self._ids = [applicant_id(row) for row in range(first, first + applicants)]
        self._rng = np.random.default_rng(seed)
        self._made = 0

    def history(self, events: int) -> Iterator[Record]:
        """Yield `events` activities an applicant over 90 days, a bureau score, and for every second
        applicant another lender's loan of two dues, the first one paid.
        """
        start = START_MS - HISTORY_MS
        for number in range(events):
            at = start + HISTORY_MS * number // max(events, 1)
            yield from self._activities(range(len(self._ids)), at, HISTORY_MS // max(events, 1))
        scores = self._rng.integers(450, 850, len(self._ids)).tolist()
        for row, applicant in enumerate(self._ids):
            at = START_MS - DAY_MS - row % DAY_MS
            yield self._signal(applicant, at, scores[row])
            if row % 2 == 0:
                yield from self._other_loan(applicant, START_MS - 70 * DAY_MS, 10_000 + row)

    def line_requests(self) -> Iterator[Record]:
        """Yield one application for a line from every applicant."""
        for applicant in self._ids:
            yield applicant, self._application(applicant, START_MS, LINE, 30, 1_000_000)

    def accepts(self, lines: Mapping[bytes, bytes]) -> Iterator[Record]:
        """Yield the yes of every applicant to the line with that decision id."""
        for applicant, line in lines.items():
            yield (
                applicant,
                b'{"type":"accept","id":"%s","applicant":"%s","at":%d,"decision":"%s"}'
                % (self._id(), applicant, START_MS, line),
            )

    def requests(self, count: int, lines: Mapping[bytes, bytes]) -> Iterator[Record]:
        """Yield `count` requests: 80 % purchases on lines, 20 % applications for a loan."""
        return self.mixed(count, lines, 1.0)

    def mixed(
        self,
        count: int,
        lines: Mapping[bytes, bytes],
        request_share: float,
        hot_share: float = 0.0,
    ) -> Iterator[Record]:
        """Yield `count` events, 250 a millisecond, of which `request_share` are requests and
        `hot_share` are of the first applicant.
        """
        draws = self._rng.random((count, 2)).tolist()
        drawn = self._rng.integers(len(self._ids), size=count)
        if hot_share:
            drawn[self._rng.random(count) < hot_share] = 0
        rows = drawn.tolist()
        amounts = self._rng.integers(1_000, 30_000, count).tolist()
        for number, ((draw, other), row, amount) in enumerate(
            zip(draws, rows, amounts, strict=True)
        ):
            at = START_MS + SECOND_MS + number // EVENTS_PER_MS
            applicant = self._ids[row]
            if draw < request_share * DRAWDOWN_SHARE:
                yield applicant, self._drawdown(applicant, at, lines[applicant], amount)
            elif draw < request_share:
                yield applicant, self._application(applicant, at, LOAN, 180, 20 * amount)
            elif other < ACTIVITY_SHARE:
                yield from self._activities((row,), at, 1)
            else:
                yield self._signal(applicant, at, 450 + amount % 400)

    def _id(self) -> bytes:
        self._made += 1
        return b"e%d" % self._made

    def _activities(self, rows: Sequence[int], at: int, spread_ms: int) -> Iterator[Record]:
        count = len(rows)
        times = self._rng.integers(spread_ms, size=count).tolist()
        amounts = self._rng.integers(500, 50_000, count).tolist()
        for row, after, amount in zip(rows, times, amounts, strict=True):
            kind = _KINDS[amount % len(_KINDS)]
            applicant = self._ids[row]
            yield (
                applicant,
                b'{"type":"activity","id":"%s","applicant":"%s","at":%d,"kind":"%s",'
                b'"amount_cents":%d,"counterparty":"m%d"}'
                % (self._id(), applicant, at + after, kind.encode(), amount, amount % 997),
            )

    def _signal(self, applicant: bytes, at: int, value: int) -> Record:
        return (
            applicant,
            b'{"type":"signal","id":"%s","applicant":"%s","at":%d,"source":"bureau",'
            b'"name":"score","value":%d,"status":"ok"}' % (self._id(), applicant, at, value),
        )

    def _other_loan(self, applicant: bytes, at: int, principal: int) -> Iterator[Record]:
        steps = (
            b'"disbursed","principal_cents":%d' % principal,
            b'"due","principal_cents":%d,"due_at":%d' % (principal // 2, at + 30 * DAY_MS),
            b'"due","principal_cents":%d,"due_at":%d' % (principal // 2, at + 90 * DAY_MS),
            b'"payment","principal_cents":%d' % (principal // 2),
        )
        for place, step in enumerate(steps):
            when = at + place + (33 * DAY_MS if place == len(steps) - 1 else 0)
            yield (
                applicant,
                b'{"type":"loan","id":"%s","applicant":"%s","at":%d,"loan":"x1",'
                b'"issuer":"other-bank","step":%s}' % (self._id(), applicant, when, step),
            )

    def _application(
        self, applicant: bytes, at: int, product: str, tenor_days: int, amount: int
    ) -> bytes:
        id = self._id()
        draw = self._made * 7_919 % 100_003
        return (
            b'{"type":"application","id":"%s","applicant":"%s","at":%d,"product":"%s",'
            b'"channel":"%s","amount_cents":%d,"tenor_days":%d,"income_cents":%d,'
            b'"age_years":%d,"employment_months":%d,"dependents":%d,'
            b'"existing_debt_cents":%d,"region":"%s","device":"d%d"}'
        ) % (
            id, applicant, at, product.encode(), CHANNEL.encode(), amount, tenor_days,
            200_000 + 10 * draw, 20 + draw % 45, draw % 240, draw % 4, 50 * draw,
            _REGIONS[draw % 5].encode(), draw,
        )  # fmt: skip

    def _drawdown(self, applicant: bytes, at: int, line: bytes, amount: int) -> bytes:
        return (
            b'{"type":"drawdown","id":"%s","applicant":"%s","at":%d,"line":"%s",'
            b'"amount_cents":%d,"tenor_days":30,"merchant":"m%d"}'
        ) % (self._id(), applicant, at, line, amount, amount % 997)


class Load(NamedTuple):
    """Records as they lie in a batch buffer, so that filling one is five copies and no loop."""

    data: Array
    offset: Array
    key_start: Array
    key_len: Array
    value_start: Array
    value_len: Array

    def fill(self, batch: Batch) -> None:
        """Copy the records into an empty batch."""
        rows, size = len(self.offset), len(self.data)
        batch.data[:size] = self.data
        batch.offset[:rows] = self.offset
        batch.key_start[:rows] = self.key_start
        batch.key_len[:rows] = self.key_len
        batch.value_start[:rows] = self.value_start
        batch.value_len[:rows] = self.value_len
        batch.used[:2] = rows, size


def make_loads(records: Sequence[Record], batch_rows: int, first_offset: int) -> list[Load]:
    """Lay records out in batches of `batch_rows`; offsets count from `first_offset`."""
    loads = []
    for start in range(0, len(records), batch_rows):
        part = records[start : start + batch_rows]
        key_len = np.array([-1 if key is None else len(key) for key, _ in part], np.int64)
        value_len = np.array([len(value) for _, value in part], np.int64)
        ends = np.cumsum(np.maximum(key_len, 0) + value_len)
        key_start = ends - np.maximum(key_len, 0) - value_len
        text = b"".join((key or b"") + value for key, value in part)
        loads.append(
            Load(
                np.frombuffer(text, np.uint8),
                np.arange(first_offset + start, first_offset + start + len(part)),
                key_start,
                key_len,
                key_start + np.maximum(key_len, 0),
                value_len,
            )
        )
    return loads
