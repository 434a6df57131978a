"""The whole live loop takes nothing from the allocator for an event: objects a batch, no more."""

import json
from pathlib import Path

import pytest

from streams.bench.allocations import run_counted
from streams.bench.prepare import prepare
from streams.bench.step import KINDS, Size, limits_for


@pytest.mark.timeout(900)
def test_the_live_loop_allocates_nothing_for_an_event(tmp_path: Path) -> None:
    """From a broker's answer to the committed offset, as many batches of twice as many events call
    the allocator as often; a step that makes one object an event is seen.
    """
    config = tmp_path / "config"
    prepare(config, trees=5, leaves=7)
    limits = json.dumps(limits_for(Size(events=200_000, applicants=1_000)))
    found = run_counted(tmp_path, "-m", "streams.bench.allocating_live", str(config), limits)
    print(found)
    for kind in KINDS:
        assert abs(found[kind]) < 0.1
        assert found[f"{kind} with an object an event"] > 0.9
