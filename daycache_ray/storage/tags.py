"""How many entries have a tag: the counts that invalidations answer with, and what a row waits for to be removed.

`tags`    store key of the tag's row -> u64 entries with the tag, u64 of them hidden by the row

Kept by the owner beside the records, in the same transaction, for entries with tags only. A count goes with the last
entry that has the tag, so the table is as large as the tags of the entries that stand, whatever was invalidated. Where
a failover takes an invalidation back, what an older one hid counts as fresh until it is removed.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import lmdb

from daycache_ray.structures.tags import ROW_SLOT, TAGGED, cover_of_record, row_in, rows_of
from daycache_ray.words.records import HEADER, HEADER_BYTES, Flag

_FLAGS_OFFSET: Final = 37
_DIRTY: Final = int(Flag.DIRTY)
_COUNTS: Final = struct.Struct("<QQ")


class TagCounts:
    """The counts of one generation; every call takes the transaction it works in."""

    def __init__(self, environment: lmdb.Environment, data: Any) -> None:
        self.table = environment.open_db(b"tags")
        self._data = data
        self.is_counting = True
        """False while a copy of the store takes over what another has counted."""

    def counts(self, transaction: lmdb.Transaction[bytes], row: bytes) -> tuple[int, int]:
        """Return how many entries have the tag of a row, and how many of them the row hides."""
        stored = transaction.get(row, db=self.table)
        return (0, 0) if stored is None else _COUNTS.unpack(stored)

    def fresh_count(self, transaction: lmdb.Transaction[bytes], row: bytes) -> int:
        """Return how many entries have the tag of a row and are not hidden by it."""
        total, hidden = self.counts(transaction, row)
        return total - hidden

    def note_entry(self, transaction: lmdb.Transaction[bytes], key: bytes, record: bytes, change: int) -> None:
        """An entry came (1) or went (-1)."""
        header = HEADER.unpack_from(record)
        if not self.is_counting or not header[6] & TAGGED:
            return
        for row in rows_of(key, header[6], record, HEADER_BYTES):
            total, hidden = self.counts(transaction, row)
            stored = transaction.get(row, db=self._data)
            if stored is not None and row_in(stored).covers(header[1]):
                hidden += change
            self._put(transaction, row, total + change, hidden)

    def note_row(self, transaction: lmdb.Transaction[bytes], row: bytes, old: bytes | None, new: bytes | None) -> None:
        """A row came, went, or became another."""
        total, _ = self.counts(transaction, row)
        if self.is_counting and total:
            rises = new is not None and (old is None or row_in(new).gone_lsn >= row_in(old).gone_lsn)
            self._put(transaction, row, total, total if rises else 0)

    def note_later(
        self, transaction: lmdb.Transaction[bytes], row: bytes, chains: dict[bytes, list[int]], lsn: int
    ) -> None:
        """A row written at `lsn` has come: entries with its tag may be newer, if they are in these `chains`."""
        for key in [name for name, lsns in chains.items() if lsns[-1] > lsn]:
            record = transaction.get(key, db=self._data)
            header = HEADER.unpack_from(record) if record is not None else (0,) * 8
            if header[1] > lsn and header[6] & TAGGED and row in rows_of(key, header[6], record or b"", HEADER_BYTES):
                total, hidden = self.counts(transaction, row)
                self._put(transaction, row, total, hidden - 1)

    def take_over(self, transaction: lmdb.Transaction[bytes], row: bytes, stored: bytes | None) -> None:
        """Make the counts of a row those of another generation."""
        if stored is not None:
            transaction.put(row, stored, db=self.table)
        else:
            transaction.delete(row, db=self.table)

    def _put(self, transaction: lmdb.Transaction[bytes], row: bytes, total: int, hidden: int) -> None:
        if total > 0:
            transaction.put(row, _COUNTS.pack(total, max(0, min(hidden, total))), db=self.table)
        else:
            transaction.delete(row, db=self.table)


class TagSweep:
    """One walk after another over the records, for entries that rows hide, and rows that hide nothing any more.

    It proposes only, a few at a time; the primary removes what is still as it was seen. A row goes when a whole walk
    that began after it was settled has met nothing under it: until then it must stay, or what it hides would be back.
    """

    def __init__(self) -> None:
        self._cursor = b""
        self._settled_lsn = 0
        self._met: set[bytes] = set()

    def step(
        self, transaction: lmdb.Transaction[bytes], data: Any, counts: TagCounts, settled_lsn: int, over_ns: int,
        count_max: int,
    ) -> tuple[list[tuple[bytes, int, int]], bool]:  # fmt: skip
        """Look at the next `count_max` records; return what may go (store key, epoch, LSN), and whether more follow.

        `over_ns`: what is over since then or earlier may go too.
        """
        found: list[tuple[bytes, int, int]] = []
        if not self._cursor:
            self._settled_lsn = settled_lsn
            self._met.clear()
        left = count_max
        with transaction.cursor(db=data) as place:
            there = place.set_range(self._cursor + b"\0") if self._cursor else place.first()
            while there and left:
                left -= 1
                key, record = place.item()
                self._cursor = key
                if key >= ROW_SLOT:
                    self._look_at_row(transaction, counts, key, record, found)
                else:
                    cover = cover_of_record(key, record, lambda row: transaction.get(row, db=data))
                    if cover is not None:
                        self._met.update(rows_of(key, HEADER.unpack_from(record)[6], record, HEADER_BYTES))
                        # What the origin has not got yet stays until it has.
                        if cover.over_at_ns <= over_ns and not record[_FLAGS_OFFSET] & _DIRTY:
                            found.append((key, *HEADER.unpack_from(record)[:2]))
                there = place.next()
        if not there:
            self._cursor = b""
        return found, bool(there)

    def _look_at_row(
        self, transaction: lmdb.Transaction[bytes], counts: TagCounts, key: bytes, record: bytes,
        found: list[tuple[bytes, int, int]],
    ) -> None:  # fmt: skip
        epoch, lsn = HEADER.unpack_from(record)[:2]
        if lsn <= self._settled_lsn and (key not in self._met or not counts.counts(transaction, key)[0]):
            found.append((key, epoch, lsn))


def has_rows(transaction: lmdb.Transaction[bytes], data: Any) -> bool:
    """Return whether any tag has been invalidated whose row still stands."""
    with transaction.cursor(db=data) as place:
        return bool(place.last() and place.key() >= ROW_SLOT)
