"""The second process of a cold start."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from streams import compile as compiling
from streams import second_compiler as second
from streams.deployment import Deployment
from streams.live import warm_up
from streams.step import Step


def _compiled() -> int:
    """Return how many kernels that others call were compiled in this process, not loaded."""
    return sum(sum(kernel.stats.cache_misses.values()) for kernel in compiling._inner)


def _accept(_partition: int, _value: bytes, _offset: int) -> bool:
    return True


@pytest.mark.timeout(900)
def test_the_half_is_what_a_wave_calls(step_deployment: Deployment) -> None:
    """Once a wave has been compiled, the other process would find all of its half in the cache: so
    what it compiles is what the wave asks for, and not the same for other types.
    """
    warm_up(Step(step_deployment, 0, 1, _accept))
    assert not second.is_cold()
    before = _compiled()
    second.compile_half(step_deployment.folder)
    names = {kernel.py_func.__name__ for kernel in compiling._inner if kernel.overloads}
    assert {"_close_wave", "score_block"} <= names
    assert _compiled() == before


def test_it_is_cold_where_nothing_was_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty cache is cold, and then another process starts, and ends with the block."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert second.is_cold()
    started: list[subprocess.Popen[bytes]] = []
    begin = subprocess.Popen

    def note(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        started.append(begin(command, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", note)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with second.second_compiler(tmp_path):
        assert len(started) == 1
    assert started[0].returncode is not None
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    with second.second_compiler(tmp_path):
        assert len(started) == 1
