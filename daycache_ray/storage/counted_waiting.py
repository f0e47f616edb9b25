"""What a walk through a store counts of the entries that wait for their origin, beside what the store noted."""

from __future__ import annotations

from typing import Any

import lmdb

from daycache_ray.storage.state import State
from daycache_ray.words.records import Flag, Header


class CountedWaiting:
    """The dirty entries of one store."""

    def __init__(self, transaction: lmdb.Transaction[bytes], table: Any) -> None:
        self._transaction = transaction
        self._table = table
        self._count = self._bytes = 0

    def add(self, key: bytes, header: Header, cost: int) -> str:
        """Count an entry; return what is wrong with it, empty where nothing is."""
        if not header.flags & Flag.DIRTY:
            return ""
        self._count += 1
        self._bytes += cost
        is_listed = self._transaction.get(header.lsn.to_bytes(8, "big"), db=self._table) == key
        return "" if is_listed else "is not listed to be written to its origin"

    def pairs(self, state: State) -> list[tuple[str, int, int]]:
        """Return (what, counted, noted)."""
        listed = int(self._transaction.stat(self._table)["entries"])
        return [
            ("entries listed for an origin", listed, self._count),
            ("entries that an origin lacks", self._count, state.dirty_count),
            ("bytes that an origin lacks", self._bytes, state.dirty_bytes),
        ]
