"""The example policies load, keep their promises and answer through the command."""

import math
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from features.catalog import load_catalog
from models.artifact import load_models, save_model
from models.calibrate import Calibration
from models.policy.loader import load_policies
from models.policy.platform import load_institutions, load_platform
from models.policy.policies import Policies
from models.policy.reasons import REASONS
from streams.cli import build
from streams.config import columns_of, model_folders
from streams.errors import DipperError
from streams.onboarding.look import config_folder

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "policies"
MODELS = {"business": 0, "consumer": 1}


@pytest.fixture(scope="module")
def examples() -> Policies:
    """Load the example policies, with models by name only."""
    platform = load_platform(EXAMPLES)
    institutions = load_institutions(EXAMPLES, platform)
    columns = columns_of(load_catalog(EXAMPLES / "catalog.toml"))
    return load_policies(EXAMPLES, platform, institutions, columns, MODELS)


def test_examples_load_with_cases_of_their_own(examples: Policies) -> None:
    """Every example policy has four cases or more, and all hold."""
    assert len(examples.infos) == 10
    for info in examples.infos:
        assert len(info.document.cases) >= 4, info.id


def test_examples_cover_both_sides(examples: Policies) -> None:
    """Two consumer lenders, a bank with a channel of its own, two business lenders."""
    platform = load_platform(EXAMPLES)
    pairs = {
        (platform.products[info.product].side, info.id.split("/")[0]) for info in examples.infos
    }
    assert pairs == {
        ("consumer", "dawn"),
        ("consumer", "meadow"),
        ("consumer", "north"),
        ("business", "harbor"),
        ("business", "forge"),
    }
    own = [channel for channel in platform.channels if channel.institution]
    assert [(channel.id, channel.institution) for channel in own] == [("north_card", "north")]


def test_examples_name_known_reasons(examples: Policies) -> None:
    """Every rule of the examples leads to a platform reason, and has a label of its own."""
    codes = {reason.code for reason in REASONS}
    for info in examples.infos:
        for rules in info.rules:
            assert {rule.reason for rule in rules} <= codes
            assert len({rule.label for rule in rules}) == len(rules)


@pytest.fixture
def deployment(tmp_path: Path) -> Path:
    """Copy the examples, with a small scorecard in the place of each trained model."""
    folder = tmp_path / "policies"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("models"))
    catalog = load_catalog(folder / "catalog.toml")
    for name in MODELS:
        save_model(
            folder / "models" / name,
            name=name,
            kind="scorecard",
            model=b"feature,from,to,points\nworst_dpd_days,missing,,1\nworst_dpd_days,,,2\n",
            calibration=Calibration([-math.inf], [50_000]),
            features={"worst_dpd_days": catalog.definition_hashes["worst_dpd_days"]},
        )
    return folder


def test_policy_check_reports_every_case(deployment: Path) -> None:
    """The command prints each case of the policy that it is pointed at."""
    policy = deployment / "institutions/dawn/cash_line.toml"
    result = CliRunner().invoke(build(), ["policy", "check", str(policy)])
    assert result.exit_code == 0, result.output
    assert "ok    a purchase above what is left: eligibility, line_exceeded" in result.output
    assert "1 policies, 9 cases, 0 failed" in result.output


def test_policy_check_fails_with_a_case(deployment: Path) -> None:
    """A case that no longer holds is printed with what came instead, and the exit code is 1."""
    policy = deployment / "institutions/dawn/cash_line.toml"
    policy.write_text(
        policy.read_text().replace("cut_off_pd_ppm = 150_000", "cut_off_pd_ppm = 150_999", 1)
    )
    bands = deployment / "institutions/dawn/cash_line.csv"
    bands.write_text(bands.read_text().replace("150000", "151000"))
    policy.write_text(policy.read_text().replace("150_999", "151_000"))
    result = CliRunner().invoke(build(), ["policy", "check", str(deployment / "institutions/dawn")])
    assert result.exit_code == 1
    assert "FAIL  a risk of 15.1 % is above the cut-off: outcome is approved" in result.output


def test_policy_check_says_what_is_wrong(deployment: Path) -> None:
    """A file that is wrong ends the command with one sentence."""
    policy = deployment / "institutions/dawn/cash_line.toml"
    policy.write_text(policy.read_text().replace("age_years not", "age_yeers not", 1))
    result = CliRunner().invoke(build(), ["policy", "check", str(deployment)])
    assert isinstance(result.exception, DipperError)
    assert "unknown column age_yeers; did you mean age_years?" in str(result.exception)


def test_a_deployment_is_found_from_any_of_its_files(tmp_path: Path) -> None:
    """The command finds platform.toml at or above what it is given, and says when there is none."""
    assert config_folder(EXAMPLES / "institutions/dawn/cash_line.csv").samefile(EXAMPLES)
    assert config_folder(EXAMPLES).samefile(EXAMPLES)
    with pytest.raises(DipperError, match=r"no platform\.toml here or above"):
        config_folder(tmp_path)
    with pytest.raises(DipperError, match="no such file"):
        config_folder(tmp_path / "none")


def test_models_of_the_examples_are_those_the_policies_name() -> None:
    """Where the examples carry models, they are the two that the policies score with."""
    catalog = load_catalog(EXAMPLES / "catalog.toml")
    folders = model_folders(EXAMPLES)
    if not folders:
        pytest.skip("examples/policies has no models")
    _, infos = load_models(folders, catalog.columns, catalog.definition_hashes)
    assert {info.name: row for row, info in enumerate(infos)} == MODELS
