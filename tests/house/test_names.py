"""Names say what a thing is or does, and in which unit."""

from __future__ import annotations

import ast
import re

from tests.house.tree import failures_as_text, files, house, sources

EMPTY_WORDS = {"Manager", "Helper", "Helpers", "Util", "Utils", "Base", "Impl", "Info"}
EMPTY_FILES = {"util", "utils", "common", "helper", "helpers", "constants", "misc", "base", "manager"}
NEEDS_UNIT = {
    "ttl": "ttl_s",
    "timeout": "timeout_s",
    "delay": "delay_s",
    "interval": "interval_s",
    "duration": "duration_s",
    "deadline": "deadline_s",
    "max_bytes": "bytes_max",
    "min_bytes": "bytes_min",
    "max_count": "count_max",
}
"""Names of parameters that leave the unit open, and what to write."""


def _words(name: str) -> set[str]:
    return set(re.findall(r"[A-Z][a-z0-9]*|[a-z0-9]+", name))


def test_class_names_say_something() -> None:
    failures = [
        f"{source}:{node.lineno} class {node.name}"
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef) and _words(node.name) & EMPTY_WORDS
    ]
    assert not failures, failures_as_text(
        failures, f"Name it for what it does; {', '.join(sorted(EMPTY_WORDS))} say nothing."
    )


def test_file_names_say_something() -> None:
    failures = [str(path) for path in files() if {path.stem, *path.parent.parts} & EMPTY_FILES and path.suffix == ".py"]
    assert not failures, failures_as_text(failures, "Such a file grows for ever: put each thing where it belongs.")


def test_parameters_have_units() -> None:
    failures = []
    for source in house():
        for node in ast.walk(source.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                failures += [
                    f"{source}:{argument.lineno} {node.name}({argument.arg}): write {NEEDS_UNIT[argument.arg]}"
                    for argument in arguments
                    if argument.arg in NEEDS_UNIT
                ]
    assert not failures, failures_as_text(failures, "Units last: _s, _ns, _bytes, _count, _ratio, …_max.")
