"""The list of stages is true: each has its module, and the module says what it is."""

import ast

from streams.topology import STAGES, STEP_OUTPUTS, TOPICS
from tests.tidy.source import module_path

# Stages whose module is still to come; a name leaves this set when its module lands.
_TO_COME = frozenset({"commit"})


def test_stages_have_their_modules() -> None:
    """The module that a stage names exists and opens with a docstring."""
    missing = {stage.name for stage in STAGES if module_path(stage.module) is None}
    assert missing <= _TO_COME, missing
    silent = [
        stage.module
        for stage in STAGES
        if (path := module_path(stage.module))
        and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent, silent


def test_stages_are_numbered_in_order() -> None:
    """Stages count from 1 without a gap, and no two bear one name."""
    assert [stage.n for stage in STAGES] == list(range(1, len(STAGES) + 1))
    assert len({stage.name for stage in STAGES}) == len(STAGES)


def test_topics_have_one_name_each() -> None:
    """Topics are distinct, all ours, and what the step writes is among them."""
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)
    assert all(topic.name.startswith("dipper.") for topic in TOPICS)
    assert set(STEP_OUTPUTS) <= set(TOPICS)
