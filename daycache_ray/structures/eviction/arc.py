"""ARC: recency and frequency, each with a memory of what it gave up, which says whose share should grow.

Source: Megiddo, Modha: ARC: A Self-Tuning, Low Overhead Replacement Cache (FAST 2003). Here the lists are trimmed when
a key goes and not when one comes, for the caller decides when room is needed.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic

from daycache_ray.structures.eviction.policy import Key


class Arc(Generic[Key]):
    """Keys seen once and keys seen again, in order of use. Cost: a move in a linked list for every hit.

    >>> cache = Arc()
    >>> for key in (1, 2, 3): cache.insert(key)
    >>> cache.touch(1), cache.evict(), cache.evict()
    (True, 2, 3)
    """

    def __init__(self) -> None:
        self._once: OrderedDict[Key, None] = OrderedDict()
        self._again: OrderedDict[Key, None] = OrderedDict()
        self._gone_once: OrderedDict[Key, None] = OrderedDict()
        self._gone_again: OrderedDict[Key, None] = OrderedDict()
        self._once_wanted = 0.0
        self._full_count = 1

    def __len__(self) -> int:
        return len(self._once) + len(self._again)

    def __contains__(self, key: Key) -> bool:
        return key in self._again or key in self._once

    def touch(self, key: Key) -> bool:
        """Count a hit; False when the key is not held."""
        if key in self._again:
            self._again.move_to_end(key)
            return True
        if key not in self._once:
            return False
        del self._once[key]
        self._again[key] = None
        return True

    def insert(self, key: Key, size_bytes: int = 1, cost_us: int = 1) -> None:
        """Hold a key that was not held; size and cost do not matter here."""
        assert key not in self
        assert size_bytes >= 1 and cost_us >= 0
        gone_once, gone_again = self._gone_once, self._gone_again
        if key in gone_once:
            self._once_wanted += max(1.0, len(gone_again) / len(gone_once))
            self._once_wanted = min(self._once_wanted, float(self._full_count))
            del gone_once[key]
            self._again[key] = None
        elif key in gone_again:
            self._once_wanted = max(0.0, self._once_wanted - max(1.0, len(gone_once) / len(gone_again)))
            del gone_again[key]
            self._again[key] = None
        else:
            self._once[key] = None

    def evict(self) -> Key:
        """Give up the oldest key of the list that is above its share; there must be one."""
        count = self._full_count = len(self)
        if self._once and (len(self._once) > self._once_wanted or not self._again):
            key, _ = self._once.popitem(last=False)
            self._gone_once[key] = None
        else:
            key, _ = self._again.popitem(last=False)
            self._gone_again[key] = None
        if len(self._once) + len(self._gone_once) > count and self._gone_once:
            self._gone_once.popitem(last=False)
        while len(self) + len(self._gone_once) + len(self._gone_again) > 2 * count and self._gone_again:
            self._gone_again.popitem(last=False)
        return key

    def remove(self, key: Key) -> None:
        """Forget a key that is held."""
        if key in self._once:
            del self._once[key]
        else:
            del self._again[key]
