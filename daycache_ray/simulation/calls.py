"""What one operation looks like to the linearizability checker: its kind by value, where versions were used."""

from __future__ import annotations

from typing import Any

from daycache_ray.simulation.linearizability import FOREVER, Call
from daycache_ray.simulation.truth import Truth
from daycache_ray.words.operations import Level, Operation, OperationKind, OperationResult, Outcome

KINDS = {OperationKind.SET: "write", OperationKind.DELETE: "delete", OperationKind.ADD: "add"}


def call_told(
    operation: Operation | None, level: Level, times_ns: tuple[int, int], seen: Any, result: OperationResult | None,
    known: bool, truth: Truth,
) -> Call:  # fmt: skip
    """Return the call that an operation was; None is a read, which saw `seen`. Its result is None when not heard."""
    start_ns, end_ns = times_ns
    if operation is None:
        return Call(start_ns, end_ns, "read", seen=seen, known=known)
    done = result is not None and result.outcome == Outcome.DONE
    if operation.kind == OperationKind.INCREMENT:
        number = result.number if result is not None else 0
        return Call(start_ns, end_ns, "increment", operation.delta, None, done, number, known)
    if operation.kind == OperationKind.INVALIDATE_TAG:
        known = known and level == Level.STRONG
        hid = result is not None and result.number > 0
        return Call(start_ns, end_ns if known else FOREVER, "delete", None, None, hid, None, known)
    expected = truth.records.get(operation.expected_lsn)
    current = truth.records.get(result.lsn) if result is not None and not done and result.lsn else None
    before = expected.value if expected is not None and expected.epoch == operation.expected_epoch else None
    if operation.expected_lsn and before is None:
        before = b"never"
    kind = KINDS.get(OperationKind(operation.kind), "swap")
    return Call(
        start_ns, end_ns, kind, operation.value, before, done, current.value if current is not None else None, known
    )
