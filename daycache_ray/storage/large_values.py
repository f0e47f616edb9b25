"""Large values: one tmpfs file for each, named by the records that mean it.

A file returns its memory when it is unlinked, without fragmenting the store (1 MB puts into one
environment of all sizes took 145 ms), and a reader's mapping lives on by itself. A file's name is
`<epoch>-<lsn>` of the record that brought it. Visible record, log entry and before-images may all mean one
file; how many do is counted in the store itself, in the same transaction as the records, so a file
without a count is left from a turn that was never committed.

A record with Flag.LARGE has, behind its header and the full key of Flag.LONG_KEY, a reference in place of
its value: u64 size, u64 xxh3 of the file's bytes, then the name.
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import Any, Final

import lmdb
import xxhash

from daycache_ray.structures.tags import value_start
from daycache_ray.words.errors import CorruptRecordError
from daycache_ray.words.records import HEADER_BYTES, Flag

_SIZE_HASH: Final = struct.Struct("<QQ")
_COUNT: Final = struct.Struct("<I")
_FLAGS_OFFSET: Final = 37

LARGE: Final = int(Flag.LARGE)
LONG_KEY: Final = int(Flag.LONG_KEY)
"""Plain numbers: an operator of an IntFlag costs a microsecond, and every record is asked a few times."""

_PREFIXED: Final = LONG_KEY | int(Flag.TAGGED)
_PAGE_BYTES: Final = 4096
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_WRITE_BYTES_MAX: Final = 1 << 30
"""Linux writes at most 2 GiB a call."""


def flags_of(record: bytes) -> int:
    """Return `Header.flags` of a record."""
    return record[_FLAGS_OFFSET]


def is_large(record: bytes) -> bool:
    """Return whether a record names a file."""
    return record[_FLAGS_OFFSET] & LARGE != 0


def value_offset(record: bytes, start: int = HEADER_BYTES) -> int:
    """Return where the value, or its reference, begins: behind header, full key and tags."""
    try:
        flags = record[_FLAGS_OFFSET]
        return value_start(flags, record, start) if flags & _PREFIXED else start
    except (IndexError, ValueError):
        raise CorruptRecordError(f"a record of {len(record)} bytes is cut off") from None


def prefix_bytes(flags: int, payload: bytes) -> int:
    """Return how many bytes in front of a payload's value are full key and tags.

    >>> prefix_bytes(LONG_KEY, b"\\x03\\x00keyvalue"), prefix_bytes(0, b"value")
    (5, 0)
    """
    return value_start(flags, payload) if flags & _PREFIXED else 0


class Reference:
    """What a record says of its file."""

    __slots__ = ("digest", "name", "packed", "size_bytes")

    def __init__(self, packed: bytes) -> None:
        self.packed = packed
        try:
            self.size_bytes, self.digest = _SIZE_HASH.unpack_from(packed)
            self.name = packed[_SIZE_HASH.size :].decode("ascii")
        except (struct.error, UnicodeDecodeError) as error:
            raise CorruptRecordError(f"a record names no file of a large value: {error}") from error
        if not self.name or "/" in self.name or "\0" in self.name:
            raise CorruptRecordError(f"a record names {self.name!r}, which is no file of a large value")


def reference_of(record: bytes) -> Reference:
    """Return the reference in a record that names a file."""
    return Reference(record[value_offset(record) :])


def pages_bytes(size_bytes: int) -> int:
    """Return `size_bytes` in whole pages, which is what it costs."""
    return -(-size_bytes // _PAGE_BYTES) * _PAGE_BYTES


def map_file(folder: str, reference: Reference, *, is_private: bool = False) -> memoryview:
    """Return a view of a file; it stays valid as long as somebody holds it.

    It is read-only, or `is_private`: then writing to it changes this view's own copy of a page, and nothing else.

    Raises:
        FileNotFoundError: superseded meanwhile; read the record again.
        CorruptRecordError: the file is not as long as its record says.
    """
    descriptor = os.open(os.path.join(folder, reference.name), os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        if size != reference.size_bytes:
            raise CorruptRecordError(f"{reference.name} has {size} bytes, its record says {reference.size_bytes}")
        access = mmap.ACCESS_COPY if is_private else mmap.ACCESS_READ
        return memoryview(mmap.mmap(descriptor, size, access=access))
    finally:
        os.close(descriptor)


def read_file(folder: str, reference: Reference) -> bytes:
    """Return a copy of a file's bytes, checked against their hash.

    Raises:
        FileNotFoundError: superseded meanwhile.
        CorruptRecordError: not the bytes that were written.
    """
    with open(os.path.join(folder, reference.name), "rb", buffering=0) as file:
        value = file.readall()
    if len(value) != reference.size_bytes or xxhash.xxh3_64_intdigest(value) != reference.digest:
        raise CorruptRecordError(f"{reference.name} does not hold what its record says")
    return value


class LargeValues:
    """The owner's end: makes files inside a turn, and removes those that nothing means after it."""

    def __init__(self, folder: str) -> None:
        """Use, or make, the folder."""
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self.folder = folder
        self.removes_files = True
        """False in a generation that is being made of another, whose files they are."""
        self._created: list[str] = []
        self._doomed: dict[str, None] = {}
        self._kept_for_snapshots: list[str] = []
        self._snapshots_count = 0

    def create(self, epoch: int, lsn: int, value: bytes | memoryview) -> Reference:
        """Write a file; nothing means it yet.

        Raises:
            OSError: ENOSPC; the file is gone again.
        """
        name = f"{epoch}-{lsn}"
        for attempt in range(1, 1_000):
            try:
                descriptor = os.open(os.path.join(self.folder, name), _CREATE, 0o600)
                break
            except FileExistsError:
                # The old generation has the same record, or a copy is begun anew.
                name = f"{epoch}-{lsn}.{attempt}"
        else:
            raise CorruptRecordError(f"{self.folder}: {epoch}-{lsn} is there a thousand times")
        self._created.append(name)
        try:
            # write(2) answers a full tmpfs with ENOSPC, where touching a mapping would be SIGBUS.
            rest = memoryview(value)
            while len(rest):
                rest = rest[os.write(descriptor, rest[:_WRITE_BYTES_MAX]) :]
        finally:
            os.close(descriptor)
        return Reference(_SIZE_HASH.pack(len(value), xxhash.xxh3_64_intdigest(value)) + name.encode("ascii"))

    def hold(self, transaction: lmdb.Transaction[bytes], counts: Any, reference: Reference) -> None:
        """Note that one more record means a file; `counts` is the database of the counts."""
        name = reference.name.encode("ascii")
        stored = transaction.get(name, db=counts)
        count = _COUNT.unpack(stored)[0] if stored else 0
        transaction.put(name, _COUNT.pack(count + 1), db=counts)
        self._doomed.pop(reference.name, None)

    def drop(self, transaction: lmdb.Transaction[bytes], counts: Any, reference: Reference) -> None:
        """Note that one record fewer means a file; the last one dooms it."""
        name = reference.name.encode("ascii")
        stored = transaction.get(name, db=counts)
        count = _COUNT.unpack(stored)[0] if stored else 0
        if count > 1:
            transaction.put(name, _COUNT.pack(count - 1), db=counts)
            return
        transaction.delete(name, db=counts)
        self._doomed[reference.name] = None

    def settle(self) -> None:
        """The turn is committed: remove what is doomed, or keep it until the last snapshot is closed."""
        self._created.clear()
        if not self.removes_files:
            self._doomed.clear()
        elif self._doomed:
            self._kept_for_snapshots.extend(self._doomed)
            self._doomed.clear()
            self._remove_unless_seen()

    def forget(self) -> None:
        """The turn is aborted: remove what it created."""
        self._doomed.clear()
        for name in self._created:
            _unlink(os.path.join(self.folder, name))
        self._created.clear()

    def snapshot_opened(self) -> None:
        """Keep doomed files from now on: a snapshot may still show them."""
        self._snapshots_count += 1

    def snapshot_closed(self) -> None:
        """One snapshot fewer shows doomed files."""
        self._snapshots_count -= 1
        self._remove_unless_seen()

    def remove_unmeant(self, transaction: lmdb.Transaction[bytes], counts: Any) -> int:
        """Remove every file that has no count: left by an aborted turn or another generation. Return how many."""
        removed = 0
        for name in os.listdir(self.folder):
            if transaction.get(name.encode("ascii"), db=counts) is None:
                _unlink(os.path.join(self.folder, name))
                removed += 1
        return removed

    def _remove_unless_seen(self) -> None:
        if self._snapshots_count == 0:
            for name in self._kept_for_snapshots:
                _unlink(os.path.join(self.folder, name))
            self._kept_for_snapshots.clear()


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
