"""What a store is asked beside single keys: who could go, what is over, which keys there are, what waits.

Reads in the open turn where there is one. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import lmdb

from daycache_ray.storage.entries import Entries, Item
from daycache_ray.storage.generation import Generation
from daycache_ray.storage.scan import scan_keys
from daycache_ray.storage.sharing import NOBODY, Sharing, Writer
from daycache_ray.storage.snapshot import inline_record

_T = TypeVar("_T")


class StoreQuestions:
    """The part of a `Store` that goes through many entries."""

    sharing: Sharing
    _active: Generation

    def victims(self, bytes_needed: int, count_max: int, writer: Writer = NOBODY) -> list[Item]:
        """Return (store key, epoch, lsn) of entries to evict so that `bytes_needed` become free, at most `count_max`.

        Nobody's share is touched. It proposes only: an entry stays until an EVICT record of it is applied.
        """
        return self.ask(
            lambda reading, entries: self.sharing.victims(reading, entries, bytes_needed, count_max, writer)
        )

    def reserved_bytes(self, service: bytes) -> int:
        """Return what services other than this one are guaranteed and do not use."""
        return self.sharing.reserved_bytes(self._active.state, self._active.entries, service)

    def expired(self, now_wall_ns: int, count_max: int) -> list[Item]:
        """Return (store key, epoch, lsn) of entries that expire at or before `now_wall_ns`, the oldest first."""
        return self.ask(lambda reading, entries: entries.expired(reading, now_wall_ns, count_max))

    def next_expiry_ns(self, after_ns: int = 0) -> int:
        """Return the earliest `expires_at_ns` in the store above `after_ns`, 0 when nothing expires then."""
        return self.ask(lambda reading, entries: entries.next_expiry_ns(reading, after_ns))

    def scan(
        self, service: bytes, prefix: bytes, cursor: bytes, limit: int, horizon_ns: int = 0
    ) -> tuple[list[bytes], bytes]:
        """Return up to `limit` full user keys of a service after `cursor`, and the cursor to go on from.

        An empty cursor is the start, and the end. A page may be empty and have a cursor. What is expired at
        `horizon_ns` and remembered misses are left out.
        """
        return self.ask(
            lambda reading, entries: scan_keys(reading, entries.data, service, prefix, cursor, limit, horizon_ns)
        )

    def written_behind(self, after_lsn: int, through_lsn: int, count_max: int) -> list[tuple[int, bytes, bytes]]:
        """Return (LSN, store key, record with inline payload) of what the origin has not got, the oldest first."""
        found = self.ask(
            lambda reading, entries: entries.written_behind(reading, after_lsn, through_lsn, count_max)
        )
        folder = self._active.large.folder
        return [(lsn, key, inline_record(folder, record)) for lsn, key, record in found]

    @property
    def dirty_count(self) -> int:
        """How many entries the origin has not got."""
        return self._active.state.dirty_count

    @property
    def dirty_bytes(self) -> int:
        """What they cost."""
        return self._active.state.dirty_bytes

    def fresh_count(self, row_key: bytes) -> int:
        """Return how many entries have the tag of a row (structures/tags.py) and are not hidden by it."""
        return self.ask(lambda reading, entries: entries.tags.fresh_count(reading, row_key))

    def ask(self, question: Callable[[lmdb.Transaction[bytes], Entries], _T]) -> _T:
        """Answer a question about the visible records, the open turn's changes included."""
        active = self._active
        if active.transaction is not None:
            return question(active.transaction, active.entries)
        with active.environment.begin() as transaction:
            return question(transaction, active.entries)
