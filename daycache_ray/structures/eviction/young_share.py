"""Which part of a cache is for entries that still have to prove themselves, learned from what was evicted too early.

A key that comes back soon after it was evicted while young says: a little longer would have been enough. A key that
comes back after it was evicted while old says: the young have too much. The share is the moving average of these votes.
"""

from __future__ import annotations

from typing import Final

from daycache_ray.structures.eviction.ghosts import Ghosts

YOUNG: Final = 0
OLD: Final = 1

START: Final = 0.5
LEAST: Final = 0.02
MOST: Final = 0.8
VOTES: Final = 32
"""About how many votes the average remembers; in small caches fewer, one for each half percent."""
NEAR_RATIO: Final = 0.05
"""Evictions of young entries, for each entry of the cache, within which one counts as almost kept."""


class YoungShare:
    """Learns the share, and says of each new key whether it is trusted at once.

    >>> young = YoungShare()
    >>> young.evicted(0xBEEF, YOUNG, entries_count=100)
    >>> young.is_trusted(0xBEEF), young.is_trusted(0xCAFE), young.ratio > 0.5
    (True, False, True)
    """

    def __init__(self) -> None:
        self.ratio = START
        """Part of the entries, 0.02 to 0.8."""
        self._ghosts: Ghosts | None = None

    def evicted(self, hashed: int, side: int, *, entries_count: int) -> None:
        """Note that a key was evicted from `side`, of a cache of `entries_count` >= 1."""
        ghosts = self._ghosts
        if ghosts is None or not ghosts.entries_count / 2 <= entries_count <= 1.5 * ghosts.entries_count:
            ghosts = self._ghosts = Ghosts(entries_count=entries_count)
        ghosts.note(hashed, side)

    def is_trusted(self, hashed: int) -> bool:
        """Return whether a key that comes was evicted lately; its vote is counted."""
        if self._ghosts is None:
            return False
        found = self._ghosts.take(hashed)
        if found is None:
            return False
        side, age = found
        entries_count = self._ghosts.entries_count
        weight = min(1.0, max(1 / VOTES, 16 / entries_count))
        if side == OLD:
            self.ratio = max(LEAST, self.ratio * (1 - weight))
        elif age <= NEAR_RATIO * entries_count:
            self.ratio = min(MOST, self.ratio + weight * (1 - self.ratio))
        return True
