"""Greedy-dual by frequency and cost: what was dear to load and is asked for often stays longest.

Priority = age + frequency x cost, and the age is the priority of the last key that went. Source:
Cherkasova: Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency Caching (1998), sizes equal.
"""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace


class Gdsf:
    """Says which key goes; the caller keeps the capacity.

    The heap holds each key once, with the priority it had when it was last looked at: priorities only
    rise, so a key that comes up with an old one is put back with the new.

    >>> cache = Gdsf()
    >>> cache.insert(1, cost_us=900); cache.insert(2, cost_us=10); cache.insert(3, cost_us=20)
    >>> cache.evict()
    2
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[float, int, int]] = {}
        self._heap: list[tuple[float, int]] = []
        self._age = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: int) -> bool:
        return key in self._entries

    def touch(self, key: int) -> None:
        """Count a hit of a key that is held."""
        _, frequency, cost_us = self._entries[key]
        self._entries[key] = (self._age + (frequency + 1) * cost_us, frequency + 1, cost_us)

    def insert(self, key: int, cost_us: int) -> None:
        """Hold a key that was not held and took `cost_us` >= 0 to load."""
        assert key not in self._entries
        assert cost_us >= 0
        cost_us = max(cost_us, 1)
        priority = self._age + cost_us
        self._entries[key] = (priority, 1, cost_us)
        heappush(self._heap, (priority, key))

    def evict(self) -> int:
        """Give up the key of least priority and return it; there must be one."""
        heap = self._heap
        while True:
            stated, key = heap[0]
            priority = self._entries[key][0]
            if priority == stated:
                break
            heapreplace(heap, (priority, key))
        heappop(heap)
        del self._entries[key]
        self._age = stated
        return key
