"""The visited page: one shared byte per bucket of keys, set by whoever read a key.

Readers set a byte (0.07 us) and never message the owner; the owner's eviction hand looks and clears.
Two keys may share a bucket: then one is kept a little longer than it deserves.
"""

from __future__ import annotations

import mmap
import os
from binascii import crc32
from typing import Final

BUCKETS_MIN: Final = 4096
BUCKETS_MAX: Final = 16 * 1024 * 1024
LIMIT_BYTES_PER_BUCKET: Final = 64
"""Four buckets for each of the smallest entries that fit the budget, roughly: with one, every second entry shares its
bucket with another and is kept for that one's sake, which costs 3 to 13 % more misses (`bench/policies.py`)."""


def buckets_for(limit_bytes: int) -> int:
    """Return the number of buckets for a store's budget: a power of two.

    >>> buckets_for(0), buckets_for(256 * 1024 * 1024), buckets_for(1 << 50)
    (4096, 4194304, 16777216)
    """
    wanted = max(1, limit_bytes // LIMIT_BYTES_PER_BUCKET)
    return min(BUCKETS_MAX, max(BUCKETS_MIN, 1 << (wanted - 1).bit_length()))


class VisitedPage:
    """A mapping of the page; `bytes_view` and `mask` are for hot paths:
    `page.bytes_view[crc32(store_key) & page.mask] = 1`.
    """

    def __init__(self, path: str, buckets: int = 0) -> None:
        """Map the page at `path`; with `buckets` (a power of two) it is made, or replaced, at that size.

        Raises:
            FileNotFoundError: there is no page and `buckets` is 0.
            OSError: ENOSPC and the like.
        """
        assert buckets & (buckets - 1) == 0
        if buckets and (not os.path.exists(path) or os.path.getsize(path) != buckets):
            _make(path, buckets)
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._map = mmap.mmap(descriptor, 0)
        finally:
            os.close(descriptor)
        self.bytes_view = memoryview(self._map)
        self.mask: Final = len(self._map) - 1

    def touch(self, key: bytes) -> None:
        """Note that a store key was read."""
        self.bytes_view[crc32(key) & self.mask] = 1

    def take(self, key: bytes) -> bool:
        """Return whether a store key was read since the last call, and forget it."""
        index = crc32(key) & self.mask
        if self.bytes_view[index]:
            self.bytes_view[index] = 0
            return True
        return False

    def close(self) -> None:
        """Give the mapping back."""
        self.bytes_view.release()
        self._map.close()


def _make(path: str, buckets: int) -> None:
    # Beside and renamed: readers that mapped a page of another size go on writing into the old one.
    beside = f"{path}.new"
    descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, buckets)
    finally:
        os.close(descriptor)
    os.rename(beside, path)
