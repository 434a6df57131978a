"""Which columns a deployment computes is its own choice, and no decision depends on it."""

from pathlib import Path

import pytest

from models.policy.errors import PolicyError
from streams import deployment as deployments
from streams.config import load_deployment
from streams.deployment import Deployment
from streams.evidence import read_evidence
from streams.topology import OUT_EVIDENCE
from tests.golden.digest import read_log
from tests.naive.deployments import CARD_FEATURES, FOREST_FEATURES, LIMITS, write_deployment
from tests.naive.records import Record
from tests.naive.run import make_step, run_log

ROWS = 200


def _run(deployment: Deployment) -> tuple[list[Record], bytes]:
    """Return all but the evidence, without the manifest's hash, and the evidence."""
    manifest = deployment.manifest_hash(2).encode()
    written = run_log(make_step(deployment), read_log()[:ROWS], 64)
    rest = [
        each._replace(value=each.value.replace(manifest, b""))
        for each in written
        if each.topic != OUT_EVIDENCE
    ]
    return rest, b"".join(each.value for each in written if each.topic == OUT_EVIDENCE)


def test_columns_that_nobody_reads_change_no_decision(tmp_path: Path) -> None:
    """With the columns of models and policies alone every record is the same, and so is each column
    of the evidence; the manifest is another.
    """
    folder = write_deployment(tmp_path)
    whole = load_deployment(folder, LIMITS, features="all")
    used = load_deployment(folder, LIMITS, features="used")
    named = load_deployment(folder, LIMITS, features=("refund_to_order_count_90d",))
    names = set(used.catalog.columns)
    assert {*CARD_FEATURES, *FOREST_FEATURES, "device_risk"} <= names < set(whole.catalog.columns)
    assert "refund_to_order_count_90d" not in names
    # A ratio brings the two columns that it divides.
    assert {"refund_to_order_count_90d", "refund_count_90d"} <= set(named.catalog.columns)
    assert used.catalog.window_ms_max == whole.catalog.window_ms_max
    hashes = {each.manifest_hash(2) for each in (whole, used, named)}
    assert len(hashes) == 3
    records, evidence = _run(whole)
    frame = read_evidence(evidence, whole)
    assert frame.height > 20
    for narrow in (used, named):
        same, less = _run(narrow)
        assert same == records
        found = read_evidence(less, narrow)
        assert found.equals(frame.select(found.columns))


def test_an_unknown_column_is_refused(tmp_path: Path) -> None:
    """A column that no catalog row declares is named with its file and what was perhaps meant."""
    folder = write_deployment(tmp_path)
    path = folder / "platform.toml"
    path.write_text(path.read_text().replace('"all"', '["age_yaers"]'))
    with pytest.raises(
        PolicyError, match=r"platform\.toml:\d+.*unknown column age_yaers.*age_years"
    ):
        load_deployment(folder)


def test_the_manifest_names_the_code(
    step_deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that differs in one line is another engine, and so another manifest."""
    before = step_deployment.manifest_hash(4)
    assert step_deployment.manifest_hash(4) == before
    monkeypatch.setattr(deployments, "code_hash", lambda path: "0" * 64 if path.exists() else "")
    assert step_deployment.manifest(4)["engine"].endswith("0" * deployments.ENGINE_DIGITS)
    assert step_deployment.manifest_hash(4) != before
