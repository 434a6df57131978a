"""Stage 6, score: features to raw scores and probabilities of default, all models of a deployment
at once.
"""

import numpy as np
from numpy.typing import NDArray

from models.calibrate import calibrate_block
from models.scorecard import score_card
from models.tables import BLOCK, KIND_TREES, ModelTables, ScoreScratch, make_scratch
from models.trees import score_trees
from streams.compile import kernel


@kernel
def score_block(
    models: ModelTables,
    vectors: NDArray[np.float64],
    n_rows: int,
    raw: NDArray[np.float64],
    pd_ppm: NDArray[np.int64],
    scratch: ScoreScratch,
) -> None:
    """Score up to BLOCK rows under every model.

    Reads `vectors` (catalog columns, BLOCK): one row a feature, one column a request, NaN where
    missing; only the first `n_rows` columns (0 to BLOCK) count. Writes the same columns of `raw`
    (models, BLOCK): sum of leaf values or points, and of `pd_ppm` (models, BLOCK): parts per
    million, 0 to 1,000,000. A row's result depends on that row alone, never on `n_rows` or its
    place.
    """
    assert 0 <= n_rows <= BLOCK
    assert vectors.shape[1] >= n_rows
    assert raw.shape[0] >= len(models.models)
    assert pd_ppm.shape[0] >= len(models.models)
    for model in range(len(models.models)):
        if models.models[model]["kind"] == KIND_TREES:
            score_trees(models, model, vectors, n_rows, raw[model], scratch)
        else:
            score_card(models, model, vectors, n_rows, raw[model])
        calibrate_block(models, model, n_rows, raw[model], pd_ppm[model])


def score_rows(
    models: ModelTables, rows: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return raw scores and PDs in parts per million, both (models, rows), for any number of rows.

    `rows` is (rows, catalog columns). For training and notebooks: it takes memory for the result.
    """
    count, scratch = len(models.models), make_scratch(models)
    raw, pd_ppm = np.zeros((count, len(rows))), np.zeros((count, len(rows)), np.int64)
    vectors = np.zeros((rows.shape[1], BLOCK))
    block_raw, block_pd = np.zeros((count, BLOCK)), np.zeros((count, BLOCK), np.int64)
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        vectors[:, : len(part)] = part.T
        score_block(models, vectors, len(part), block_raw, block_pd, scratch)
        raw[:, start : start + BLOCK] = block_raw[:, : len(part)]
        pd_ppm[:, start : start + BLOCK] = block_pd[:, : len(part)]
    return raw, pd_ppm
