"""S3-FIFO: a small queue that most keys leave unused, a main queue with a second chance, and a memory of the small one.

Source: Yang, Zhang, Qiu, Yue, Rashmi: FIFO Queues are All You Need for Cache Eviction (SOSP 2023).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic

from daycache_ray.structures.eviction.policy import Key

SMALL_RATIO: Final = 0.1
GHOST_RATIO: Final = 0.9
COUNT_MAX: Final = 3
PROMOTED_FROM: Final = 2
"""Hits in the small queue that bring a key into the main one."""


class S3Fifo(Generic[Key]):
    """Two queues and a ghost; a hit costs a counter of two bits. Until the first eviction nobody is on probation.

    >>> cache = S3Fifo()
    >>> for key in range(10): cache.insert(key)
    >>> cache.evict()
    9
    >>> cache.insert(9); cache.touch(9)  # it comes back within memory: straight into the main queue
    True
    """

    def __init__(self) -> None:
        self._counts: dict[Key, int] = {}
        self._small: OrderedDict[Key, None] = OrderedDict()
        self._main: OrderedDict[Key, None] = OrderedDict()
        self._ghost: OrderedDict[Key, None] = OrderedDict()
        self._is_full = False

    def __len__(self) -> int:
        return len(self._counts)

    def __contains__(self, key: Key) -> bool:
        return key in self._counts

    def touch(self, key: Key) -> bool:
        """Count a hit; False when the key is not held."""
        count = self._counts.get(key)
        if count is None:
            return False
        if count < COUNT_MAX:
            self._counts[key] = count + 1
        return True

    def insert(self, key: Key, size_bytes: int = 1, cost_us: int = 1) -> None:
        """Hold a key that was not held; size and cost do not matter here."""
        assert key not in self._counts
        assert size_bytes >= 1 and cost_us >= 0
        self._counts[key] = 0
        if key in self._ghost:
            del self._ghost[key]
            self._main[key] = None
            return
        self._small[key] = None
        if not self._is_full and len(self._small) > max(1, SMALL_RATIO * len(self._counts)):
            self._main[self._small.popitem(last=False)[0]] = None

    def evict(self) -> Key:
        """Give up the oldest key of the small queue, or of the main one when the small is within its share."""
        self._is_full = True
        small, main, counts = self._small, self._main, self._counts
        while True:
            if not main or (small and len(small) >= SMALL_RATIO * len(counts)):
                key, _ = small.popitem(last=False)
                if counts[key] >= PROMOTED_FROM:
                    counts[key] = 0
                    main[key] = None
                    continue
                self._ghost[key] = None
                while len(self._ghost) > max(1, GHOST_RATIO * len(counts)):
                    self._ghost.popitem(last=False)
            else:
                key, _ = main.popitem(last=False)
                if counts[key]:
                    counts[key] -= 1
                    main[key] = None
                    continue
            del counts[key]
            return key

    def remove(self, key: Key) -> None:
        """Forget a key that is held."""
        del self._counts[key]
        if key in self._small:
            del self._small[key]
        else:
            del self._main[key]
