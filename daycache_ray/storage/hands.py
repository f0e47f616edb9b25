"""Who is evicted of one queue: one or two hands that walk it and look at what its readers have visited.

A queue is a range of the database `order`: the numbers with one highest byte; nothing in it is ever moved. The rules
are those of the structures `two_hands.py` and `sieve.py`, which a bench judges; here the queue is LMDB's, a mark is a
byte that two keys may share, and several entries go at once. What the hands know is in the owner's memory: where they
stand, how many entries are young, and, once something was evicted, seven bytes for each entry to recognize what comes
back. After a restart nobody is young. A turn that is aborted may leave the number of the young a little wrong; it is
put right where the queue ends. Knows nothing of other queues and of shares.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from zlib import crc32

import lmdb

from daycache_ray.storage.costs import ENTRY_OVERHEAD_BYTES, SMALL_RECORD_BYTES, cost_bytes
from daycache_ray.storage.large_values import LARGE
from daycache_ray.storage.visited_page import VisitedPage
from daycache_ray.structures.eviction.worth import Worth
from daycache_ray.structures.eviction.young_share import OLD, YOUNG, YoungShare
from daycache_ray.words.records import PRIORITY_MASK, Flag, Priority

QUEUE_SHIFT: Final = 56
QUEUE_OFFSET: Final = 31
"""Of a record's header, see words/records.py: the highest byte of `order`."""

_COST_US: Final = struct.Struct("<I").unpack_from
_COST_OFFSET: Final = 32
_FLAGS_OFFSET: Final = 37
_PRIORITY_OFFSET: Final = 38
_HIGH: Final = int(Priority.HIGH)
_DIRTY: Final = int(Flag.DIRTY)
"""The origin has not got it: it stays."""
_STEPS_PER_VICTIM: Final = 32
_STEPS_MIN: Final = 1_024
"""After so many a hand takes what comes: it never walks a full store to find nothing."""
_TOO_LARGE_MAX: Final = 16
"""Entries larger than what may be freed at most that are passed by before a queue counts as having nothing."""


class Wish(NamedTuple):
    """Entries are wanted until `bytes_needed` are freed, at most `bytes_max` and `count_max`, none of `without`."""

    bytes_needed: int
    bytes_max: int
    count_max: int
    without: set[bytes]


class Hands:
    """Where the hands of one queue stand. Order numbers grow with every new key; an overwrite keeps its own."""

    def __init__(self, queue: int = 0) -> None:
        self._begin = queue << QUEUE_SHIFT
        self._end = (queue + 1) << QUEUE_SHIFT
        self._old_hand = self._begin
        self._young_from: int | None = None
        """Entries from this number on are young; None: there are no young, because nothing was evicted yet, or ever."""
        self._young_count = 0
        self._share = YoungShare()
        self._worth = Worth()
        self._visited: VisitedPage | None = None

    def came(self, key: bytes, order: int) -> None:
        """A new key stands in the queue."""
        if self._young_from is None or order < self._young_from:
            return
        self._young_count += 1
        if self._share.is_trusted(crc32(key)):
            assert self._visited is not None
            self._visited.touch(key)

    def went(self, order: int) -> None:
        """An entry left the queue."""
        if self._young_from is not None and order >= self._young_from and self._young_count:
            self._young_count -= 1

    def victims(
        self,
        transaction: lmdb.Transaction[bytes],
        order: Any,
        data: Any,
        visited: VisitedPage,
        *,
        entries_count: int,
        next_order: int,
        wish: Wish,
        has_young: bool,
    ) -> tuple[dict[bytes, bytes], int]:
        """Return entries to evict, and their bytes.

        With `has_young` by two hands, and what was dear to load, or has high priority, is spared more often; without
        by SIEVE alone, which spares what has high priority too.
        """
        bytes_needed, bytes_max, count_max, without = wish
        assert 0 < bytes_needed <= bytes_max
        next_order |= self._begin
        if has_young and self._young_from is None:
            self._young_from, self._visited = next_order, visited
        chosen: dict[bytes, bytes] = {}
        freed = steps = idle = too_large = 0
        steps_max = _STEPS_MIN + _STEPS_PER_VICTIM * count_max
        get, view, mask = transaction.get, visited.bytes_view, visited.mask
        is_spared, evicted = self._worth.is_spared, self._share.evicted
        with transaction.cursor(db=order) as near, transaction.cursor(db=order) as far:
            young_walk, old_walk = _Walk(near, self._end), _Walk(far, self._end)
            while freed < bytes_needed and len(chosen) < count_max and idle <= 2 * entries_count:
                count = entries_count - len(chosen)
                young = self._young_count
                if young > 0 and (young >= self._share.ratio * count or young >= count):
                    side, key = YOUNG, self._next_young(young_walk, next_order)
                    if key is None:
                        continue
                else:
                    side, key = OLD, self._next_old(old_walk)
                    if key is None:
                        break
                steps += 1
                idle += 1
                hashed = crc32(key)
                bucket = hashed & mask
                if view[bucket]:
                    view[bucket] = 0
                    if steps <= steps_max:
                        continue
                if key in chosen or key in without:
                    continue
                if (record := get(key, db=data)) is None or record[_FLAGS_OFFSET] & _DIRTY:
                    continue
                size = len(record)
                if size > SMALL_RECORD_BYTES or record[_FLAGS_OFFSET] & LARGE:
                    cost = cost_bytes(key, record)
                else:
                    cost = size + len(key) + ENTRY_OVERHEAD_BYTES
                if freed + cost > bytes_max:
                    if (too_large := too_large + 1) > _TOO_LARGE_MAX:
                        break
                    continue
                is_high = record[_PRIORITY_OFFSET] & PRIORITY_MASK == _HIGH
                if (
                    ((has_young and side == OLD) or is_high)
                    and steps <= steps_max
                    and idle <= entries_count
                    and is_spared(_COST_US(record, _COST_OFFSET)[0] if has_young else 0, cost, is_high=is_high)
                ):
                    continue
                if has_young:
                    evicted(hashed, side, entries_count=count)
                chosen[key] = record
                freed += cost
                idle = 0
        return chosen, freed

    def _next_young(self, walk: _Walk, next_order: int) -> bytes | None:
        assert self._young_from is not None
        found = walk.at(self._young_from)
        if found is None:
            self._young_from, self._young_count = next_order, 0
            return None
        self._young_from = found[0] + 1
        self._young_count -= 1
        return found[1]

    def _next_old(self, walk: _Walk) -> bytes | None:
        end = self._young_from
        found = walk.at(self._old_hand)
        if found is None or (end is not None and found[0] >= end):
            found = walk.at(self._begin)
            if found is None:
                return None
            if end is not None and found[0] >= end:
                # There are no old ones; the oldest of the young is one from now on.
                self._young_from = found[0] + 1
                self._young_count = max(0, self._young_count - 1)
        self._old_hand = found[0] + 1
        return found[1]


class _Walk:
    """A cursor that goes on where it stands when that is what is asked for."""

    def __init__(self, cursor: lmdb.Cursor[bytes], end: int) -> None:
        self._cursor = cursor
        self._end = end
        self._next = -1
        self._items: Iterator[tuple[bytes, bytes]] = iter(())

    def at(self, number: int) -> tuple[int, bytes] | None:
        """Return the first entry at or after an order number, None at the end of the queue."""
        if number != self._next:
            self._next = -1
            if not self._cursor.set_range(number.to_bytes(8, "big")):
                return None
            self._items = self._cursor.iternext()
        item = next(self._items, None)
        if item is None:
            self._next = -1
            return None
        found = int.from_bytes(item[0], "big")
        if found >= self._end:
            self._next = -1
            return None
        self._next = found + 1
        return found, item[1]
