"""The example deployment as committed: it loads whole, decides by its own cases, and its models are
what its README says.
"""

import re
from pathlib import Path

import orjson
import pytest

from features.catalog import load_catalog
from models.policy.cases import run_cases
from streams.config import columns_of, load_deployment
from streams.deployment import Deployment

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "policies"
MODEL_BYTES_MAX = 500_000


@pytest.fixture(scope="module")
def deployment() -> Deployment:
    """Load what is committed, models and all."""
    return load_deployment(FOLDER)


def test_own_cases_hold(deployment: Deployment) -> None:
    """Every case that a policy states holds in the deployment as committed."""
    models = {info.name: row for row, info in enumerate(deployment.model_infos)}
    columns = columns_of(deployment.catalog)
    for row, policy in enumerate(deployment.policies.infos):
        cases = run_cases(deployment.policies, row, deployment.platform, columns, models)
        assert cases
        assert [case.differences for case in cases] == [()] * len(cases), policy.id


def test_a_model_each_side_from_stable_features(deployment: Deployment) -> None:
    """There is a model each side, small enough to read, of the features its list names."""
    assert [info.name for info in deployment.model_infos] == ["business", "consumer"]
    catalog = load_catalog(None)
    for info in deployment.model_infos:
        assert (info.folder / "model.txt").stat().st_size < MODEL_BYTES_MAX
        lines = (FOLDER / "models" / f"{info.name}.txt").read_text().splitlines()
        assert set(info.features) == {line for line in lines if not line.startswith("#")}
        # Of the default catalog: a deployment that copies these models need not copy a catalog.
        assert set(info.features) <= catalog.columns.keys()


def test_readme_tells_the_models_as_they_are(deployment: Deployment) -> None:
    """The figures of the README are those of the manifests, and lie below the truth's."""
    text = (FOLDER / "README.md").read_text()
    for info in deployment.model_infos:
        training = orjson.loads((info.folder / "manifest.json").read_bytes())["training"]
        row = re.search(rf"^\| `{info.name}` \|(.*)\|$", text, re.MULTILINE)
        assert row is not None
        rows, trees, auc, truth, ks, newest = (cell.strip() for cell in row[1].split("|"))
        parts = ("train", "calibrate", "test", "out_of_time")
        count = sum(training[f"rows_{part}"] for part in parts)
        low, high = training["auc_interval"]
        assert rows == f"{count:,}"
        assert trees == f"{training['trees']} × 15"
        assert auc == f"{training['auc']:.3f} ({low:.3f} to {high:.3f})"
        assert ks == f"{training['ks']:.3f}"
        assert newest == f"{training['auc_out_of_time']:.3f}"
        assert 0.7 < training["auc"] < float(truth)
