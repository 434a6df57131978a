"""The repository's own source, parsed once, for the tests that hold its habits."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("streams", "features", "models", "monitoring")
FOLDERS = (*PACKAGES, "tests", "examples")


class Source(NamedTuple):
    """One Python file: where, its dotted module name, its text and its syntax tree."""

    path: Path
    module: str
    text: str
    tree: ast.Module

    def at(self, line: int) -> str:
        """Return "path:line" as editors and terminals understand it."""
        return f"{self.path.relative_to(ROOT)}:{line}"


@cache
def sources(*folders: str) -> tuple[Source, ...]:
    """Return every Python file under the folders, in order of path."""
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return tuple(parse(path.read_text(), path) for path in found)


def parse(text: str, path: Path) -> Source:
    """Return the source of one file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Source(path, module, text, ast.parse(text))


def imports(source: Source) -> Iterator[tuple[str, int]]:
    """Yield each absolute module name that the file imports anywhere, with its line.

    `from a.b import c` gives a.b.c where that is a module of ours, else a.b.
    """
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source.at(node.lineno)}: imports are absolute"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if module_path(full) else node.module), node.lineno


def module_path(module: str) -> Path | None:
    """Return the file of a module of ours, or None."""
    base = ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file() and module.split(".", maxsplit=1)[0] in FOLDERS:
            return path
    return None
