"""A queue in order of age out of which any member can be taken, for policies whose hand stays where it was."""

from __future__ import annotations

from typing import Generic

from daycache_ray.structures.eviction.policy import Key


class Place(Generic[Key]):
    """One key's place in a queue."""

    __slots__ = ("cost_us", "is_young", "key", "newer", "older", "size_bytes")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.is_young = False
        self.size_bytes = 1
        self.cost_us = 0
        self.newer: Place[Key] | None = None
        self.older: Place[Key] | None = None


class Queue(Generic[Key]):
    """Places from the oldest to the newest."""

    __slots__ = ("newest", "oldest")

    def __init__(self) -> None:
        self.newest: Place[Key] | None = None
        self.oldest: Place[Key] | None = None

    def append(self, place: Place[Key]) -> None:
        """Make a place the newest."""
        place.older = self.newest
        if self.newest is not None:
            self.newest.newer = place
        self.newest = place
        if self.oldest is None:
            self.oldest = place

    def take(self, place: Place[Key]) -> None:
        """Take a place out; it still says who was newer."""
        if place.newer is not None:
            place.newer.older = place.older
        else:
            self.newest = place.older
        if place.older is not None:
            place.older.newer = place.newer
        else:
            self.oldest = place.newer
