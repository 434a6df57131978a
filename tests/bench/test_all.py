"""`dipper bench all`: what fails or hangs is named, on the page too, and takes nothing with it."""

from pathlib import Path

import pytest

from streams.bench.all import PARTS, Part, run_all
from streams.bench.page import render
from streams.bench.results import FOLDER_VARIABLE, benchmark, forget, load, load_failures, save
from streams.errors import DipperError


@pytest.mark.timeout(300)
def test_a_part_that_fails_or_hangs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part has its sentence, old results of it are gone, those of others stay, and a later
    success takes the sentence back.
    """
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    for name in ("unknown", "hangs", "memory"):
        save(benchmark(name, f"dipper bench {name}", [{"bytes": 1}], "", 1.0))
    parts = {
        "unknown": Part(("no-such-benchmark",)),
        "hangs": Part(("start",), seconds_max=0.5),
    }
    said: list[str] = []
    failed = run_all([], said.append, parts=parts)
    assert "no-such-benchmark" in said[0]
    assert failed["unknown"].startswith("exit code 2: ")
    assert failed["hangs"] == "it had not ended after 0 s"
    assert load_failures() == failed
    assert list(load()) == ["memory"]
    page = render(load(), failed)
    assert "**`hangs` failed in this run**: it had not ended after 0 s" in page
    forget("hangs", tmp_path)
    assert list(load_failures()) == ["unknown"]


def test_an_unknown_part_is_refused() -> None:
    """The sentence lists what there is."""
    with pytest.raises(DipperError, match="no such benchmark: speed; known: step, start"):
        run_all(["speed"], print)
    assert "latency" in PARTS
