"""A log, its labels and a deployment that is stricter than the example: what studies compare."""

import shutil
from pathlib import Path

import pytest

from streams.simulate.log import write_log
from streams.simulate.world import WorldConfig

POLICIES = Path(__file__).resolve().parents[3] / "examples" / "policies"
START_MS = 1_767_225_600_000  # 2026-01-01


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Write ten days of a few hundred people and firms, with labels."""
    folder = tmp_path_factory.mktemp("study")
    events, labels = folder / "events.jsonl.gz", folder / "labels.csv"
    world = WorldConfig(
        applicants=500, firm_share=0.2, rate_per_second=500 * 2 / 86_400, request_share=0.25,
        closed_loop=False, for_file=True,
    )  # fmt: skip
    write_log(world, START_MS, 10, events, labels)
    return events, labels


@pytest.fixture(scope="session")
def stricter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the example deployment, and let one lender refuse above 13 % instead of 15 %."""
    folder = tmp_path_factory.mktemp("stricter") / "config"
    shutil.copytree(POLICIES, folder)
    path = folder / "institutions" / "dawn" / "cash_line.toml"
    text = path.read_text()
    assert "cut_off_pd_ppm = 150_000" in text
    path.write_text(text.replace("cut_off_pd_ppm = 150_000", "cut_off_pd_ppm = 130_000"))
    return folder


@pytest.fixture(scope="session")
def browser() -> str:
    """Give chromium, which a machine may lack."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no chromium on this machine; Debian has it as the package chromium")
    return found
