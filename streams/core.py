"""What one partition's step works on, as one bundle of arrays, so that one call into compiled code
runs a batch.
"""

from typing import NamedTuple

import numpy as np

from features.tables import CatalogTables, FeatureScratch
from models.policy.tables import PolicyScratch, PolicyTables
from models.tables import ModelTables, ScoreScratch
from streams.ahead import RING
from streams.buffers import Array
from streams.codec.encode import (
    CANDIDATE_BYTES_MAX,
    DECISION_BYTES_MAX,
    FUNDING_BYTES_MAX,
    Names,
    Stage,
)
from streams.limits import BLOCK, Limits
from streams.schema import DECISION
from streams.state.tables import State

WAVE_ROWS = 1_024  # rows of one wave at most: it bounds what a wave may write
# A feature is this many float64 behind the one before: a stride of BLOCK, a power of two, would put
# one request's features on four sets of the first cache.
VECTOR_STRIDE = BLOCK + 8
# A disbursement of less than was reserved draws and releases; a higher limit reserves and draws.
FUNDING_RECORDS_PER_ROW = 2


class Work(NamedTuple):
    """Working memory of the step, overwritten by each wave, and the sizes that kernels ask for."""

    vectors: Array  # float64[columns, VECTOR_STRIDE], NaN missing; the first BLOCK columns count
    raw: Array  # float64[models, BLOCK]
    pd_ppm: Array  # int64[models, BLOCK], -1 missing
    applicants: Array  # int32[WAVE_ROWS]: row of the applicant of each row of the wave, -1
    lines: Array  # int32[BLOCK]: row of the line that each request draws on, -1
    order: Array  # int32[candidates]
    rule_masks: Array  # uint64[candidates, words]
    decision: Array  # DECISION[1]
    guesses: Array  # int32[RING]: rows of applicants to come, as `streams/ahead.py` guesses them
    product_is_line: Array  # int32[products]
    sizes: Array  # int64[SIZES]
    count_at: Array  # int64[12]: streams.counters.places


SIZE_EXPIRIES, SIZE_SWEEP, SIZE_WINDOW_MS, SIZE_WAVE_BYTES, SIZE_WAVE_ROWS = range(5)


class Core(NamedTuple):
    """State, tables and memory of one partition's step."""

    state: State
    catalog: CatalogTables
    feature_scratch: FeatureScratch
    models: ModelTables
    score_scratch: ScoreScratch
    policies: PolicyTables
    policy_scratch: PolicyScratch
    names: Names
    stage: Stage
    work: Work


def wave_bytes_max(candidates: int, evidence_bytes: int, size: Limits) -> int:
    """Return the most bytes that one wave, or one tick, can write."""
    request = (
        DECISION_BYTES_MAX + candidates * CANDIDATE_BYTES_MAX + evidence_bytes + FUNDING_BYTES_MAX
    )
    wave = BLOCK * request + WAVE_ROWS * FUNDING_RECORDS_PER_ROW * FUNDING_BYTES_MAX
    return max(wave, (size.expiries_per_tick + 1) * FUNDING_BYTES_MAX)


def wave_records_max(size: Limits) -> int:
    """Return the most records that one wave, or one tick, can write."""
    return max(3 * BLOCK + (FUNDING_RECORDS_PER_ROW + 1) * WAVE_ROWS, size.expiries_per_tick + 1)


def make_work(
    columns: int,
    models: int,
    candidates: int,
    words: int,
    product_is_line: list[int],
    window_ms_max: int,
    evidence_bytes: int,
    size: Limits,
    count_at: Array,
) -> Work:
    """Take the working memory of one partition's step."""
    sizes = [
        size.expiries_per_tick,
        size.sweep_rows_per_tick,
        window_ms_max,
        wave_bytes_max(candidates, evidence_bytes, size),
        wave_records_max(size),
    ]
    assert sizes[SIZE_WAVE_BYTES] <= size.out_bytes, "out_bytes cannot hold one wave"
    assert sizes[SIZE_WAVE_ROWS] <= size.out_rows, "out_rows cannot hold one wave"
    return Work(
        np.full((columns, VECTOR_STRIDE), np.nan),
        np.zeros((models, BLOCK)),
        np.zeros((models, BLOCK), np.int64),
        np.zeros(WAVE_ROWS, np.int32),
        np.zeros(BLOCK, np.int32),
        np.zeros(candidates, np.int32),
        np.zeros((candidates, words), np.uint64),
        np.zeros(1, DECISION),
        np.full(RING, -1, np.int32),
        np.array(product_is_line or [0], np.int32),
        np.array(sizes, np.int64),
        count_at,
    )
