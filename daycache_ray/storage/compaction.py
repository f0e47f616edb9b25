"""Rewriting a generation into a new, smaller one, in small steps between the owner's turns.

LMDB's file never shrinks: what was deleted is free pages, and only a copy gives them back. The copy is made of one
snapshot, table by table in the order of their keys, which also fills its pages to the brim; then what the turns
changed meanwhile is brought over, again and again until little is left, and the last step takes the rest, the log and
the counters over in one transaction. Until that one is committed the new generation is incomplete, so a crash leaves
the old one. Large values stay where they are: both generations mean the same files.

Knows nothing of readers; the store sends them over.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from typing import Any, Final

import lmdb

from daycache_ray.storage.generation import Generation
from daycache_ray.storage.large_values import flags_of, is_large, reference_of
from daycache_ray.storage.log import reference_in, unpack_entry
from daycache_ray.storage.space import PUT_PAGES
from daycache_ray.storage.state import STATE_KEY, assign_state, copy_of, unpack_state
from daycache_ray.structures.tags import is_row_key, rows_of
from daycache_ray.words.records import HEADER_BYTES

STEP_ITEMS: Final = 512
"""What one step copies at most: a millisecond of small records, three of the largest."""

STEP_BYTES: Final = 1024 * 1024
CHANGED_STEP_ITEMS: Final = 128
"""What one step brings over of changes: they come in any order and touch several tables each."""

REST_ITEMS_MAX: Final = 64
"""Changes that the last step may find: few enough to be done in one turn with the log's end."""

WASTE_PAGES_MIN: Final = 4096
"""Free pages beyond the used ones that are worth a compaction: 16 MiB."""

_NO_CUT: Final = 1 << 63
_LSN: Final = struct.Struct(">Q")
_ITEM_BYTES: Final = 64
"""What LMDB adds to an item, generously."""


def is_wasteful(generation: Generation) -> bool:
    """Return whether rewriting a generation would give back much memory: it is mostly free pages, and many."""
    used, free = generation.pages()
    return free > used + WASTE_PAGES_MIN


class Compaction:
    """One rewriting of `source` into `target`, which is empty and incomplete. Every call is made between turns."""

    def __init__(self, source: Generation, target: Generation) -> None:
        self.target = target
        self._source = source
        # A file that nothing here means any more may be meant by the source's log.
        target.large.removes_files = False
        target.entries.tags.is_counting = False
        self._changed: dict[bytes, None] = {}
        self._copied_lsn = 0
        self._cut_lsn = _NO_CUT
        self._snapshot: lmdb.Transaction[bytes] | None = source.environment.begin()
        self._steps = self._copy()

    def note_changed(self, keys: Iterable[bytes]) -> None:
        """Note that a turn changes, or may change, the visible records of these store keys."""
        self._changed.update(dict.fromkeys(keys))

    def note_cut(self, lsn: int) -> None:
        """Note that a turn cuts the log after `lsn`, and puts back what uncommitted records replaced."""
        self._changed.update(dict.fromkeys(self._source.images.chains))
        self._cut_lsn = min(self._cut_lsn, lsn)

    def step(self) -> bool:
        """Do a little; return whether there is more to do before `finish`.

        Raises:
            OSError, lmdb.Error: ENOSPC and the like; abandon it.
        """
        assert self._source.transaction is None, "a turn is open"
        if next(self._steps, None) is not None:
            return True
        # Turns went on meanwhile: keep the rest small until somebody finishes.
        if len(self._changed) > REST_ITEMS_MAX:
            self._bring_over(CHANGED_STEP_ITEMS)
            return True
        if self._source.state.last_lsn - self._copied_lsn > REST_ITEMS_MAX or self._cut_lsn < self._copied_lsn:
            self._copy_log_part()
            return True
        return False

    def finish(self) -> None:
        """Take over what is left, and make the target complete: it is the store from the commit in here on.

        Raises:
            OSError, lmdb.Error: ENOSPC and the like; abandon it.
        """
        source, target = self._source, self.target
        assert source.transaction is None, "a turn is open"
        while self._changed:
            self._bring_over(len(self._changed))
        while self._copy_log_part():
            pass
        noted = source.state
        counted = target.state
        assert (counted.entries_count, counted.used_bytes, counted.large_bytes, counted.queues) == (
            noted.entries_count,
            noted.used_bytes,
            noted.large_bytes,
            noted.queues,
        ), f"a copy of {source.path} has other books: {counted} beside {noted}"
        transaction = target.begin_copying(0, 0)
        self._forget_log(transaction, 0, noted.base_lsn)
        self._copy_images(transaction)
        assign_state(counted, copy_of(noted))
        target.end_turn()
        with target.environment.begin() as reading:
            target.images.load(reading)
        target.entries.take_over(source.entries)
        target.large.removes_files = True
        target.entries.tags.is_counting = True

    def close(self) -> None:
        """Let the snapshot go; the target is the caller's."""
        self._steps.close()
        if self._snapshot is not None:
            self._snapshot.abort()
            self._snapshot = None

    def _copy(self) -> Generator[bool, None, None]:
        source, target = self._source, self.target
        snapshot = self._snapshot
        assert snapshot is not None
        stored = snapshot.get(STATE_KEY)
        assert stored is not None
        noted = unpack_state(stored)
        yield from self._copy_table(snapshot, source.data, target.data, is_data=True)
        yield from self._copy_table(snapshot, source.entries.order, target.entries.order)
        yield from self._copy_table(snapshot, source.entries.expiry, target.entries.expiry)
        yield from self._copy_table(snapshot, source.entries.dirty, target.entries.dirty)
        yield from self._copy_table(snapshot, source.entries.tags.table, target.entries.tags.table)
        counted = target.state
        counted.entries_count, counted.used_bytes, counted.large_bytes, counted.queues = (
            noted.entries_count,
            noted.used_bytes,
            noted.large_bytes,
            noted.queues,
        )
        counted.dirty_count, counted.dirty_bytes = noted.dirty_count, noted.dirty_bytes
        # From here on nothing pins the pages that turns free.
        snapshot.abort()
        self._snapshot = None
        self._copied_lsn = source.state.base_lsn
        self._cut_lsn = _NO_CUT

    def _copy_table(
        self, snapshot: lmdb.Transaction[bytes], table: Any, into: Any, is_data: bool = False
    ) -> Iterator[bool]:
        target = self.target
        items = snapshot.cursor(db=table).iternext()
        while part := _part(items):
            added = sum(len(key) + len(value) + _ITEM_BYTES for key, value in part)
            transaction = target.begin_copying(0, added)
            with transaction.cursor(db=into) as cursor:
                cursor.putmulti(part, append=True)
            if is_data:
                for _, record in part:
                    if is_large(record):
                        target.large.hold(transaction, target.entries.counts, reference_of(record))
            target.end_turn()
            yield True

    def _bring_over(self, count: int) -> None:
        """Make the target's records of `count` changed keys those that are visible now."""
        source, target = self._source, self.target
        keys = list(islice(self._changed, count))
        with source.environment.begin() as reading:
            records = [reading.get(key, db=source.data) for key in keys]
        added = sum(len(key) * 2 + len(record or b"") + _ITEM_BYTES for key, record in zip(keys, records, strict=True))
        transaction = target.begin_copying(PUT_PAGES * len(keys), added)
        touched: set[bytes] = set()
        for key, record in zip(keys, records, strict=True):
            there = transaction.get(key, db=target.data)
            if there != record:
                target.entries.replace(transaction, key, there, record)
            touched.update(_rows_of(key, there))
            touched.update(_rows_of(key, record))
        with source.environment.begin() as reading:
            for row in touched:
                counts = reading.get(row, db=source.entries.tags.table)
                target.entries.tags.take_over(transaction, row, counts)
        target.end_turn()
        for key in keys:
            del self._changed[key]

    def _copy_log_part(self) -> bool:
        """Copy some of the log's entries that the target has not got; return whether there were any."""
        source, target = self._source, self.target
        start_lsn = max(min(self._copied_lsn, self._cut_lsn), source.state.base_lsn)
        with source.environment.begin() as reading, reading.cursor(db=source.log.log) as cursor:
            found = cursor.set_range(_LSN.pack(start_lsn + 1))
            part = _part(cursor.iternext()) if found else []
        if not part and self._cut_lsn >= self._copied_lsn:
            return False
        transaction = target.begin_copying(0, sum(len(entry) + _ITEM_BYTES for _, entry in part))
        if self._cut_lsn < self._copied_lsn:
            self._forget_log(transaction, self._cut_lsn, self._copied_lsn)
        for place, entry in part:
            transaction.put(place, entry, db=target.log.log, append=True)
            _, _, large, record = unpack_entry(entry)
            if large:
                target.large.hold(transaction, target.entries.counts, reference_in(record))
        target.end_turn()
        self._copied_lsn = int.from_bytes(part[-1][0], "big") if part else start_lsn
        self._cut_lsn = _NO_CUT
        return True

    def _forget_log(self, transaction: lmdb.Transaction[bytes], above_lsn: int, through_lsn: int) -> None:
        """Remove what the target has of the log above one LSN and through another."""
        target = self.target
        with transaction.cursor(db=target.log.log) as cursor:
            found = cursor.set_range(_LSN.pack(above_lsn + 1))
            # Behind the last one a deleting cursor has an empty key, and says that it found it.
            while found and cursor.key() and int.from_bytes(cursor.key(), "big") <= through_lsn:
                _, _, large, record = unpack_entry(cursor.value())
                if large:
                    target.large.drop(transaction, target.entries.counts, reference_in(record))
                found = cursor.delete()

    def _copy_images(self, transaction: lmdb.Transaction[bytes]) -> None:
        source, target = self._source, self.target
        with source.environment.begin() as reading:
            for place, stored in reading.cursor(db=source.images.undo).iternext():
                transaction.put(place, stored, db=target.images.undo, append=True)
                image = source.images.image(reading, int.from_bytes(place, "big"))
                if image is not None and is_large(image):
                    target.large.hold(transaction, target.entries.counts, reference_of(image))


def _rows_of(key: bytes, record: bytes | None) -> list[bytes]:
    """Return the rows of whose tags a record is counted; a row is its own."""
    if is_row_key(key):
        return [key]
    return [] if record is None else rows_of(key, flags_of(record), record, HEADER_BYTES)


def _part(items: Iterator[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the next items, as many as one step may copy; empty at the end."""
    part = []
    size = 0
    for item in islice(items, STEP_ITEMS):
        part.append(item)
        size += len(item[1])
        if size >= STEP_BYTES:
            break
    return part
