"""Memory for the store's file, allocated before LMDB touches it.

A store is written through its mapping (writemap), and touching a page that tmpfs cannot give is SIGBUS.
So the file is allocated ahead of the highest page that a turn can reach: then a full tmpfs is ENOSPC.
The bound is generous, because what is allocated too early is used later.
"""

from __future__ import annotations

import errno
import os
from typing import Final, NoReturn

import lmdb

from daycache_ray.words.errors import StoreFullError

PAGE_BYTES: Final = 4096
_STEP_BYTES_MAX: Final = 4 * 1024 * 1024
_STEP_BYTES_MIN: Final = 256 * 1024
_RESERVE_BYTES_MAX: Final = 2 * 1024 * 1024
_RESERVE_BYTES_MIN: Final = 512 * 1024

PATH_PAGES: Final = 8
"""Pages that one record can touch in the trees: a leaf each, and splits above them."""

TURN_PAGES: Final = 24
"""Pages that a turn touches whatever it does: the roots, LMDB's list of free pages."""


class AllocatedSpace:
    """How much of a store's file is backed by memory."""

    def __init__(self, path: str, limit_bytes: int) -> None:
        """Watch over the file at `path`; allocate nothing yet."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.allocated_bytes = 0
        self._step_bytes = min(_STEP_BYTES_MAX, max(_STEP_BYTES_MIN, limit_bytes // 16))
        # Removals must be possible when nothing is left, or a full store could never be emptied.
        self._reserve_bytes = min(_RESERVE_BYTES_MAX, max(_RESERVE_BYTES_MIN, limit_bytes // 32))
        self._pages = 0
        self._reach_bytes = 0

    def begin_turn(self, last_page: int) -> None:
        """Note the highest page in use when a turn begins."""
        self._pages = last_page + 1
        self._reach_bytes = (last_page + 1 + TURN_PAGES) * PAGE_BYTES

    def expect(self, records_count: int, value_bytes: int, key_bytes: int, is_removal: bool) -> None:
        """Make sure that the turn can write so much more.

        Raises:
            OSError: ENOSPC; nothing was touched.
        """
        touched = min(PATH_PAGES * records_count, self._pages + TURN_PAGES)
        # Twice, for leaves are half full after a split; three times, for log, visible record and before-image.
        added = 2 * (3 * value_bytes + 4 * key_bytes + 320 * records_count)
        self._reach_bytes += touched * PAGE_BYTES + added
        needed = self._reach_bytes if is_removal else self._reach_bytes + self._reserve_bytes
        if needed > self.allocated_bytes:
            self._allocate(needed)

    def close(self) -> None:
        """Stop watching."""
        os.close(self._descriptor)

    def _allocate(self, needed: int) -> None:
        for target in (needed + self._step_bytes, needed):
            end = -(-target // PAGE_BYTES) * PAGE_BYTES
            try:
                os.posix_fallocate(self._descriptor, self.allocated_bytes, end - self.allocated_bytes)
            except OSError as error:
                if error.errno != errno.ENOSPC or target == needed:
                    raise
            else:
                self.allocated_bytes = end
                return


def raise_full(error: BaseException, path: str) -> NoReturn:
    """Raise `error`, as StoreFullError where it means that memory is at its end."""
    is_full = isinstance(error, lmdb.MapFullError) or (
        isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    )
    if is_full or (isinstance(error, lmdb.DiskError) and "No space" in str(error)):
        raise StoreFullError(
            f"the shared memory that holds {path} is full ({error}): nothing of this turn was written. Evict or delete "
            f"entries, remove what else lies there, or give it more (docker run --shm-size, a memory volume)"
        ) from error
    raise error
