"""What one worker has done since its start: arrays and numbers that a scrape reads.

Everything is added once a batch, when the batch stands committed, so a scrape never shows work that
is then done again. Nothing here looks at the wall clock: durations come from a monotonic clock, so
a machine whose clock is an hour wrong still tells the truth.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

# Upper edges, seconds: fine around the goal of 15 ms, coarse where something is wrong.
SECONDS_EDGES = (0.001, 0.002, 0.004, 0.006, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
RECORDS_EDGES = (1.0, 7.0, 64.0, 256.0, 1_024.0, 2_048.0, 4_096.0)
# Stages 2 to 10 are one call into compiled code, which looks at no clock: they are timed as one.
STEP, COMMIT = "step", "commit"
TIMED = (STEP, COMMIT)


# Partition, what the batch added to each counter, records, seconds of the step, of the commit.
OnBatch = Callable[[int, NDArray[np.int64], int, float, float], None]


class Histogram:
    """Counts by bucket and a sum; `edges` are the buckets' upper edges, one more stands above."""

    def __init__(self, edges: Sequence[float]) -> None:
        self.edges = tuple(edges)
        self.counts = [0] * (len(self.edges) + 1)
        self.sum = 0.0

    def observe(self, value: float, weight: int = 1) -> None:
        """Count `weight` observations of `value`."""
        self.counts[bisect_left(self.edges, value)] += weight
        self.sum += value * weight


class WorkerMeter:
    """The counters of a worker over all partitions that it has held.

    A partition's own array counts from the first record of its log, wherever it was decided; the
    difference from batch to batch is what this worker did, and adds up to counters that never fall
    when a partition moves.
    """

    def __init__(self) -> None:
        self.totals: NDArray[np.int64] = np.zeros(0, np.int64)
        self.stages = {stage: Histogram(SECONDS_EDGES) for stage in TIMED}
        self.records = Histogram(SECONDS_EDGES)  # weighted by records: taken from Kafka → committed
        self.batches = Histogram(RECORDS_EDGES)
        self.commits = 0
        self.aborts = 0
        self.fences = 0
        self.rebalances = 0
        self.recoveries = Histogram((0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0))
        self.on_batch: OnBatch | None = None
        self.halted: dict[int, int] = {}  # partition → offset that it stands at
        self.skipped: dict[int, int] = {}  # partition → snapshots that recovery passed over
        self._known: dict[int, NDArray[np.int64]] = {}
        self._beat = time.monotonic()

    def begin(
        self, partition: int, counters: NDArray[np.int64], seconds: float, *, kept: bool
    ) -> None:
        """A partition is ready after `seconds`: what is counted so far is not ours, except where
        its state was `kept`, and with it a batch of ours that stood before its commit was heard of.
        """
        if self.totals.size == 0:
            self.totals = np.zeros_like(counters)
        if kept:
            self._add(partition, counters)
        else:
            self._known[partition] = counters.copy()
        self.recoveries.observe(seconds)
        self.halted.pop(partition, None)

    def commit(
        self,
        partition: int,
        counters: NDArray[np.int64],
        records: int,
        step_s: float,
        commit_s: float,
    ) -> None:
        """A batch of `records` stands: the step took `step_s`, writing and committing `commit_s`.

        Reads `counters` int64[n] as the step left it, between two batches.
        """
        done = self._add(partition, counters)
        self.commits += 1
        self.stages[STEP].observe(step_s)
        self.stages[COMMIT].observe(commit_s)
        self.records.observe(step_s + commit_s, records)
        self.batches.observe(records)
        if self.on_batch is not None:
            self.on_batch(partition, done, records, step_s, commit_s)

    def _add(self, partition: int, counters: NDArray[np.int64]) -> NDArray[np.int64]:
        """Add what is new since the partition was last looked at, and return it."""
        known = self._known[partition]
        done = counters - known
        self.totals += done
        known[:] = counters
        return done

    def abort(self) -> None:
        """A batch was decided and could not be written: it will be decided again."""
        self.aborts += 1

    def fence(self) -> None:
        """Somebody else has taken a partition over while a batch of ours was under way."""
        self.fences += 1

    def rebalance(self) -> None:
        """The group has dealt the partitions anew."""
        self.rebalances += 1

    def halt(self, partition: int, offset: int) -> None:
        """A partition stands still at `offset` until somebody decides what becomes of it."""
        self.halted[partition] = offset

    def recover(self, partition: int, skipped: int) -> None:
        """Recovery looked for a snapshot and passed over `skipped` that it could not take."""
        self.skipped[partition] = self.skipped.get(partition, 0) + skipped

    def beat(self) -> None:
        """Say that the worker's loop has come round."""
        self._beat = time.monotonic()

    @property
    def silent_s(self) -> float:
        """Return the seconds since the loop last came round."""
        return time.monotonic() - self._beat
