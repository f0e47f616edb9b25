"""Files of at most 350 lines, functions of at most 70: what grows beyond is two things."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.house.tree import ROOT, Source, failures_as_text, sources

FILE_LINES_MAX = 350
FUNCTION_LINES_MAX = 70
ARCHITECTURE_LINES_MAX = 250


def _functions(source: Source) -> Iterator[tuple[str, int, int]]:
    """Name, first line and number of lines of each function, its docstring not counted."""
    for node in ast.walk(source.tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node, clean=False) is not None:
                said = node.body[0]
                assert said.end_lineno is not None
                lines -= said.end_lineno - said.lineno + 1
            yield node.name, node.lineno, lines


def test_files_are_short() -> None:
    failures = [
        f"{source} has {count} lines"
        for source in sources()
        if (count := len(source.text.splitlines())) > FILE_LINES_MAX
    ]
    assert not failures, failures_as_text(
        failures, f"More than {FILE_LINES_MAX}: find the second idea in it and give that a file of its own."
    )


def test_functions_are_short() -> None:
    failures = [
        f"{source}:{line} {name} has {count} lines"
        for source in sources()
        for name, line, count in _functions(source)
        if count > FUNCTION_LINES_MAX
    ]
    assert not failures, failures_as_text(
        failures, f"More than {FUNCTION_LINES_MAX} without the docstring: name the steps, one function each."
    )


def test_the_architecture_is_read_in_one_sitting() -> None:
    count = len((ROOT / "ARCHITECTURE.md").read_text("utf-8").splitlines())
    assert count <= ARCHITECTURE_LINES_MAX, f"ARCHITECTURE.md has {count} lines: say less, or say it in the files"
