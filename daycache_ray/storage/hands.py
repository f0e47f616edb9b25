"""Who is evicted: one or two hands that walk a store's queue and look at what its readers have visited.

The queue is the database `order`; nothing in it is ever moved. The rules are those of the structures `two_hands.py`
and `sieve.py`, which a bench judges; here the queue is LMDB's, a mark is a byte that two keys may share, and several
entries go at once. What the hands know is in the owner's memory: where they stand, how many entries are young, and,
once something was evicted, seven bytes for each entry to recognize what comes back. After a restart nobody is young.
A turn that is aborted may leave the number of the young a little wrong; it is put right where the queue ends.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final
from zlib import crc32

import lmdb

from daycache_ray.storage.state import State
from daycache_ray.storage.visited_page import VisitedPage
from daycache_ray.structures.eviction.worth import Worth
from daycache_ray.structures.eviction.young_share import OLD, YOUNG, YoungShare

_COST_US: Final = struct.Struct("<I").unpack_from
_COST_OFFSET: Final = 32
"""Of a record's header, see words/records.py."""
_STEPS_PER_VICTIM: Final = 32
_STEPS_MIN: Final = 1_024
"""After so many a hand takes what comes: it never walks a full store to find nothing."""


class Hands:
    """Where the hands of one queue stand. Order numbers grow with every new key; an overwrite keeps its own."""

    def __init__(self) -> None:
        self._old_hand = 0
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
        state: State,
        visited: VisitedPage,
        cost_of: Callable[[bytes, bytes], int],
        bytes_needed: int,
        count_max: int,
        *,
        has_young: bool,
    ) -> list[tuple[bytes, bytes]]:
        """Return (key, record) of entries to evict until `bytes_needed` are free, at most `count_max`.

        With `has_young` by two hands, and what was dear to load is spared more often; without by SIEVE alone.
        """
        if has_young and self._young_from is None:
            self._young_from, self._visited = state.next_order, visited
        count = state.entries_count
        chosen: dict[bytes, bytes] = {}
        freed = steps = idle = 0
        steps_max = _STEPS_MIN + _STEPS_PER_VICTIM * count_max
        with transaction.cursor(db=order) as cursor:
            walk = _Walk(cursor)
            while freed < bytes_needed and len(chosen) < count_max and idle <= 2 * count:
                side = YOUNG if self._is_turn_of_young(count - len(chosen)) else OLD
                key = self._next_young(walk, state) if side == YOUNG else self._next_old(walk)
                if key is None:
                    if side == OLD:
                        break
                    continue
                steps += 1
                idle += 1
                record = transaction.get(key, db=data)
                if record is None or key in chosen or (visited.take(key) and steps <= steps_max):
                    continue
                cost = cost_of(key, record)
                if has_young:
                    is_old = side == OLD and steps <= steps_max and idle <= count
                    if is_old and self._worth.is_spared(_COST_US(record, _COST_OFFSET)[0], cost):
                        continue
                    self._share.evicted(crc32(key), side, entries_count=count - len(chosen))
                chosen[key] = record
                freed += cost
                idle = 0
        return list(chosen.items())

    def _is_turn_of_young(self, count: int) -> bool:
        young = self._young_count
        return young > 0 and (young >= self._share.ratio * count or young >= count)

    def _next_young(self, walk: _Walk, state: State) -> bytes | None:
        assert self._young_from is not None
        found = walk.at(self._young_from)
        if found is None:
            self._young_from, self._young_count = state.next_order, 0
            return None
        self._young_from = found[0] + 1
        self._young_count -= 1
        return found[1]

    def _next_old(self, walk: _Walk) -> bytes | None:
        end = self._young_from
        found = walk.at(self._old_hand)
        if found is None or (end is not None and found[0] >= end):
            found = walk.at(0)
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

    def __init__(self, cursor: lmdb.Cursor[bytes]) -> None:
        self._cursor = cursor
        self._next = -1

    def at(self, number: int) -> tuple[int, bytes] | None:
        """Return the first entry at or after an order number, None at the end of the queue."""
        cursor = self._cursor
        if not (cursor.next() if number == self._next else cursor.set_range(number.to_bytes(8, "big"))):
            self._next = -1
            return None
        place, key = cursor.item()
        found = int.from_bytes(place, "big")
        self._next = found + 1
        return found, key
