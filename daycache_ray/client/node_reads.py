"""Reads from the node's shared memory: which store, and what may be concluded from what stands there.

A record is an answer only together with the fence page of its store (rules R14, R18, R24, R26 of the
replication protocol). The page has a sequence word that rises with every change, so the words are
taken once per change, and one look at that word after a record says that they held before and after.
Whatever is doubtful is FAR: ask a replica by socket. Refuses to know values: what it returns are records
with header.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Any, Final, NamedTuple

import lmdb

from daycache_ray.client.router import Router, SessionToken
from daycache_ray.storage.fence_page import WORD_FRESH, WORD_SEQUENCE, WORD_TIME_NAMESPACE, namespace_inode
from daycache_ray.storage.reader import StoreReader
from daycache_ray.structures.tags import TAGGED, cover_of, rows_of
from daycache_ray.words.errors import CacheError, CorruptRecordError
from daycache_ray.words.operations import Level
from daycache_ray.words.records import HEADER_BYTES
from daycache_ray.words.types import Role, ShardId

LSN_AND_EXPIRY: Final = Struct("<8xQQ13xB2x")
"""LSN, expiry and flags; the pad makes sure that the whole header is there."""

assert LSN_AND_EXPIRY.size == HEADER_BYTES
_lsn_and_expiry = LSN_AND_EXPIRY.unpack_from
_boot_ns = time.clock_gettime_ns
_BOOTTIME: Final = time.CLOCK_BOOTTIME
_wall_ns = time.time_ns
_STRONG: Final = int(Level.STRONG)
_SEQUENCE: Final = int(WORD_SEQUENCE)
_FRESH: Final = int(WORD_FRESH)
_TIME_NAMESPACE: Final = int(WORD_TIME_NAMESPACE)
_PRIMARY: Final = int(Role.PRIMARY)
_SECONDARY: Final = int(Role.SECONDARY)

_READ_ATTEMPTS: Final = 4
"""How often a read is repeated whose fence page was written meanwhile; then a replica is asked."""


LOOK_AGAIN_NS: Final = 250_000_000
"""How long a node without a readable store is left alone: one opens when its replica has its copy."""


class Far:
    """The type of FAR."""

    def __repr__(self) -> str:
        return "FAR"


FAR: Final = Far()
"""Shared memory cannot answer: ask a replica by socket. Not a miss."""


class NearStore(NamedTuple):
    """A store and its fence page as of one sequence word: valid as long as that word stays.

    The sequence word only rises, so one look at it after a record was read says that everything here was
    true before and after. `lease_until_ns` is 0 where there is none that this process can judge.
    """

    begin: Callable[[Any], Any]
    data: Any
    words: memoryview
    visited: memoryview
    mask: int
    sequence: int
    epoch: int
    role: int
    lease_until_ns: int
    commit_lsn: int
    applied_lsn: int
    horizon_ns: int


class NodeShard:
    """A shard's stores on this node, as one session may read them. Threads share it."""

    __slots__ = ("_is_primary", "_life", "_lock", "_look_again_ns", "_looked_at", "_reader", "_shard", "near", "token")

    def __init__(self, shard: ShardId, token: SessionToken) -> None:
        self.near: NearStore | None = None
        self.token = token
        self._shard = shard
        self._lock = threading.Lock()
        self._looked_at = -1
        self._look_again_ns = 0
        self._life = ("", 0)
        self._is_primary = False
        self._reader: StoreReader | None = None

    def read(self, stored: bytes, bucket: int, level: int) -> bytes | Far | None:
        """Return the record of a store key, None for a miss that `level` may conclude, or FAR.

        `bucket` is crc32 of the store key; `level` is an operations.Level.
        """
        near = self.near
        if near is None:
            return FAR
        (
            begin,
            data,
            words,
            visited,
            mask,
            sequence,
            epoch,
            role,
            lease_until_ns,
            commit_lsn,
            applied_lsn,
            horizon_ns,
        ) = near
        try:
            record: bytes | None = begin(data).get(stored)
            if words[_SEQUENCE] != sequence:
                return self._read_again(near, stored, bucket, level)
        except (lmdb.Error, ValueError, CacheError):
            self.near = None
            return FAR
        token = self.token
        try:
            if level == _STRONG:
                # A miss may be the work of an uncommitted delete, which left nothing to compare with the commit LSN.
                if record is None or lease_until_ns <= _boot_ns(_BOOTTIME):
                    return FAR
                lsn, expires_ns, flags = _lsn_and_expiry(record)
                if lsn > commit_lsn:
                    return FAR
                if expires_ns and expires_ns <= horizon_ns:
                    return None
            else:
                is_behind = epoch != token.epoch or applied_lsn < token.lsn
                # A primary of a later epoch has what survived of the session's writes; a secondary may lack it.
                if is_behind and token.epoch and level and (epoch <= token.epoch or role != _PRIMARY):
                    return FAR
                if record is None:
                    if applied_lsn > token.lsn or epoch != token.epoch:
                        token.observe(epoch, applied_lsn)
                    return None
                lsn, expires_ns, flags = _lsn_and_expiry(record)
                if expires_ns and (expires_ns <= horizon_ns or expires_ns <= _wall_ns()):
                    return None
        except StructError:
            raise CorruptRecordError(f"a record of {len(record or b'')} bytes has no header") from None
        if flags & TAGGED:
            return self._read_tagged(near, stored, bucket, level)
        if lsn > token.lsn or epoch != token.epoch:
            token.observe(epoch, lsn)
        visited[bucket & mask] = 1
        return record

    def _read_tagged(self, near: NearStore, stored: bytes, bucket: int, level: int) -> bytes | Far | None:
        """Read a record that has tags anew, and what was said of them, as of one moment."""
        try:
            with near.begin(near.data) as transaction:
                record: bytes | None = transaction.get(stored)
                lsn, expires_ns, flags = _lsn_and_expiry(record or b"")
                rows = rows_of(stored, flags, record or b"", HEADER_BYTES)
                said = {row: transaction.get(row) for row in rows}
            if near.words[_SEQUENCE] != near.sequence:
                return self._read_again(near, stored, bucket, level)
        except (lmdb.Error, StructError, ValueError, CacheError):
            return FAR  # Removed, written or closed since; or it is broken, and its owner says so.
        if level == _STRONG:
            newest = max((_lsn_and_expiry(row)[0] for row in said.values() if row is not None), default=0)
            if lsn > near.commit_lsn or newest > near.commit_lsn or near.lease_until_ns <= _boot_ns(_BOOTTIME):
                return FAR
        elif expires_ns and expires_ns <= _wall_ns():
            return None
        if (expires_ns and expires_ns <= near.horizon_ns) or cover_of(rows, lsn, said.get) is not None:
            return None
        if lsn > self.token.lsn or near.epoch != self.token.epoch:
            self.token.observe(near.epoch, lsn)
        near.visited[bucket & near.mask] = 1
        return record

    def _read_again(self, near: NearStore, stored: bytes, bucket: int, level: int) -> bytes | Far | None:
        # The fence page was written since it was looked at: look again, then read again.
        for _ in range(_READ_ATTEMPTS):
            with self._lock:
                reader = self._reader
                if self.near is not near or reader is None:
                    return FAR
                fresh = self.near = _near_store(reader)
            if fresh is None:
                return FAR
            if fresh.words[_SEQUENCE] == fresh.sequence:
                return self.read(stored, bucket, level)
            near = fresh
        return FAR

    def payload(self, record: bytes) -> bytes | memoryview | None:
        """Return the value's encoded bytes, also of a large or long-keyed record; None: its file is gone."""
        reader = self._reader
        return None if reader is None else reader.payload(record)

    def read_bounded(self, stored: bytes, bucket: int, level: int) -> tuple[bytes | Far | None, float | None]:
        """Return what `read` returns, and how many seconds old at most the state is that it was read from.

        A primary's store is as new as its lease: until that ended, nobody else acknowledged anything. A
        secondary's page says up to when its primary has told it everything. None: no bound is known.
        """
        for _ in range(_READ_ATTEMPTS):
            near = self.near
            if near is None:
                return FAR, None
            # Taken before the record is read, so what was visible then is in it.
            until_ns = near.lease_until_ns
            if near.role == _SECONDARY and near.words[_TIME_NAMESPACE] == namespace_inode("time"):
                until_ns = near.words[_FRESH]
            is_of_now = near.words[_SEQUENCE] == near.sequence
            record = self.read(stored, bucket, level)
            if record is FAR:
                return FAR, None
            if is_of_now and self.near is near:
                return record, max(0, _boot_ns(_BOOTTIME) - until_ns) / 1e9 if until_ns else None
        return FAR, None

    def served_by(self) -> str:
        """Return the name of the copy that is read here."""
        return "memory" if self._is_primary else "memory-secondary"

    def look(self, router: Router) -> bool:
        """Open the shard's store on this node, the primary's before others; return whether there is one.

        Looks once per map, and now and then when it found none; until then the sockets answer.
        """
        now_ns = _boot_ns(_BOOTTIME)
        version = router.cluster_map.version
        if self.near is None and self._looked_at == version and now_ns < self._look_again_ns:
            return False
        with self._lock:
            if self.near is not None:
                return True
            primary = router.primary(self._shard)
            for member in router.near_members(self._shard):
                if member is not primary and not member.in_sync:
                    continue
                life = (member.directory, member.incarnation)
                try:
                    if self._reader is None or self._life != life:
                        self._release()
                        self._reader, self._life = StoreReader(member.directory), life
                    # A table full of dead readers would send everybody to the sockets until the owner looks.
                    self._reader.environment.reader_check()
                    self.near = _near_store(self._reader)
                    self._is_primary = member is primary
                except (CacheError, OSError, lmdb.Error):
                    continue
                break
            self._looked_at = version
            self._look_again_ns = now_ns + LOOK_AGAIN_NS
            return self.near is not None

    def forget(self) -> None:
        """The map changed: look again at the next read."""
        self.near = None

    def close(self) -> None:
        """Give the store back."""
        with self._lock:
            self.near = None
            self._release()

    def abandon(self) -> None:
        """In a forked child: forget everything, touch nothing."""
        self.near = None
        self._lock = threading.Lock()
        self._reader = None

    def _release(self) -> None:
        # Threads that are reading at the moment keep what they read from alive.
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def _near_store(reader: StoreReader) -> NearStore | None:
    """Return a store as its fence page describes it now; None while it must not be read."""
    for _ in range(_READ_ATTEMPTS):
        words = reader.fence
        sequence = words[_SEQUENCE]
        fence = reader.read_fence()
        if fence is None or fence.role not in (_PRIMARY, _SECONDARY):
            return None
        if fence.generation != reader.generation:
            reader.refresh()
            continue
        mask, visited, data, begin = reader.visited_mask, reader.visited, reader.data, reader.begin
        if reader.generation != fence.generation or words[_SEQUENCE] != sequence or sequence & 1:
            continue
        is_leased = fence.role == _PRIMARY and fence.time_namespace == namespace_inode("time")
        return NearStore(
            begin,
            data,
            words,
            visited,
            mask,
            sequence,
            fence.epoch,
            fence.role,
            fence.lease_until_ns if is_leased else 0,
            fence.commit_lsn,
            fence.applied_lsn,
            fence.horizon_ns,
        )
    return None
