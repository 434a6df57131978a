"""What can be read at one sitting: lengths of functions, files and lines; names that say."""

import ast
from collections.abc import Iterator

from tests.tidy.source import FOLDERS, ROOT, Source, parse, sources

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500
COLUMNS_MAX = 100
_SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}


def _functions(source: Source) -> Iterator[tuple[str, int, int]]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            text = ast.get_docstring(node) is not None
            said = (first.end_lineno or 0) - first.lineno + 1 if text else 0
            yield node.name, node.lineno, (node.end_lineno or 0) - node.lineno + 1 - said


def _faults(source: Source) -> Iterator[str]:
    lines = source.text.splitlines()
    if len(lines) > FILE_LINES_MAX:
        yield f"{source.at(1)}: {len(lines)} lines, at most {FILE_LINES_MAX}; split by what it does"
    for number, text in enumerate(lines, 1):
        if len(text) > COLUMNS_MAX:
            yield f"{source.at(number)}: {len(text)} columns, at most {COLUMNS_MAX}"
    for name, line, length in _functions(source):
        if length > FUNCTION_LINES_MAX:
            yield f"{source.at(line)}: {name} has {length} lines, at most {FUNCTION_LINES_MAX}"


def test_functions_files_and_lines_are_short() -> None:
    """A function has at most 70 lines without its docstring, a file 500, a line 100 columns."""
    faults = [fault for source in sources(*FOLDERS) for fault in _faults(source)]
    assert not faults, "\n".join(faults)


def test_sizes_are_measured() -> None:
    """The measure counts a function's lines without its docstring, and sees each excess."""
    body = "\n".join(["    x = 1"] * 70)
    path = ROOT / "streams" / "sample.py"
    short = parse(f'def f() -> None:\n    """One.\n\n    Two.\n    """\n{body[:-10]}\n', path)
    assert list(_faults(short)) == []
    long = parse(f"def f() -> None:\n{body}\n" + "# \n" * 500 + "#" * 101 + "\n", path)
    assert len(list(_faults(long))) == 3


def test_no_module_is_named_for_nothing() -> None:
    """No module is called utils or the like: a name says what stands in it."""
    vague = [
        str(path.relative_to(ROOT))
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in {"", ".py"} and path.stem in _SAYS_NOTHING
    ]
    assert not vague, vague
