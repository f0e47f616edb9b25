"""What clients asked and heard, as JSON lines, for checkers outside this project.

One line an operation: client, seq (0 for a read), op, level, key, value (written, or found by a read),
expected (version of a compare-and-set), invoke_ns, return_ns (null: never heard), result, version. Versions
are [epoch, lsn]; times are the simulation's true time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from daycache_ray.words.operations import Level, Operation, OperationKind

Told = dict[str, Any]


def told(
    client: int, sequence: int, level: Level, key: bytes, operation: Operation | None, found: bytes | None,
    times_ns: tuple[int, int | None], result: str, version: tuple[int, int] | None,
) -> Told:  # fmt: skip
    """Return one operation as a line of the history."""
    op, value, expected = "get", found, None
    if operation is not None:
        op = OperationKind(operation.kind).name.lower()
        value = operation.value
        if operation.kind == OperationKind.INCREMENT:
            value = b"%d" % operation.delta
        elif operation.kind == OperationKind.COMPARE_AND_SET:
            expected = [operation.expected_epoch, operation.expected_lsn]
    return {
        "client": client, "seq": sequence, "op": op, "level": level.name.lower(), "key": key.decode(),
        "value": value.decode() if value is not None else None, "expected": expected, "invoke_ns": times_ns[0],
        "return_ns": times_ns[1], "result": result, "version": list(version) if version is not None else None,
    }  # fmt: skip


def write_history(path: Path, lines: Iterable[Told]) -> None:
    """Write the history to a file, one JSON object a line; raises OSError where the folder is missing."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
