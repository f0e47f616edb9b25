"""W-TinyLFU: a small window of the newest, and a main part into which only what is asked for more often gets.

Source: Einziger, Friedman, Manes: TinyLFU: A Highly Efficient Cache Admission Policy (ACM ToS 2017). The window is
fixed at one percent; Caffeine also climbs to a better one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic

from daycache_ray.structures.eviction.policy import Key

WINDOW_RATIO: Final = 0.01
PROTECTED_RATIO: Final = 0.8
COUNT_MAX: Final = 15
SAMPLE_FACTOR: Final = 10
"""Counts are halved after this many accesses for each key held."""
ROWS: Final = 4
COUNTERS_PER_KEY: Final = 4
_MULTIPLIERS: Final = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F)


class FrequencySketch:
    """Counts of accesses to many keys in little memory: never too low while nothing was halved, seldom too high.

    >>> sketch = FrequencySketch(keys_expected=100)
    >>> for _ in range(3): sketch.add(7)
    >>> sketch.estimate(7), sketch.estimate(8)
    (3, 0)
    """

    def __init__(self, *, keys_expected: int) -> None:
        assert keys_expected >= 1
        width = 1 << max(4, (COUNTERS_PER_KEY * keys_expected - 1).bit_length())
        self._mask = width - 1
        self._rows = [bytearray(width) for _ in range(ROWS)]
        self._added = 0
        self._sample = max(10, SAMPLE_FACTOR * keys_expected)

    def add(self, hashed: int) -> None:
        """Count an access to a key with the 32-bit hash `hashed`."""
        mask = self._mask
        for row, multiplier in zip(self._rows, _MULTIPLIERS, strict=True):
            place = (hashed * multiplier >> 12) & mask
            if row[place] < COUNT_MAX:
                row[place] += 1
        self._added += 1
        if self._added >= self._sample:
            self._added //= 2
            halves = bytes(count >> 1 for count in range(256))
            self._rows = [row.translate(halves) for row in self._rows]

    def estimate(self, hashed: int) -> int:
        """Return about how often the key was asked for lately, 0 ... 15."""
        mask = self._mask
        return min(
            row[(hashed * multiplier >> 12) & mask] for row, multiplier in zip(self._rows, _MULTIPLIERS, strict=True)
        )


class WTinyLfu(Generic[Key]):
    """Window, probation and protection in order of use. Cost: a sketch update and a move for every access.

    >>> cache = WTinyLfu(hash_of=lambda key: key, keys_expected=3)
    >>> for key in (1, 2, 3): cache.insert(key)
    >>> cache.touch(1), cache.evict() != 1
    (True, True)
    """

    def __init__(self, *, hash_of: Callable[[Key], int], keys_expected: int) -> None:
        """`hash_of` gives 32 well-mixed bits."""
        self._hash_of = hash_of
        self._sketch = FrequencySketch(keys_expected=keys_expected)
        self._window: OrderedDict[Key, None] = OrderedDict()
        self._probation: OrderedDict[Key, None] = OrderedDict()
        self._protected: OrderedDict[Key, None] = OrderedDict()
        self._is_full = False

    def __len__(self) -> int:
        return len(self._window) + len(self._probation) + len(self._protected)

    def __contains__(self, key: Key) -> bool:
        return key in self._protected or key in self._probation or key in self._window

    def touch(self, key: Key) -> bool:
        """Count a hit; False when the key is not held."""
        if key in self._protected:
            self._protected.move_to_end(key)
        elif key in self._probation:
            del self._probation[key]
            self._protected[key] = None
            if len(self._protected) > PROTECTED_RATIO * (len(self._protected) + len(self._probation)):
                self._probation[self._protected.popitem(last=False)[0]] = None
        elif key in self._window:
            self._window.move_to_end(key)
        else:
            return False
        self._sketch.add(self._hash_of(key))
        return True

    def insert(self, key: Key, size_bytes: int = 1, cost_us: int = 1) -> None:
        """Hold a key that was not held; size and cost do not matter here."""
        assert key not in self
        assert size_bytes >= 1 and cost_us >= 0
        self._sketch.add(self._hash_of(key))
        self._window[key] = None
        if not self._is_full and len(self._window) > max(1.0, WINDOW_RATIO * len(self)):
            self._probation[self._window.popitem(last=False)[0]] = None

    def evict(self) -> Key:
        """Give up the window's oldest or the main part's, whichever was asked for less; there must be one."""
        self._is_full = True
        window, probation = self._window, self._probation
        main = probation or self._protected
        if not main:
            return window.popitem(last=False)[0]
        victim = next(iter(main))
        if len(window) < max(1.0, WINDOW_RATIO * len(self)):
            del main[victim]
            return victim
        candidate, _ = window.popitem(last=False)
        estimate = self._sketch.estimate
        if estimate(self._hash_of(candidate)) <= estimate(self._hash_of(victim)):
            return candidate
        del main[victim]
        probation[candidate] = None
        return victim

    def remove(self, key: Key) -> None:
        """Forget a key that is held."""
        for part in (self._window, self._probation, self._protected):
            if key in part:
                del part[key]
                return
        raise KeyError(key)
