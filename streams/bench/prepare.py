"""The deployment of benchmarks, ready for `dipper live`: policies, a trained model, keys."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from streams.bench.deployment import write_deployment, write_model
from streams.bench.workload import Cohort, opening
from streams.buffers import append_record
from streams.config import load_deployment
from streams.control.keys import init_keys, load_private_key, load_trusted, verifier
from streams.deployment import Deployment
from streams.schema import EVIDENCE_HEAD
from streams.step import Step
from streams.topology import OUT_EVIDENCE

TRAINING_COHORTS = (1_000,)  # people of their own: none of them is in a measured log


def prepare(folder: Path, *, trees: int = 200, leaves: int = 31) -> Deployment:
    """Write a deployment with `trees` trees of `leaves` leaves into `folder`, and load it.

    The model is trained on what the step derives from traffic of the kind that is measured.
    """
    write_deployment(folder, scored=False)
    init_keys(folder)
    unscored = load_deployment(folder)
    write_model(folder, unscored.catalog, _vectors(unscored, folder), trees, leaves)
    write_deployment(folder, scored=True)
    return load_deployment(folder)


def signing_key(deployment: Deployment) -> Ed25519PrivateKey:
    """Return the key that control events of the deployment are signed with."""
    return load_private_key(deployment.folder)


def make_step(deployment: Deployment, partition: int, partitions: int) -> Step:
    """Return a new step that checks signatures as a worker does."""
    verify = verifier(load_trusted(deployment.folder))
    return Step(deployment, partition, partitions, verify)


def _vectors(deployment: Deployment, folder: Path) -> NDArray[np.float64]:
    """Return feature vectors of requests, float64[requests, columns], from the evidence."""
    step = make_step(deployment, 0, 1)
    (first,) = opening(load_private_key(folder), deployment.caps, 1)
    head, columns = EVIDENCE_HEAD.itemsize // 8, len(deployment.catalog.columns)
    found: list[NDArray[np.float64]] = []
    rows: list[tuple[bytes | None, bytes]] = [(None, value) for value in first]
    for number in TRAINING_COHORTS:
        rows += Cohort(number, deployment.platform.decision_key).records()
    for values in run(step, rows, 0, OUT_EVIDENCE):
        vector = np.frombuffer(values, np.float64)
        found.append(vector[head : head + columns])
    return np.array(found)


def run(
    step: Step, rows: Sequence[tuple[bytes | None, bytes]], first: int, topic: int
) -> list[bytes]:
    """Decide records whose offsets count from `first`; return what is written to output `topic`."""
    found: list[bytes] = []
    size = step.deployment.limits.batch_rows
    for start in range(0, len(rows), size):
        for offset, (key, value) in enumerate(rows[start : start + size], first + start):
            assert append_record(step.batch, offset, key, value)
        for out in step.run():
            written = out.rows[: int(out.used[0])]
            mine = written[written["topic"] == topic]
            data = out.data.data
            spans = zip(mine["value_start"].tolist(), mine["value_len"].tolist(), strict=True)
            found += [bytes(data[at : at + length]) for at, length in spans]
    return found
