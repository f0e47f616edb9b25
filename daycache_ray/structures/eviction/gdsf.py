"""Greedy-dual by size, frequency and cost: what saves most seconds of its origin for each byte stays longest.

Priority = age + frequency x cost / size, and the age is the priority of the last key that went. Source:
Cherkasova: Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency Caching (1998).
"""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace
from typing import Generic

from daycache_ray.structures.eviction.policy import Key


class Gdsf(Generic[Key]):
    """Aware of size and cost. Cost: an evicted key is looked for in a heap, O(log n).

    The heap holds a key with the priority it had when it was last looked at: priorities only rise, so a
    key that comes up with an old one is put back with the new.

    >>> cache = Gdsf()
    >>> cache.insert(1, cost_us=900); cache.insert(2, cost_us=10); cache.insert(3, cost_us=20)
    >>> cache.evict()
    2
    """

    def __init__(self) -> None:
        self._entries: dict[Key, tuple[float, int, float]] = {}
        """Priority, frequency, cost for a byte."""
        self._heap: list[tuple[float, int, Key]] = []
        self._age = 0.0
        self._number = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def touch(self, key: Key) -> bool:
        """Count a hit; False when the key is not held."""
        known = self._entries.get(key)
        if known is None:
            return False
        _, frequency, worth = known
        self._entries[key] = (self._age + (frequency + 1) * worth, frequency + 1, worth)
        return True

    def insert(self, key: Key, size_bytes: int = 1, cost_us: int = 1) -> None:
        """Hold a key that was not held."""
        assert key not in self._entries
        assert size_bytes >= 1 and cost_us >= 0
        worth = max(cost_us, 1) / size_bytes
        priority = self._age + worth
        self._entries[key] = (priority, 1, worth)
        self._push(priority, key)

    def evict(self) -> Key:
        """Give up the key of least priority and return it; there must be one."""
        heap = self._heap
        while True:
            stated, number, key = heap[0]
            known = self._entries.get(key)
            if known is None:
                # It was removed, or evicted after it was removed and came again.
                heappop(heap)
            elif known[0] != stated:
                heapreplace(heap, (known[0], number, key))
            else:
                break
        heappop(heap)
        del self._entries[key]
        self._age = stated
        return key

    def remove(self, key: Key) -> None:
        """Forget a key that is held."""
        del self._entries[key]
        if len(self._heap) > 64 and len(self._heap) > 2 * len(self._entries):
            self._heap = []
            for key, known in self._entries.items():
                self._push(known[0], key)

    def _push(self, priority: float, key: Key) -> None:
        # The number: keys of equal priority go in order of age, and need not be comparable.
        self._number += 1
        heappush(self._heap, (priority, self._number, key))
