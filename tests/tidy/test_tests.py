"""Tests say what they hold."""

import ast

from tests.tidy.source import sources


def test_every_test_states_its_rule() -> None:
    """Each test function opens with a docstring that is a sentence."""
    silent = [
        source.at(node.lineno)
        for source in sources("tests")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not (ast.get_docstring(node) or "").rstrip().endswith(".")
    ]
    assert not silent, "\n".join(silent)


def test_nothing_is_switched_off() -> None:
    """No test is skipped or expected to fail by a mark; a fixture that lacks its means says so."""
    off = [
        source.at(node.lineno)
        for source in sources("tests")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and node.attr in {"skipif", "xfail", "importorskip"}
    ]
    assert not off, "\n".join(off)
