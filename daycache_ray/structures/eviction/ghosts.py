"""Who was evicted lately: a table of fingerprints that costs at most seven bytes for each entry of the cache.

A key that comes back while it is remembered was evicted too early. The table forgets by age, and is allowed to
take one key for another once in some ten thousand.
"""

from __future__ import annotations

from array import array
from typing import Final

WAYS: Final = 4
SLOTS_PER_ENTRY: Final = 1.75
"""Four bytes each."""
REACH_RATIO: Final = 0.9
"""Evictions of either side that are remembered, for each entry of the cache."""
STAMP_MAX: Final = (1 << 15) - 1
_UNITS_PER_REACH: Final = 1_024


class Ghosts:
    """Two memories in one table, one for each side (0 or 1) from which a key was evicted.

    >>> ghosts = Ghosts(entries_count=100)
    >>> ghosts.note(0xBEEF, 1)
    >>> ghosts.note(0xCAFE, 1)
    >>> ghosts.take(0xBEEF), ghosts.take(0xBEEF)
    ((1, 1), None)
    """

    def __init__(self, *, entries_count: int) -> None:
        """`entries_count` >= 1 is what the cache holds when it is full."""
        assert entries_count >= 1
        self.entries_count = entries_count
        self._sets = max(4, int(SLOTS_PER_ENTRY * entries_count) // WAYS)
        self._marks = array("H", bytes(2 * WAYS * self._sets))
        """Fingerprints, 0 where a slot is empty: apart, so that a key that is not here is found missing at once."""
        self._stamps = array("H", bytes(2 * WAYS * self._sets))
        """The side in the highest bit, and the time of that side."""
        self._unit = max(1, entries_count // _UNITS_PER_REACH)
        self._reach = max(1, int(REACH_RATIO * entries_count) // self._unit)
        self._evicted = [0, 0]

    def note(self, hashed: int, side: int) -> None:
        """Remember that the key with the 32-bit hash `hashed` was evicted from `side`."""
        evicted, unit = self._evicted, self._unit
        evicted[side] += 1
        place = first = hashed % self._sets * WAYS
        marks, stamps = self._marks, self._stamps
        now = (evicted[0] // unit, evicted[1] // unit)
        oldest = -1
        # One loop and no slices: it runs once for each eviction.
        for slot in range(first, first + WAYS):
            if not marks[slot]:
                place = slot
                break
            stamp = stamps[slot]
            age = (now[stamp >> 15] - stamp) & STAMP_MAX
            if age > oldest:
                place, oldest = slot, age
        marks[place] = _mark(hashed)
        stamps[place] = side << 15 | (now[side] & STAMP_MAX)

    def take(self, hashed: int) -> tuple[int, int] | None:
        """Forget a key and return its side and how many evictions of that side followed; None if not remembered.

        Above 1,024 entries the number is rounded to a thousandth of them.
        """
        first = hashed % self._sets * WAYS
        mark = _mark(hashed)
        marks = self._marks[first : first + WAYS]
        if mark not in marks:
            return None
        place = first + marks.index(mark)
        self._marks[place] = 0
        age = self._age(self._stamps[place])
        return (self._stamps[place] >> 15, age * self._unit) if age <= self._reach else None

    def _age(self, stamp: int) -> int:
        return ((self._evicted[stamp >> 15] // self._unit) - stamp) & STAMP_MAX


def _mark(hashed: int) -> int:
    # Other bits than those that chose the set; never 0.
    return (hashed * 0x9E3779B1 >> 13) % 0xFFFF + 1
