"""A stable view of a generation's visible records, for a replica that joins.

It is one read transaction, so every page that is overwritten meanwhile stays: close it soon.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import lmdb

from daycache_ray.storage.generation import Generation
from daycache_ray.storage.large_values import LARGE, Reference, is_large, read_file, value_offset
from daycache_ray.structures.tags import ROW_SLOT
from daycache_ray.words.errors import RetryableError

_FLAGS_OFFSET = 37


class StoreSnapshot:
    """Hands out the records in the order of their store keys; see words.ports.Snapshot."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._transaction: lmdb.Transaction[bytes] | None = generation.environment.begin()
        self._items = _items(self._transaction, generation.data)
        generation.large.snapshot_opened()

    def next_items(self, bytes_max: int) -> tuple[tuple[bytes, bytes], ...]:
        """Return further (store key, record with inline payload) pairs, one at least; empty at the end.

        Raises:
            RetryableError: the store has another generation meanwhile; begin anew.
        """
        assert bytes_max > 0
        if self._transaction is None:
            raise RetryableError("this snapshot was closed, or its store has another generation: open a new one")
        found = []
        total = 0
        for key, record in self._items:
            whole = inline_record(self._generation.large.folder, record)
            found.append((key, whole))
            total += len(key) + len(whole)
            if total >= bytes_max:
                break
        return tuple(found)

    @property
    def is_open(self) -> bool:
        """Whether it still shows something."""
        return self._transaction is not None

    def close(self) -> None:
        """Give the view back; doing so twice is harmless."""
        if self._transaction is not None:
            transaction, self._transaction = self._transaction, None
            self._items.close()
            transaction.abort()
            self._generation.large.snapshot_closed()


def _items(transaction: lmdb.Transaction[bytes], data: Any) -> Generator[tuple[bytes, bytes], None, None]:
    """Yield the rows of tags first, so that whoever loads the entries knows which of them are hidden."""
    with transaction.cursor(db=data) as cursor:
        if cursor.set_range(ROW_SLOT):
            yield from cursor.iternext()
        if cursor.first():
            for item in cursor.iternext():
                if item[0] >= ROW_SLOT:
                    return
                yield item


def inline_record(folder: str, record: bytes) -> bytes:
    """Return a record with its value in place of the reference to its file.

    Raises:
        FileNotFoundError: the record was superseded meanwhile.
    """
    if not is_large(record):
        return record
    start = value_offset(record)
    value = read_file(folder, Reference(record[start:]))
    flags = bytes((record[_FLAGS_OFFSET] & ~LARGE,))
    return b"".join((record[:_FLAGS_OFFSET], flags, record[_FLAGS_OFFSET + 1 : start], value))
