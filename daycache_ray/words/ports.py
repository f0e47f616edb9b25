"""What the outside lends the floors below, each port named for its doer."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable


class Missing:
    """The type of MISSING; there is one object of it, also after pickling."""

    def __repr__(self) -> str:
        return "MISSING"

    def __reduce__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()
"""What a loader returns for a key that its origin does not have, and a writer gets for a delete (None is a value)."""


class Snapshot(Protocol):
    """A view of a store that stays as it was when it was opened."""

    def next_items(self, bytes_max: int) -> tuple[tuple[bytes, bytes], ...]:
        """Return further (store key, record with inline payload) pairs; empty at the end."""
        ...

    def close(self) -> None:
        """Give the view back; a forgotten one pins memory."""
        ...


class StateView(Protocol):
    """What a replica's machine may read of its own store: the visible records, nothing else."""

    def get(self, key: bytes) -> bytes | None:
        """Return the visible record with header, large payloads as their file's name, or None."""
        ...

    def payload(self, key: bytes) -> bytes | None:
        """Return the visible value's encoded bytes, read from its file when it is large."""
        ...

    def fresh_count(self, row_key: bytes) -> int:
        """Return how many visible entries have the tag of a row and are not hidden by that row."""
        ...

    def open_snapshot(self) -> Snapshot:
        """Return a stable view of everything visible now."""
        ...


@runtime_checkable
class Loader(Protocol):
    """Gets one value from an origin."""

    def load(self, key: str) -> Any | Awaitable[Any]:
        """Return the value, or MISSING when the origin has no such key."""
        ...


@runtime_checkable
class BatchLoader(Protocol):
    """Gets many values in one question to the origin."""

    def load_many(self, keys: Sequence[str]) -> Mapping[str, Any] | Awaitable[Mapping[str, Any]]:
        """Return what the origin has; keys that it does not have are absent."""
        ...


@runtime_checkable
class Writer(Protocol):
    """Puts one value into an origin. It may be called again with what it was called with: it must not matter."""

    def write(self, key: str, value: Any) -> Awaitable[None] | None:
        """Make the origin hold the value; MISSING: make it hold nothing under that key."""
        ...


@runtime_checkable
class BatchWriter(Protocol):
    """Puts many values into an origin at once: all of them, or it raises."""

    def write_many(self, values: Mapping[str, Any]) -> Awaitable[None] | None:
        """Make the origin hold the values, MISSING ones removed; the order is that in which they were written."""
        ...
