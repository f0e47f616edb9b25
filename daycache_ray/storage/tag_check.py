"""The part of a store's verification that is about tags: entries, rows and counts must say the same."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import lmdb

from daycache_ray.storage.costs import cost_bytes
from daycache_ray.structures.tags import ROW_BYTES, TAG_ROW, row_in, rows_of
from daycache_ray.words.records import HEADER_BYTES

_COUNTS: Final = struct.Struct("<QQ")
_FLAGS_OFFSET: Final = 37


class TagCheck:
    """The tags of one walk through a store."""

    def __init__(self, damage: Callable[[str, str], None]) -> None:
        self._damage = damage
        self._tagged: Counter[bytes] = Counter()

    def entry(self, where: str, key: bytes, record: bytes) -> None:
        """Look at the tags of an entry."""
        try:
            self._tagged.update(rows_of(key, record[_FLAGS_OFFSET], record, HEADER_BYTES))
        except ValueError as error:
            self._damage(where, str(error))

    def row(self, key: bytes, record: bytes, last_lsn: int) -> int:
        """Look at the row of a tag, and return what it costs."""
        where = f"data {key.hex()}"
        if len(record) != HEADER_BYTES + ROW_BYTES or not record[_FLAGS_OFFSET] & TAG_ROW:
            self._damage(where, f"is no record of a tag's row: {len(record)} bytes")
        elif max(row_in(record)[:2]) > last_lsn:
            self._damage(where, "says that something is over that was never written")
        return cost_bytes(key, record)

    def counts(self, transaction: lmdb.Transaction[bytes], table: Any) -> None:
        """Compare what is counted with what was met."""
        noted = {bytes(row): stored for row, stored in transaction.cursor(db=table).iternext()}
        for row in sorted(noted.keys() | self._tagged.keys()):
            total, hidden = _COUNTS.unpack(noted[row]) if len(noted.get(row, b"")) == _COUNTS.size else (0, 0)
            if total != self._tagged[row] or hidden > total:
                said = f"counts {total} entries, {hidden} of them hidden, and {self._tagged[row]} have it"
                self._damage(f"tag {row.hex()}", said)
