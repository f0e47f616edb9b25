"""Memory for the store's file, allocated before LMDB touches it.

A store is written through its mapping (writemap), and touching a page that tmpfs cannot give is SIGBUS.
So the file is allocated ahead of the highest page that a turn can reach: then a full tmpfs is ENOSPC.
The bound is generous, because what is allocated too early is used later.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable
from typing import Final, NoReturn

import lmdb

from daycache_ray.words.errors import StoreFullError

PAGE_BYTES: Final = 4096
_STEP_BYTES_MAX: Final = 4 * 1024 * 1024
_STEP_BYTES_MIN: Final = 256 * 1024
_RESERVE_BYTES: Final = 2 * 1024 * 1024
"""Removals must be possible when nothing is left, or a full store could never be emptied: 16 at a time are."""

PUT_PAGES: Final = 8
"""Pages that a record can touch in the trees of visible records: three leaves, their splits, its before-image."""

REMOVAL_PAGES: Final = 6
"""The same without splits."""

REMOVALS_MIN: Final = 16

_SPARE_PAGES_MIN: Final = 32
_TURNS_REMEMBERED: Final = 64

TURN_PAGES: Final = 24
"""Pages that a turn touches whatever it does: the roots, LMDB's list of free pages."""


class AllocatedSpace:
    """How much of a store's file is backed by memory."""

    def __init__(
        self,
        path: str,
        limit_bytes: int,
        last_page: Callable[[], int],
        free_pages: Callable[[int], tuple[int, int]],
    ) -> None:
        """Watch over the file at `path`; allocate nothing yet.

        `last_page()` is the highest page of the last commit; it is asked for when the sum of what the turns since
        could have added does not fit any more. `free_pages(last_page)` counts the pages below that are free, and
        says from which transaction on what was freed is still pinned by a reader.
        """
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.allocated_bytes = 0
        self._step_bytes = min(_STEP_BYTES_MAX, max(_STEP_BYTES_MIN, limit_bytes // 16))
        self._last_page = last_page
        self._free_pages = free_pages
        self._base_pages = 0
        self._touched_pages = 0
        self._added_bytes = 0
        self._is_exact = False
        self._reusable_pages: int | None = None
        self._turns: deque[tuple[int, int]] = deque(maxlen=_TURNS_REMEMBERED)

    def begin_turn(self) -> None:
        """A turn begins."""
        self._touched_pages = TURN_PAGES
        self._added_bytes = 0
        self._reusable_pages = None

    def expect(self, pages_touched: int, bytes_added: int, is_removal: bool) -> None:
        """Make sure that the turn can change so many pages and add so much more.

        Raises:
            OSError: ENOSPC; nothing was touched.
        """
        self._touched_pages += pages_touched
        self._added_bytes += 2 * bytes_added  # leaves are half full after a split
        reserve = 0 if is_removal else _RESERVE_BYTES
        if self._end_bytes() + reserve <= self.allocated_bytes:
            return
        if not self._is_exact:
            self._base_pages = self._last_page() + 1
            self._is_exact = True
        needed = self._end_bytes() + reserve
        if needed > self.allocated_bytes:
            try:
                self._allocate(needed)
            except OSError as error:
                if error.errno != errno.ENOSPC or not self._fits_into_free_pages():
                    raise

    def end_turn(self, transaction_id: int, pages_freed: int) -> None:
        """Note how many pages a committed turn can have freed, beside those that it changed."""
        pages = self._turn_pages()
        self._turns.append((transaction_id, pages + pages_freed))
        self._base_pages += pages
        self._is_exact = False

    def pinned_pages_max(self, free_pages: int, pinned_since: int) -> int:
        """Return how many of the free pages a reader of transaction `pinned_since` can pin at most."""
        if not self._turns or self._turns[-1][0] <= pinned_since:
            return 0
        if self._turns[0][0] > pinned_since + 1:
            return free_pages
        return min(free_pages, sum(pages for transaction_id, pages in self._turns if transaction_id > pinned_since))

    def close(self) -> None:
        """Stop watching."""
        os.close(self._descriptor)

    def _turn_pages(self) -> int:
        # No more pages can be changed than there are.
        touched = min(self._touched_pages, self._base_pages + 2 * TURN_PAGES)
        return touched + -(-self._added_bytes // PAGE_BYTES)

    def _end_bytes(self) -> int:
        return (self._base_pages + self._turn_pages()) * PAGE_BYTES

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

    def _fits_into_free_pages(self) -> bool:
        """Whether LMDB will find the turn's pages below the highest one, where memory is there already.

        It takes free pages first, but not those that were freed since the oldest reader began; how many these are
        at most is known from the turns. A record of two pages may need new ones all the same: for it some must be left.
        """
        spare_pages = self.allocated_bytes // PAGE_BYTES - self._base_pages
        if spare_pages < _SPARE_PAGES_MIN:
            return False
        if self._reusable_pages is None:
            free, pinned_since = self._free_pages(self._base_pages - 1)
            oldest = self._turns[0][0] if self._turns else pinned_since + 1
            # LMDB's own list of free pages is among the free ones here: 8 bytes each.
            free -= TURN_PAGES + free // 256
            recent = sum(pages for transaction_id, pages in self._turns if transaction_id >= pinned_since)
            self._reusable_pages = free - recent if oldest <= pinned_since else 0
        return self._turn_pages() <= self._reusable_pages


def removals_that_fit(free_bytes: int) -> int:
    """Return how many removals one turn can make where `free_bytes` are left; the reserve holds sixteen.

    >>> removals_that_fit(0), removals_that_fit(16 * 1024 * 1024)
    (16, 585)
    """
    return max(REMOVALS_MIN, free_bytes // ((REMOVAL_PAGES + 1) * PAGE_BYTES))


def is_full(error: BaseException) -> bool:
    """Return whether an error means that memory is at its end."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, lmdb.MapFullError) or (isinstance(error, lmdb.DiskError) and "No space" in str(error))


def raise_full(error: BaseException, path: str) -> NoReturn:
    """Raise `error`, as StoreFullError where it means that memory is at its end."""
    if is_full(error):
        raise StoreFullError(
            f"the shared memory that holds {path} is full ({error}): nothing of this turn was written. Evict or delete "
            f"entries, remove what else lies there, or give it more (docker run --shm-size, a memory volume)"
        ) from error
    raise error
