"""The store of a replica, a reader's end: any process of the node, read-only, without a message to the owner.

A client's hot path may go round the methods, with what stands in the attributes:

    fence = reader.fence                              # before: epoch, incarnation, generation
    record = reader.begin(reader.data).get(key)       # one read transaction, given back at once
    reader.visited[crc32(key) & reader.visited_mask] = 1
    # after: the same epoch, incarnation, generation; lease and record's LSN against the words now

Take the attributes from the reader at every call: `refresh` (another generation, fence[WORD_GENERATION] !=
reader.generation) and a fork put others in their place. A record with Flag.LARGE names a file (`payload`), one
with Flag.LONG_KEY begins with the full key, which must be compared (`is_record_of`).

Judges nothing: whether a record may be shown is for the caller, who knows level, lease and horizon.
"""

from __future__ import annotations

import os
import threading
from binascii import crc32
from collections.abc import Callable, Sequence
from typing import Any, Final

import lmdb

from daycache_ray.storage import directory as directories
from daycache_ray.storage.environments import READERS_MAX, Opened, open_shared, when_forked
from daycache_ray.storage.fence_page import (
    WORD_GENERATION,
    WORD_PID_NAMESPACE,
    Fence,
    FencePage,
    namespace_inode,
)
from daycache_ray.storage.large_values import LONG_KEY, Reference, is_large, map_file, value_offset
from daycache_ray.storage.visited_page import VisitedPage
from daycache_ray.words.errors import CacheClosedError, CorruptRecordError, StoreFormatError, UnavailableError
from daycache_ray.words.records import HEADER_BYTES, Codec

_ATTEMPTS: Final = 16
_CODEC_OFFSET: Final = 36
_FLAGS_OFFSET: Final = 37
_TORCH: Final = int(Codec.TORCH)


class StoreReader:
    """A reader of one store. Threads may share it; a forked child reopens by itself."""

    begin: Callable[..., lmdb.Transaction[bytes]]
    """`begin` of the present generation's environment."""
    data: Any
    """Handle of the records' database."""
    fence: memoryview
    """Words of the fence page, see fence_page.WORD_*."""
    visited: memoryview
    """One byte per bucket."""
    visited_mask: int
    generation: int

    def __init__(self, directory: str) -> None:
        """Open the store in `directory`.

        Raises:
            UnavailableError: there is none, or it cannot be read from this process: ask the owner by its socket.
        """
        self.directory = directory
        self.large_folder = os.path.join(directory, directories.LARGE_NAME)
        self._lock = threading.Lock()
        self._opened: Opened | None = None
        self._page: FencePage | None = None
        self._is_closed = False
        self.refresh()
        when_forked(self)

    def get(self, key: bytes) -> bytes | None:
        """Return the record of a store key with header and payload, or None.

        Raises:
            UnavailableError: the store cannot be read any more.
        """
        try:
            record = self.begin(self.data).get(key)
        except lmdb.Error as error:
            record = self._get_again(key, error)
        if self.fence[WORD_GENERATION] != self.generation:
            record = self._get_anew(key)
        if record is not None:
            self.visited[crc32(key) & self.visited_mask] = 1
        return record

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return one record or None per key, all of one moment; errors as `get`."""
        for _ in range(_ATTEMPTS):
            try:
                get = self.begin(self.data).get
                records = [get(key) for key in keys]
            except lmdb.Error as error:
                self._recover(error)
                continue
            if self.fence[WORD_GENERATION] == self.generation:
                visited, mask = self.visited, self.visited_mask
                for key, record in zip(keys, records, strict=True):
                    if record is not None:
                        visited[crc32(key) & mask] = 1
                return records
            self.refresh()
        raise UnavailableError(f"{self.directory} does not come to rest: ask its owner")

    def fetch(self, key: bytes) -> tuple[bytes, bytes | memoryview] | None:
        """Return (record, the value's encoded bytes), or None; a large value is a view of its file's mapping.

        A view may be kept: it holds its mapping, and the file's memory, until it is collected. Errors as `get`.
        """
        for _ in range(_ATTEMPTS):
            record = self.get(key)
            if record is None:
                return None
            value = self.payload(record)
            if value is not None:
                return record, value
        raise UnavailableError(f"the value of {key!r} changes faster than it can be mapped: ask its owner")

    def payload(self, record: bytes) -> bytes | memoryview | None:
        """Return the value's encoded bytes, without the full key of a long one.

        None: its file is gone, for the record was superseded meanwhile; read it again, it is no miss (rule R31).
        """
        start = value_offset(record)
        if not is_large(record):
            return record[start:]
        try:
            # A tensor has no read-only flag: on a shared mapping, writing to one would kill the process.
            is_private = record[_CODEC_OFFSET] == _TORCH
            return map_file(self.large_folder, Reference(record[start:]), is_private=is_private)
        except FileNotFoundError:
            return None

    def read_fence(self) -> Fence | None:
        """Return fence words that agree, or None when the owner stopped while it wrote them."""
        assert self._page is not None
        return self._page.read()

    def refresh(self) -> None:
        """Open the present generation: all attributes for hot paths change.

        Raises:
            UnavailableError: as in the constructor.
            CacheClosedError: the reader is closed.
        """
        with self._lock:
            if self._is_closed:
                raise CacheClosedError(f"the reader of {self.directory} is closed: open another")
            for _ in range(_ATTEMPTS):
                try:
                    if self._open_generation():
                        return
                except FileNotFoundError:
                    # Swapped between our look at the fence page and the opening.
                    continue
        raise UnavailableError(f"there is no store to read in {self.directory}: ask the owner by its socket")

    @property
    def environment(self) -> lmdb.Environment:
        """The present generation's environment, for looking at its table of readers.

        Raises:
            CacheClosedError: the reader is closed.
        """
        opened = self._opened
        if opened is None:
            raise CacheClosedError(f"the reader of {self.directory} is closed: open another")
        return opened.environment

    def close(self) -> None:
        """Give everything back; views of large values stay valid."""
        with self._lock:
            self._is_closed = True
            opened, self._opened = self._opened, None
            self.begin = self._begin_closed
        if opened is not None:
            opened.release()

    def forget_after_fork(self) -> None:
        """Called in a forked child: the environment is the parent's, the next call opens one of our own."""
        self._lock = threading.Lock()
        self._opened = None
        if not self._is_closed:
            self.begin = self._begin_after_fork

    def _open_generation(self) -> bool:
        """Open what the fence page names, and say whether it still does then."""
        try:
            page = FencePage(os.path.join(self.directory, directories.FENCE_NAME))
        except (FileNotFoundError, StoreFormatError) as error:
            raise UnavailableError(f"there is no store in {self.directory} yet: ask the owner by its socket") from error
        words = page.words
        generation = words[WORD_GENERATION]
        if generation == 0:
            raise UnavailableError(f"the store in {self.directory} was removed: ask the owner by its socket")
        if words[WORD_PID_NAMESPACE] != namespace_inode("pid"):
            # LMDB tells readers apart by process id, and another namespace has the same ones.
            raise UnavailableError(f"the owner of {self.directory} is in another PID namespace: ask it by its socket")
        visited = VisitedPage(os.path.join(self.directory, directories.VISITED_NAME))
        opened = open_shared(directories.generation_path(self.directory, generation))
        try:
            data = _records_of(opened)
        except lmdb.Error as error:
            opened.release()
            raise UnavailableError(f"{self.directory} cannot be read: {error}") from error
        former, self._opened = self._opened, opened
        self._page, self._visited_page = page, visited
        self.fence, self.visited, self.visited_mask = words, visited.bytes_view, visited.mask
        # Another thread between these lines reads a new environment under an old number, and reads again.
        self.data, self.begin = data, opened.environment.begin
        self.generation = generation
        if former is not None:
            former.release()
        return bool(words[WORD_GENERATION] == generation)

    def _get_anew(self, key: bytes) -> bytes | None:
        for _ in range(_ATTEMPTS):
            self.refresh()
            try:
                record = self.begin(self.data).get(key)
            except lmdb.Error as error:
                self._recover(error)
                continue
            if self.fence[WORD_GENERATION] == self.generation:
                return record
        raise UnavailableError(f"{self.directory} does not come to rest: ask its owner")

    def _get_again(self, key: bytes, error: lmdb.Error) -> bytes | None:
        self._recover(error)
        try:
            return self.begin(self.data).get(key)
        except lmdb.Error as again:
            raise UnavailableError(f"{self.directory} cannot be read: {again}; ask its owner by its socket") from again

    def _recover(self, error: lmdb.Error) -> None:
        if isinstance(error, lmdb.CorruptedError):
            raise CorruptRecordError(f"{self.directory}: {error}; its owner must rebuild it") from error
        if isinstance(error, lmdb.ReadersFullError) and self._opened is not None:
            # Dead processes keep their slots until somebody looks.
            if self._opened.environment.reader_check():
                return
            raise UnavailableError(
                f"{self.directory} has {READERS_MAX} readers, as many as its table holds: ask its owner by its socket"
            ) from error
        self.refresh()

    def _begin_after_fork(self, *_: Any) -> lmdb.Transaction[bytes]:
        self.refresh()
        return self.begin(self.data)

    def _begin_closed(self, *_: Any) -> lmdb.Transaction[bytes]:
        raise CacheClosedError(f"the reader of {self.directory} is closed: open another")


def _records_of(opened: Opened) -> Any:
    if not opened.is_owned:
        return opened.environment.open_db(b"data", create=False)
    # In the owner's own process py-lmdb would begin a writing transaction for this, and wait for the owner's
    # with the interpreter's lock in its hand. The handle exists there already, so a reading one will do.
    with opened.environment.begin() as transaction:
        return opened.environment.open_db(b"data", txn=transaction, create=False)


def is_record_of(record: bytes, key: bytes) -> bool:
    """Return whether a record found under a digest belongs to the full user `key`, not to another with that digest."""
    if not record[_FLAGS_OFFSET] & LONG_KEY:
        return True
    value_offset(record)  # Raises where it is cut off.
    end = HEADER_BYTES + 2 + len(key)
    return record[HEADER_BYTES:end] == len(key).to_bytes(2, "little") + key
