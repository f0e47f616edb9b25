"""SIEVE: a queue with a hand that spares what was visited since it last came by.

Source: Zhang, Yang, Yue, Vigfusson, Rashmi: SIEVE is Simpler than LRU (NSDI 2024).
"""

from __future__ import annotations

from typing import Generic

from daycache_ray.structures.eviction.marks import ExactMarks, Marks
from daycache_ray.structures.eviction.policy import Key
from daycache_ray.structures.eviction.queue import Place, Queue


class Sieve(Generic[Key]):
    """What is spared keeps its place, so a hit costs one bit and an eviction moves nothing.

    >>> cache = Sieve()
    >>> for key in (1, 2, 3): cache.insert(key)
    >>> cache.touch(1), cache.evict()
    (True, 2)
    """

    def __init__(self, marks: Marks[Key] | None = None) -> None:
        """`marks` are where hits are noted; without it each key has a bit of its own."""
        self._marks = marks if marks is not None else ExactMarks[Key]()
        self._places: dict[Key, Place[Key]] = {}
        self._queue: Queue[Key] = Queue()
        self._hand: Place[Key] | None = None

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: Key) -> bool:
        return key in self._places

    def touch(self, key: Key) -> bool:
        """Count a hit; False when the key is not held."""
        if key not in self._places:
            return False
        self._marks.touch(key)
        return True

    def insert(self, key: Key, size_bytes: int = 1, cost_us: int = 1) -> None:
        """Hold a key that was not held; size and cost do not matter here."""
        assert key not in self._places
        assert size_bytes >= 1 and cost_us >= 0
        place = self._places[key] = Place(key)
        self._queue.append(place)

    def evict(self) -> Key:
        """Give up the first key at the hand that was not visited and return it; there must be one."""
        place = self._hand or self._queue.oldest
        assert place is not None, "evict from an empty cache"
        while self._marks.take(place.key):
            place = place.newer or self._queue.oldest
            assert place is not None
        self._hand = place.newer
        self._queue.take(place)
        del self._places[place.key]
        return place.key

    def remove(self, key: Key) -> None:
        """Forget a key that is held."""
        place = self._places.pop(key)
        self._marks.take(key)
        if place is self._hand:
            self._hand = place.newer
        self._queue.take(place)
