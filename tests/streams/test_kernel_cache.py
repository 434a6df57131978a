"""Where compiled kernels are kept, and that an edit is never answered with stale code."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from numba import config

from streams import kernel_cache
from streams.kernel_cache import cache_folder, code_hash, drop_unused, reached_sources

_ROOT = Path(__file__).resolve().parents[2]
_WAVE, _WORDS = _ROOT / "streams/wave.py", _ROOT / "streams/codec/words.py"


def test_bounds_checked_kernels_have_their_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba's cache key ignores bounds checking, so the folder's name must not."""
    monkeypatch.setattr(config, "BOUNDSCHECK", None)
    plain = cache_folder(_WORDS)
    monkeypatch.setattr(config, "BOUNDSCHECK", True)
    assert cache_folder(_WORDS) != plain


def test_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """NUMBA_CACHE_DIR names where compiled kernels are kept."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert cache_folder(_WORDS).is_relative_to(tmp_path)


def _reached(path: Path) -> set[str]:
    return {each.relative_to(_ROOT).as_posix() for each in reached_sources(path)}


def test_cache_follows_what_a_kernel_reaches_and_nothing_else() -> None:
    """The name of a kernel's folder covers all that its module imports, and no door or command."""
    inner, outer = _reached(_WORDS), _reached(_WAVE)
    assert {"streams/codec/words.py", "streams/compile.py", "streams/schema.py"} <= inner
    assert "streams/codec/encode.py" not in inner
    assert {"streams/codec/encode.py", "models/trees.py", "features/tables.py"} <= outer
    assert not any(path.startswith(("streams/commands/", "streams/control/")) for path in outer)
    assert code_hash(_WORDS) != code_hash(_WAVE)


_LEAF = """
from streams.compile import kernel

@kernel
def leaf(x):
    return x + {number}
"""
_MIDDLE = """
from streams.compile import kernel
from streams import limits
from streams.leaf import (
    leaf,
)

@kernel
def middle(x):
    return leaf(x) * limits.FACTOR
"""
_OTHER = """
from streams.compile import kernel

@kernel
def other(x):
    return x - 1
"""
_MAIN = """
from streams.middle import middle
from streams.other import other

print(middle(20), other(8), *(sum(k.stats.cache_misses.values()) for k in (middle, other)))
"""


def _run(folder: Path) -> list[int]:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-B", "-c", _MAIN],
        env=environment, cwd=folder, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return [int(each) for each in done.stdout.split()]


def test_an_edit_recompiles_what_reaches_it_and_leaves_the_rest(tmp_path: Path) -> None:
    """After an edit of an inner kernel, or of a constant, its callers give the new value; a kernel
    that reaches neither comes from the cache.
    """
    sources = tmp_path / "streams"
    sources.mkdir()
    for name in ("__init__", "compile", "kernel_cache", "kernel_library", "progress"):
        shutil.copy(_ROOT / f"streams/{name}.py", sources)
    for name, text in (("middle", _MIDDLE), ("other", _OTHER), ("limits", "FACTOR = 2\n")):
        (sources / f"{name}.py").write_text(text)
    (sources / "leaf.py").write_text(_LEAF.format(number=1))
    assert _run(tmp_path) == [42, 7, 1, 1]
    assert _run(tmp_path) == [42, 7, 0, 0]
    (sources / "leaf.py").write_text(_LEAF.format(number=2))
    assert _run(tmp_path) == [44, 7, 1, 0]
    (sources / "limits.py").write_text("FACTOR = 3\n")
    assert _run(tmp_path) == [66, 7, 1, 0]
    (sources / "leaf.py").write_text(_LEAF.format(number=1))
    (sources / "limits.py").write_text("FACTOR = 2\n")
    assert _run(tmp_path) == [42, 7, 0, 0]


def test_folders_that_nobody_uses_are_removed(tmp_path: Path) -> None:
    """A folder of an earlier state of the code goes once nobody has started with it for weeks."""
    old, fresh = tmp_path / "old", tmp_path / "fresh"
    for folder, at in ((old, 1_000), (fresh, 3_000)):
        folder.mkdir()
        (folder / "kernel.nbc").touch()
        os.utime(folder, (at, at))
    drop_unused(tmp_path, 2_000)
    assert [each.name for each in tmp_path.iterdir()] == ["fresh"]


def test_two_processes_may_open_a_folder_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who finds no folder, and then finds that another made it meanwhile, goes on with it."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    module = Path(kernel_cache.__file__)
    folder = kernel_cache._open_folder(module)
    looks = iter([False])  # not there at the first look, and there when it is to be made
    monkeypatch.setattr(Path, "is_dir", lambda _: next(looks, True))
    assert kernel_cache._open_folder(module) == folder
