"""Two hands on one queue: SIEVE for the old, and before them a hand that lets go what was not used while young.

The newest entries of the queue are the young. The first hand stands where they end: an entry that was visited by then
becomes old where it stands, another is evicted. The second hand walks the old ones as SIEVE does. Nothing is ever
moved, and a hit costs one bit, so the queue may live in a store that is shared by processes: readers set a byte, the
owner walks. How long the young have time is learned (`young_share.py`); a key that comes back while it is remembered
as evicted counts as visited when it comes. Until the first eviction nobody is young. Of the old, what was dear to load
is spared more often (`worth.py`).

Ideas: SIEVE (NSDI 2024); S3-FIFO (SOSP 2023) for the small queue and the ghost; ARC (FAST 2003) for learning its size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic

from daycache_ray.structures.eviction.marks import ExactMarks, Marks
from daycache_ray.structures.eviction.policy import Key
from daycache_ray.structures.eviction.queue import Place, Queue
from daycache_ray.structures.eviction.worth import Worth
from daycache_ray.structures.eviction.young_share import OLD, YOUNG, YoungShare


class TwoHands(Generic[Key]):
    """Says which key goes; see the file.

    >>> cache = TwoHands(hash_of=lambda key: key)
    >>> for key in (1, 2, 3): cache.insert(key)
    >>> cache.touch(1), cache.evict()
    (True, 2)
    """

    def __init__(self, *, hash_of: Callable[[Key], int], marks: Marks[Key] | None = None) -> None:
        """`hash_of` gives 32 well-mixed bits; `marks` are where hits are noted, without it each key has its own bit."""
        self._marks = marks if marks is not None else ExactMarks[Key]()
        self._hash_of = hash_of
        self._places: dict[Key, Place[Key]] = {}
        self._queue: Queue[Key] = Queue()
        self._old_hand: Place[Key] | None = None
        self._young_hand: Place[Key] | None = None
        """The oldest of the young."""
        self._young_count = 0
        self._is_full = False
        self._share = YoungShare()
        self._worth = Worth()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: Key) -> bool:
        return key in self._places

    @property
    def young_ratio(self) -> float:
        """The part of the entries that may be young now."""
        return self._share.ratio

    def touch(self, key: Key) -> bool:
        """Count a hit; False when the key is not held."""
        if key not in self._places:
            return False
        self._marks.touch(key)
        return True

    def insert(self, key: Key, size_bytes: int = 1, cost_us: int = 1) -> None:
        """Hold a key that was not held."""
        assert key not in self._places
        assert size_bytes >= 1 and cost_us >= 0
        place = self._places[key] = Place(key)
        place.size_bytes, place.cost_us = size_bytes, cost_us
        if self._share.is_trusted(self._hash_of(key)):
            self._marks.touch(key)
        self._queue.append(place)
        if self._is_full:
            place.is_young = True
            self._young_count += 1
            if self._young_hand is None:
                self._young_hand = place

    def evict(self) -> Key:
        """Give up a key and return it; there must be one."""
        assert self._places, "evict from an empty cache"
        self._is_full = True
        count = len(self._places)
        while (place := self._young_hand) is not None and (
            self._young_count >= self._share.ratio * count or self._young_count == count
        ):
            self._pass(place)
            if not self._marks.take(place.key):
                return self._give_up(place, YOUNG)
        place = self._old_hand or self._queue.oldest
        assert place is not None
        while self._marks.take(place.key) or self._worth.is_spared(place.cost_us, place.size_bytes):
            place = self._next_old(place) or self._queue.oldest
            assert place is not None
        self._old_hand = self._next_old(place)
        return self._give_up(place, OLD)

    def remove(self, key: Key) -> None:
        """Forget a key that is held."""
        place = self._places.pop(key)
        self._marks.take(key)
        if place is self._young_hand:
            self._pass(place)
        elif place.is_young:
            self._young_count -= 1
        if place is self._old_hand:
            self._old_hand = self._next_old(place)
        self._queue.take(place)

    def _pass(self, place: Place[Key]) -> None:
        """Let the first hand go past the oldest of the young."""
        place.is_young = False
        self._young_count -= 1
        self._young_hand = place.newer

    def _next_old(self, place: Place[Key]) -> Place[Key] | None:
        newer = place.newer
        return None if newer is None or newer.is_young else newer

    def _give_up(self, place: Place[Key], side: int) -> Key:
        self._share.evicted(self._hash_of(place.key), side, entries_count=len(self._places))
        if place is self._old_hand:
            self._old_hand = self._next_old(place)
        self._queue.take(place)
        del self._places[place.key]
        return place.key
