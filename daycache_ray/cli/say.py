"""What a command prints: sentences and tables for people, one JSON object with --json; errors and exit codes.

Standard output has the result and nothing else; what went wrong goes to standard error.
"""

from __future__ import annotations

import base64
import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from daycache_ray.words.errors import CacheError

FAILED = 1
"""Exit code of a command that could not do it, or of `get` without an entry; 2 is a wrong command line."""

PIPE_COLUMNS = 200

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@contextlib.contextmanager
def mistakes_said(as_json: bool) -> Iterator[None]:
    """Turn an error of the cache, or of the way to it, into a sentence and exit code 1."""
    try:
        yield
    except (CacheError, ConnectionError, OSError) as error:
        if as_json:
            typer.echo(json.dumps({"error": type(error).__name__, "message": str(error)}))
        else:
            typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise typer.Exit(FAILED) from None


def result(as_json: bool, fields: Mapping[str, Any], text: str) -> None:
    """Print `fields` as JSON, or `text`."""
    typer.echo(json.dumps(plain(fields)) if as_json else text)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows for people; columns whose cells are all numbers stand to the right."""
    drawn = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[place], (int, float)) for row in rows)
        drawn.add_column(column, justify="right" if numbers else "left", no_wrap=True)
    for row in rows:
        drawn.add_row(*(_cell(cell) for cell in row))
    # A pipe has no width: whoever reads it wants whole names.
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else PIPE_COLUMNS)
    console.print(drawn, crop=False)


def in_bytes(count: int) -> str:
    """Return a number of bytes for people.

    >>> in_bytes(512), in_bytes(256 * 1024 * 1024), in_bytes(1536 * 1024 * 1024)
    ('512 B', '256 MiB', '1.5 GiB')
    """
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.3g} {unit}" if size < 1000 else f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.3g} TiB"


def plain(value: Any) -> Any:
    """Return `value` in terms of JSON: bytes as {"base64": …}, what JSON cannot say as its repr.

    >>> plain({"a": (1, b"x")})
    {'a': [1, {'base64': 'eA=='}]}
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"base64": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(inner) for inner in value]
    return repr(value)


def _cell(value: Any) -> str:
    return f"{value:,}".replace(",", " ") if isinstance(value, int) and not isinstance(value, bool) else str(value)
