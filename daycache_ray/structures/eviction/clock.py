"""CLOCK: first in, first out, with a second chance for what was used meanwhile.

Source: Corbato: A Paging Experiment with the Multics System (1968).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic

from daycache_ray.structures.eviction.policy import Key


class Clock(Generic[Key]):
    """Close to LRU at the price of one bit for a hit; a key that is spared goes to the end of the queue.

    >>> cache = Clock()
    >>> for key in (1, 2, 3): cache.insert(key)
    >>> cache.touch(1), cache.evict(), cache.evict(), cache.evict()
    (True, 2, 3, 1)
    """

    def __init__(self) -> None:
        self._visited: OrderedDict[Key, bool] = OrderedDict()

    def __len__(self) -> int:
        return len(self._visited)

    def __contains__(self, key: Key) -> bool:
        return key in self._visited

    def touch(self, key: Key) -> bool:
        """Count a hit; False when the key is not held."""
        if key not in self._visited:
            return False
        self._visited[key] = True
        return True

    def insert(self, key: Key, size_bytes: int = 1, cost_us: int = 1) -> None:
        """Hold a key that was not held; size and cost do not matter here."""
        assert key not in self._visited
        assert size_bytes >= 1 and cost_us >= 0
        self._visited[key] = False

    def evict(self) -> Key:
        """Give up the oldest key that was not used since it came or was last spared; there must be one."""
        visited = self._visited
        while True:
            key, was_used = visited.popitem(last=False)
            if not was_used:
                return key
            visited[key] = False

    def remove(self, key: Key) -> None:
        """Forget a key that is held."""
        del self._visited[key]
