"""The files that the rules of the house are about, read once: paths, dotted names, syntax trees."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

FLOORS = {
    "words": 0,
    "structures": 1,
    "protocol": 2,
    "storage": 3,
    "codecs": 3,
    "wire": 3,
    "origins": 3,
    "prediction": 3,
    "simulation": 3,
    "actors": 4,
    "client": 4,
    "serve": 5,
    "cli": 5,
    "testing": 5,
}
"""Every package of the house and the floor it stands on."""


class Imported(NamedTuple):
    """One import: the dotted name, the name taken out of it ('' for the module), where, and how."""

    module: str
    name: str
    line: int
    for_types_only: bool


@dataclass(frozen=True)
class Source:
    """One Python file."""

    path: Path

    def __str__(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        """What stands in it."""
        return self.path.read_text("utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.text, str(self))

    @property
    def module(self) -> str:
        """The name it is imported by; the files of actors/ and serve/ belong to daycache_ray."""
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        parts = ("daycache_ray", *parts) if parts[0] in {"actors", "serve"} else parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def package(self) -> str:
        """Its package of the house ('words', 'actors'), '' for the shop window."""
        parts = self.module.split(".")
        return parts[1] if len(parts) > 1 else ""

    def imports(self) -> Iterator[Imported]:
        """Every import, wherever it stands."""
        types_only = {
            id(inner)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for statement in node.body
            for inner in ast.walk(statement)
        }
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Imported(alias.name, "", node.lineno, id(node) in types_only)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield Imported(node.module or ".", alias.name, node.lineno, id(node) in types_only)


@cache
def files() -> tuple[Path, ...]:
    """Every file that git tracks or would track; links are listed as themselves."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=60,
    ).stdout.decode()
    paths = (ROOT / name for name in sorted(set(listed.split("\0")) - {""}))
    return tuple(path for path in paths if path.is_symlink() or path.is_file())


@cache
def sources(*folders: str) -> tuple[Source, ...]:
    """The Python files below some top-level folders, all of them without an argument."""
    return tuple(
        Source(path)
        for path in files()
        if path.suffix == ".py" and (not folders or path.relative_to(ROOT).parts[0] in folders)
    )


def house() -> tuple[Source, ...]:
    """The Python files that users install."""
    return sources("daycache_ray", "actors", "serve")


def failures_as_text(failures: list[str], advice: str) -> str:
    """What a test prints: the culprits, one a line, and what to do."""
    return "\n".join([*failures, "", advice])
