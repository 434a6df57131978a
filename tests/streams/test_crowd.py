"""Deployments of many institutions, made from the few of the examples."""

import re
import shutil
from pathlib import Path

import pytest

from streams.config import load_deployment
from streams.demo.crowd import make_crowd
from streams.demo.run import copy_config
from streams.errors import DipperError
from tests.deployment import POLICIES


@pytest.mark.parametrize("count", [1, 5, 12, 30])
def test_a_crowd_of_any_size_is_a_deployment(tmp_path: Path, count: int) -> None:
    """Each has its own id, budget and prices, and the folder passes every check of a deployment."""
    config = copy_config(POLICIES, tmp_path)
    ids = make_crowd(config, count)
    deployment = load_deployment(config)
    assert deployment.institution_ids == ids
    assert len(ids) == count
    assert {info.institution for info in deployment.policies.infos} == set(range(count))


def test_a_crowd_is_the_same_each_time_and_differs_within(tmp_path: Path) -> None:
    """Two runs write the same bytes; two copies of one institution ask different prices."""
    texts = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        config = copy_config(POLICIES, tmp_path / name)
        make_crowd(config, 12)
        root = config / "institutions"
        texts.append({p.relative_to(root): p.read_text() for p in sorted(root.rglob("*.*"))})
    assert texts[0] == texts[1]
    tables = [text for path, text in texts[0].items() if path.name == "instalment_loan.csv"]
    assert len(set(tables)) == len(tables) > 5


def test_comments_and_lists_are_taken_over(tmp_path: Path) -> None:
    """A budget with a comment behind it is varied like any other; a list has no price to vary."""
    config = copy_config(POLICIES, tmp_path)
    tokens = "kind,token\ndevice,d1\n"
    for path in (config / "institutions").glob("*/institution.toml"):
        text = re.sub(r"(?m)^(\w+_cents = .*)$", r"\1   # of its board", path.read_text())
        path.write_text(text)
        (path.parent / "blocked.csv").write_text(tokens)
    made = make_crowd(config, 12)
    caps = load_deployment(config).caps
    assert len({tuple(of.items()) for of in caps.values()}) > 5
    for name in made:
        assert (config / "institutions" / name / "blocked.csv").read_text() == tokens


def test_a_channel_of_ones_own_stays_that(tmp_path: Path) -> None:
    """No copy serves a channel that belongs to one institution; where that one is left out, the
    channel is open.
    """
    config = copy_config(POLICIES, tmp_path)
    make_crowd(config, 30)
    deployment = load_deployment(config)
    card = deployment.platform.product_code("card_line")
    assert len([info for info in deployment.policies.infos if info.product == card]) == 1
    make_crowd(config, 2)
    assert all(channel.institution is None for channel in load_deployment(config).platform.channels)


def test_a_crowd_needs_one_to_begin_with(tmp_path: Path) -> None:
    """A folder without institutions is refused with a sentence."""
    config = copy_config(POLICIES, tmp_path)
    shutil.rmtree(config / "institutions")
    with pytest.raises(DipperError, match="no institution here"):
        make_crowd(config, 3)
