"""Each promise in docs/GUARANTEES.md names a test, and that test exists."""

import ast
import re

from tests.tidy.source import ROOT

_PAGE = (ROOT / "docs" / "GUARANTEES.md").read_text()
# `::test_x` alone is of the file named last.
_NAMED = re.compile(r"`(tests/[\w/]+\.py)?::(test_\w+)`")


def _missing(text: str) -> list[str]:
    found = []
    last = ""
    for path, name in _NAMED.findall(text):
        path = last = path or last
        file = ROOT / path
        tree = ast.parse(file.read_text()) if file.is_file() else ast.parse("")
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        if name not in {node.name for node in ast.walk(tree) if isinstance(node, kinds)}:
            found.append(f"{path}::{name}")
    return found


def test_every_named_test_exists() -> None:
    """A promise whose test was renamed or removed is a promise that nothing holds."""
    assert _missing(_PAGE) == []
    assert len(_missing("`tests/tidy/test_guarantees.py::test_none` `tests/no.py::test_x`")) == 2


def test_every_promise_names_a_test() -> None:
    """Each row of a table with a column `test` names at least one."""
    tables = re.findall(r"\| what holds \| test \|\n\|---\|---\|\n((?:\|.*\n)+)", _PAGE)
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) > 20
    assert [row for row in rows if not _NAMED.search(row)] == []
