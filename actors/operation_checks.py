"""What a stranger's operations are looked at for before the machine sees them: it trusts keys and tags."""

from __future__ import annotations

from collections.abc import Iterable

from daycache_ray.protocol.replica.tagging import TAG_KINDS
from daycache_ray.structures.tags import TAGGED, is_row_key, tags_in
from daycache_ray.words.errors import InvalidArgumentError
from daycache_ray.words.limits import SERVICE_BYTES_MAX, TAG_BYTES_MAX
from daycache_ray.words.operations import Operation, OperationKind


def check_operations(operations: Iterable[Operation]) -> None:
    """Raise InvalidArgumentError for keys and tags that no client of ours writes."""
    for operation in operations:
        key = operation.key
        if operation.kind in TAG_KINDS:
            service_bytes = key[2] if len(key) > 3 and is_row_key(key) else SERVICE_BYTES_MAX + 1
            if service_bytes > SERVICE_BYTES_MAX or not 0 < len(key) - 3 - service_bytes <= TAG_BYTES_MAX:
                raise InvalidArgumentError(f"{key[:80]!r} is no store key of a tag's row")
        elif is_row_key(key):
            raise InvalidArgumentError(f"{key[:80]!r} is the store key of a tag's row: invalidate the tag")
        elif operation.flags & TAGGED:
            if operation.kind == OperationKind.INCREMENT:
                raise InvalidArgumentError("an increment brings no tags; the entry keeps those that it has")
            try:
                tags_in(operation.flags, operation.value)
            except ValueError as error:
                raise InvalidArgumentError(f"the tags of {key[:80]!r} cannot be read: {error}") from None
