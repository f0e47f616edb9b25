"""Least recently used: the plain yardstick of all policies."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic

from daycache_ray.structures.eviction.policy import Key


class Lru(Generic[Key]):
    """Gives up the key that was used longest ago. Cost: a move in a linked list for every hit.

    >>> cache = Lru()
    >>> for key in (1, 2, 3): cache.insert(key)
    >>> cache.touch(1), cache.touch(4), cache.evict()
    (True, False, 2)
    """

    def __init__(self) -> None:
        # Not a dict: to find the first key of one that lost its oldest keys takes ever longer.
        self._keys: OrderedDict[Key, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: Key) -> bool:
        return key in self._keys

    def touch(self, key: Key) -> bool:
        """Count a hit; False when the key is not held."""
        if key not in self._keys:
            return False
        self._keys.move_to_end(key)
        return True

    def insert(self, key: Key, size_bytes: int = 1, cost_us: int = 1) -> None:
        """Hold a key that was not held; size and cost do not matter here."""
        assert key not in self._keys
        assert size_bytes >= 1 and cost_us >= 0
        self._keys[key] = None

    def evict(self) -> Key:
        """Give up the key that was used longest ago and return it; there must be one."""
        key, _ = self._keys.popitem(last=False)
        return key

    def remove(self, key: Key) -> None:
        """Forget a key that is held."""
        del self._keys[key]
