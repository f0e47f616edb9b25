"""Everything public is said, and every example runs."""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.house.tree import ROOT, Source, failures_as_text, files, house, sources

Definition: TypeAlias = "ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef"
NOT_RUN = re.compile(r"<!--\s*not run: (?P<reason>[^>]+?)\s*-->\s*$")
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("source", sources(), ids=str)
def test_every_file_opens_with_a_docstring(source: Source) -> None:
    assert ast.get_docstring(source.tree), f"{source}: open with a docstring: what it is, what it refuses to know"


def _public(body: list[ast.stmt], path: str = "") -> Iterator[tuple[str, Definition]]:
    for node in body:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) or node.name.startswith("_"):
            continue
        yield f"{path}{node.name}", node
        if isinstance(node, ast.ClassDef):
            yield from _public(node.body, f"{path}{node.name}.")


def _needs_docstring(node: Definition) -> bool:
    marks = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
    return "overload" not in marks and ".setter" not in marks


def test_every_public_callable_has_a_docstring() -> None:
    failures = [
        f"{source}:{node.lineno} {name}"
        for source in house()
        for name, node in _public(source.tree.body)
        if _needs_docstring(node) and not ast.get_docstring(node)
    ]
    assert not failures, failures_as_text(
        failures, "Say in a sentence what it does; arguments with ranges and units; what it raises and what then."
    )


@pytest.mark.parametrize("source", [source for source in house() if ">>>" in source.text], ids=str)
def test_doctests(source: Source) -> None:
    module = importlib.import_module(source.module)

    found = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    assert found, f"{source}: its >>> stand where doctest does not look"

    done = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)

    assert done.failed == 0, f"{source}: {done.failed} examples do not run; see above"


def blocks(text: str) -> list[str]:
    """The python blocks of a document that are to run, in order."""
    found = []
    for match in BLOCK.finditer(text):
        if not NOT_RUN.search(text[: match.start()].rstrip()):
            found.append(match["code"])
    return found


DOCUMENTS = [
    path for path in files() if path.suffix == ".md" and not path.is_symlink() and blocks(path.read_text("utf-8"))
]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_examples_of_a_document_run(path: Path, tmp_path: Path) -> None:
    """All blocks of a document, one after the other in one process, as a reader would type them."""
    script = tmp_path / "example.py"
    script.write_text("\n\n".join(blocks(path.read_text("utf-8"))), "utf-8")

    done = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )

    assert done.returncode == 0, (
        f"an example of {path.name} does not run; correct it, or write <!-- not run: why --> on the line before:\n"
        f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    )


def test_blocks_are_found_and_left_out() -> None:
    text = (
        "```python\na = 1\n```\n\n<!-- not run: needs two machines -->\n```python\nb = 2\n```\n"
        "```console\n$ ls\n```\n\n```python\nc = 3\n```\n"
    )

    assert blocks(text) == ["a = 1\n", "c = 3\n"]
