"""Documents name what exists: paths, modules, make targets, commands."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from streams import cli
from tests.tidy.source import FOLDERS, ROOT, module_path

_SKIPPED = {".venv", ".cache", ".git", "node_modules", "build", "dist"}
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not _SKIPPED & set(path.relative_to(ROOT).parts) and ".egg-info" not in str(path)
)
_CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
_PATH = re.compile(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)}|\.ci)/[\w./*-]*")
_FILE = re.compile(r"(?<![\w./-])[\w-]+\.(?:md|toml|lock|yml)(?![\w/])")
_MODULE = re.compile(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})(?:\.[a-z_]\w*)+")
_MAKE = re.compile(r"(?:^|[`$&;] ?)make ((?:[a-z]+ ?)+)", re.MULTILINE)
_DIPPER = re.compile(
    r"(?:^|[`$&;|] ?)(?:\.venv/bin/)?dipper ((?:[a-z]+(?:-[a-z]+)* ?)+)", re.MULTILINE
)


def _code(text: str) -> str:
    return "\n".join(_CODE.findall(text))


def _missing_paths(text: str, folder: Path) -> Iterator[str]:
    code = _code(text)
    for name in _PATH.findall(code):
        if not list(ROOT.glob(name.rstrip("./"))):
            yield f"no such path: {name}"
    for name in _FILE.findall(code):
        # A file's bare name may stand for one beside the document or anywhere under examples.
        known = (ROOT / name).exists() or (folder / name).exists()
        if not known and not list((ROOT / "examples").rglob(name)):
            yield f"no such file: {name}"
    for name in _MODULE.findall(code):
        # a.b.c may be a name in module a.b
        if not module_path(name) and not module_path(name.rpartition(".")[0]):
            yield f"no such module: {name}"


def _missing_targets(text: str) -> Iterator[str]:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for names in _MAKE.findall(_code(text)):
        yield from (f"no such target: make {name}" for name in names.split() if name not in targets)


def _missing_commands(text: str) -> Iterator[str]:
    for words in _DIPPER.findall(_code(text)):
        group = get_command(cli.app)
        for word in words.split():
            known = getattr(group, "commands", None)
            if known is None:
                break  # what follows a command are its arguments
            if word not in known:
                yield f"no such command: dipper {words.strip()}"
                break
            group = known[word]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_name_what_exists(path: Path) -> None:
    """Every path, module, make target and command in a document's code exists."""
    text = path.read_text()
    faults = [
        *_missing_paths(text, path.parent),
        *_missing_targets(text),
        *_missing_commands(text),
    ]
    assert not faults, f"{path.relative_to(ROOT)}: " + "; ".join(faults)


def test_what_does_not_exist_is_seen() -> None:
    """A wrong path, file, module, target and command in code are each found; prose is not read."""
    text = "`streams/nowhere.py` `no.toml` `streams.none.f` `make nothing` `dipper nothing`"
    found = [*_missing_paths(text, ROOT), *_missing_targets(text), *_missing_commands(text)]
    assert len(found) == 5
    assert not list(_missing_paths("streams/nowhere.py, in prose", ROOT))
    good = "`streams/topology.py` `pyproject.toml` `streams.topology.STAGES` `make check test`"
    good += "\n```\n$ dipper broker --kind kafka\n```\n"
    found = [*_missing_paths(good, ROOT), *_missing_targets(good), *_missing_commands(good)]
    assert found == []


def test_every_target_is_told_by_help() -> None:
    """`make help` has a line for each target, and each target is declared phony."""
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", text, re.MULTILINE))
    told = set(re.findall(r"^([a-z]+):.*## \S", text, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    assert targets == told == set(phony[1].split())
