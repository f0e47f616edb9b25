"""What every eviction policy can be asked. It keeps no budget: the caller evicts until what it wants fits."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol, TypeVar

Key = TypeVar("Key", bound=Hashable)


class EvictionPolicy(Protocol[Key]):
    """Hears of accesses and insertions, says which key goes."""

    def __len__(self) -> int: ...

    def __contains__(self, key: Key) -> bool: ...

    def touch(self, key: Key) -> bool:
        """Count a hit; False when the key is not held."""

    def insert(self, key: Key, size_bytes: int = 1, cost_us: int = 1) -> None:
        """Hold a key that was not held, of `size_bytes` >= 1, whose load took `cost_us` >= 0."""

    def evict(self) -> Key:
        """Give up one key and return it; there must be one."""

    def remove(self, key: Key) -> None:
        """Forget a key that is held because its entry went for another reason: deleted, expired, invalidated."""
