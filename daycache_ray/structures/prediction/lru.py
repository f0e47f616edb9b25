"""Least recently used, for keys of one size: the plain yardstick of the prefetch simulation."""

from __future__ import annotations


class Lru:
    """Says which key goes; the caller keeps the capacity.

    >>> cache = Lru()
    >>> for key in (1, 2, 3): cache.insert(key, cost_us=1)
    >>> cache.touch(1); cache.evict()
    2
    """

    def __init__(self) -> None:
        self._keys: dict[int, None] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: int) -> bool:
        return key in self._keys

    def touch(self, key: int) -> None:
        """Count a hit of a key that is held."""
        del self._keys[key]
        self._keys[key] = None

    def insert(self, key: int, cost_us: int) -> None:
        """Hold a key that was not held; `cost_us` does not matter here."""
        assert key not in self._keys
        assert cost_us >= 0
        self._keys[key] = None

    def evict(self) -> int:
        """Give up the key that was used longest ago and return it; there must be one."""
        key = next(iter(self._keys))
        del self._keys[key]
        return key
