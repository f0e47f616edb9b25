"""What an operation does to its key, decided by the primary when it appends (R20).

The caller shows the newest record of the key in log order, settled or not; what comes back is the
record's content or the answer of an operation that changes nothing. Nothing here reads a store or a clock.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from daycache_ray.structures.tags import TAG_ROW, TAGGED, value_start
from daycache_ray.words.operations import Operation, OperationKind, OperationResult, Outcome
from daycache_ray.words.records import Codec, Flag, RecordKind

# Plain numbers: an operator on an IntFlag costs half a microsecond.
_NEGATIVE, _LONG_KEY, _LARGE = int(Flag.NEGATIVE), int(Flag.LONG_KEY), int(Flag.LARGE)
_COMPRESSED: Final = int(Flag.COMPRESSED)
_TOUCHED: Final = ~int(Flag.LARGE | Flag.PREFETCHED)
_DIRTY: Final = int(Flag.DIRTY)
_NOT_LARGE: Final = ~(_LARGE | TAG_ROW)
_PREFIXED: Final = _LONG_KEY | TAGGED
_PUT: Final = int(RecordKind.PUT)
_DOUBLE: Final = struct.Struct("<d")


class Visible(NamedTuple):
    """The newest entry of a key: its version and what it holds. An expired or deleted one is no entry.

    `payload` is the value behind the header, with what stands in front of it (full key, tags); None where it was
    not needed, or cannot be read.
    """

    epoch: int
    lsn: int
    expires_at_ns: int
    codec: int
    flags: int
    cost_us: int
    payload: bytes | None
    priority: int = 0


class Change(NamedTuple):
    """The content of the record to append."""

    kind: int
    value: bytes = b""
    codec: int = 0
    flags: int = 0
    expires_at_ns: int = 0
    cost_us: int = 0
    number: int | float = 0
    priority: int = 0


NOT_DONE: Final = OperationResult(Outcome.NOT_DONE)
NOT_A_NUMBER: Final = OperationResult(Outcome.NOT_A_NUMBER)
CORRUPT: Final = OperationResult(Outcome.CORRUPT)
NEEDS_PAYLOAD: Final = frozenset({int(OperationKind.TOUCH), int(OperationKind.INCREMENT)})
"""The kinds that look at more of an entry than its version."""

_NUMBER_LIMIT: Final = 2**63
"""Sums from here on are refused: an answer carries 64 bits. Without `increment`, integers have no limit."""


def expiry_ns(ttl_ns: int, wall_ns: int) -> int:
    """Return the wall-clock nanoseconds at which a TTL that starts now ends, see Operation; 0 for never.

    >>> expiry_ns(5, 1000), expiry_ns(0, 1000), expiry_ns(-3000, 1000)
    (1005, 0, 3000)
    """
    if ttl_ns > 0:
        return wall_ns + ttl_ns
    return -ttl_ns if ttl_ns < -1 else 0


def evaluate(
    operation: Operation, visible: Visible | None, wall_ns: int, is_behind: bool = False
) -> Change | OperationResult:
    """Return the record's content, or the answer when nothing changes.

    `is_behind`: the origin must hear of it later, so the record is dirty. A delete then leaves a remembered miss
    that is dirty: nobody loads the old value while the origin still has it.
    """
    if is_behind and operation.kind == OperationKind.DELETE:
        was_there = visible is not None and not visible.flags & _NEGATIVE
        # A long key stands in front of the value, and then a repetition after a failover tells no number.
        flags = _NEGATIVE | _DIRTY | (operation.flags & _LONG_KEY)
        return Change(_PUT, operation.value + b"%d" % was_there, Codec.INT, flags, number=int(was_there))
    change = _evaluate(operation, visible, wall_ns)
    if is_behind and type(change) is Change and change.kind == _PUT and operation.kind != OperationKind.TOUCH:
        return change._replace(flags=change.flags | _DIRTY)
    return change


def _evaluate(operation: Operation, visible: Visible | None, wall_ns: int) -> Change | OperationResult:
    kind = operation.kind
    # A remembered miss is no entry, except that deleting it makes the next reader ask the origin again.
    present = visible if visible is not None and not visible.flags & _NEGATIVE else None
    if kind == OperationKind.SET:
        return _put(operation, wall_ns)
    if kind == OperationKind.DELETE:
        return Change(RecordKind.DELETE) if visible is not None else NOT_DONE
    if kind == OperationKind.FORGET:
        return Change(RecordKind.DELETE) if visible is not None and not visible.flags & _DIRTY else NOT_DONE
    if kind == OperationKind.ADD:
        return _put(operation, wall_ns) if present is None else NOT_DONE
    if kind == OperationKind.COMPARE_AND_SET:
        current = (present.epoch, present.lsn) if present is not None else (0, 0)
        if current != (operation.expected_epoch, operation.expected_lsn):
            return OperationResult(Outcome.CONFLICT, *current)
        return _put(operation, wall_ns)
    if kind == OperationKind.TOUCH:
        if present is None:
            return NOT_DONE
        if present.payload is None:
            return CORRUPT
        flags = present.flags & _TOUCHED
        expires = expiry_ns(operation.ttl_ns, wall_ns)
        return Change(
            _PUT, present.payload, present.codec, flags, expires, present.cost_us, priority=present.priority
        )
    assert kind == OperationKind.INCREMENT, f"operation kind {kind}"
    return _increment(operation, present, wall_ns)


def _put(operation: Operation, wall_ns: int) -> Change:
    expires = expiry_ns(operation.ttl_ns, wall_ns) if operation.ttl_ns else 0
    return Change(
        _PUT, operation.value, operation.codec, operation.flags & _NOT_LARGE, expires, operation.cost_us, 0,
        operation.priority,
    )  # fmt: skip


def _increment(operation: Operation, present: Visible | None, wall_ns: int) -> Change | OperationResult:
    delta = operation.delta
    expires = expiry_ns(operation.ttl_ns, wall_ns)
    if present is None:
        return _number(operation.value, operation.flags & _LONG_KEY, delta, expires, operation.priority)
    payload = present.payload
    if payload is None:
        return CORRUPT
    if present.flags & _COMPRESSED:
        return NOT_A_NUMBER  # Our writers leave integers as they are.
    try:
        prefix = payload[: value_start(present.flags, payload)]
        digits = payload[len(prefix) :]
        if present.codec == Codec.INT:
            before: int | float = int(digits)
        elif present.codec == Codec.FLOAT:
            before = _DOUBLE.unpack(digits)[0]
        else:
            return NOT_A_NUMBER
        if operation.ttl_ns == -1:
            expires = present.expires_at_ns
        after = before + delta
        if isinstance(after, int) and not -_NUMBER_LIMIT <= after < _NUMBER_LIMIT:
            return NOT_A_NUMBER
        return _number(prefix, present.flags & _PREFIXED, after, expires, present.priority)
    except (ValueError, OverflowError, struct.error):
        return NOT_A_NUMBER


def _number(prefix: bytes, flags: int, number: int | float, expires_at_ns: int, priority: int) -> Change:
    if isinstance(number, float):
        return Change(_PUT, prefix + _DOUBLE.pack(number), Codec.FLOAT, flags, expires_at_ns, 0, number, priority)
    return Change(_PUT, prefix + b"%d" % number, Codec.INT, flags, expires_at_ns, 0, number, priority)
