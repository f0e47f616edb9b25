"""What an entry costs of a store's budget."""

from __future__ import annotations

from typing import Final

from daycache_ray.storage.large_values import LARGE, pages_bytes, reference_of
from daycache_ray.words.records import HEADER_BYTES

ENTRY_OVERHEAD_BYTES: Final = 112
"""What LMDB and the two orders cost beside key and record, measured at 100 B values with half-full leaves."""

SMALL_RECORD_BYTES: Final = 2_000
"""Records above have pages of their own in LMDB."""
_PAGE_HEADER_BYTES: Final = 16
_FLAGS_OFFSET: Final = 37


def cost_bytes(key: bytes, record: bytes) -> int:
    """Return what an entry costs: record, key, a fixed overhead, and whole pages where it has pages of its own.

    >>> cost_bytes(b"k" * 12, bytes(HEADER_BYTES + 100))
    264
    """
    size = len(record)
    if size > SMALL_RECORD_BYTES:
        size = pages_bytes(size + _PAGE_HEADER_BYTES)
    if record[_FLAGS_OFFSET] & LARGE:
        size += pages_bytes(reference_of(record).size_bytes)
    return size + len(key) + ENTRY_OVERHEAD_BYTES


def expected_bytes(key: bytes, value: bytes) -> int:
    """Return about what a value that is not stored yet will cost, never less by more than a page.

    >>> expected_bytes(b"k" * 12, bytes(100))
    264
    """
    size = HEADER_BYTES + len(value)
    if size > SMALL_RECORD_BYTES:
        size = pages_bytes(size + _PAGE_HEADER_BYTES)
    return size + len(key) + ENTRY_OVERHEAD_BYTES
