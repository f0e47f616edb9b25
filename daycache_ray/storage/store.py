"""The store of one replica, its owner's end: the only process that writes it.

A turn is `begin`, effects, `commit`: one LMDB transaction, so readers in other processes and whoever opens the
store after a crash see all of a turn or nothing. A copy for a joining replica is loaded into a new generation beside
the present one, which readers go on using until `FinishCopy` is committed: a store is never emptied in place.

Keeps no budget: it counts `used_bytes`, proposes `victims`, and says StoreFullError when the machine's
memory, not the budget, is at its end. Knows nothing of roles, leases and other replicas.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import lmdb

from daycache_ray.storage import directory as directories
from daycache_ray.storage.compaction import is_wasteful
from daycache_ray.storage.fence_page import FenceWriter, namespace_inode
from daycache_ray.storage.generation import Generation
from daycache_ray.storage.opening import Closer, make_generation, open_newest
from daycache_ray.storage.questions import StoreQuestions
from daycache_ray.storage.rewriting import Rewriting
from daycache_ray.storage.sharing import Sharing
from daycache_ray.storage.snapshot import StoreSnapshot, inline_record
from daycache_ray.storage.space import is_full, raise_full
from daycache_ray.storage.statistics import StoreStatistics, statistics_of
from daycache_ray.storage.visited_page import VisitedPage, buckets_for
from daycache_ray.structures.removal_ledger import RemovalLedger
from daycache_ray.words.effects import Append, Apply, Commit, FinishCopy, LoadItems, ResetStore, Truncate
from daycache_ray.words.errors import StoreFormatError
from daycache_ray.words.ports import Snapshot
from daycache_ray.words.records import HEADER_BYTES, Recovered
from daycache_ray.words.types import Eviction, ShardId

StoreEffect: TypeAlias = Append | Apply | Truncate | Commit | ResetStore | LoadItems | FinishCopy



class Store(StoreQuestions):
    """A replica's store; also the `StateView` of its machine. Use from one thread."""

    def __init__(
        self, directory: str, lock: directories.OwnerLock, store_id: int, limit_bytes: int, eviction: Eviction,
        shares: Mapping[bytes, int],
    ) -> None:  # fmt: skip
        """See `open`, which is how one is made."""
        self.directory = directory
        self.store_id = store_id
        self.limit_bytes = limit_bytes
        self._lock = lock
        self._snapshots: weakref.WeakSet[StoreSnapshot] = weakref.WeakSet()
        self._copy: Generation | None = None
        self._rewriting = Rewriting(directory, limit_bytes)
        self._closer = Closer()
        self._is_finishing = False
        self.fence = FenceWriter(os.path.join(directory, directories.FENCE_NAME))
        try:
            self.visited = VisitedPage(os.path.join(directory, directories.VISITED_NAME), buckets_for(limit_bytes))
            self._current = self._active = open_newest(directory, limit_bytes)
            self.sharing = Sharing(shares, self._current.entries, self.visited, eviction)
        except BaseException:
            self.fence.close()
            raise
        self.fence.set_namespaces(namespace_inode("time"), namespace_inode("pid"))
        self.fence.set_generation(self._current.number)
        self._performers: dict[type[Any], Callable[[Any], None]] = {
            Append: self._append, Apply: self._apply, Truncate: self._truncate, Commit: self._commit,
            ResetStore: self._reset, LoadItems: self._load, FinishCopy: self._finish_copy,
        }  # fmt: skip

    @classmethod
    def open(
        cls, directory: str, *, cluster: str, shard: ShardId, seat: int, limit_bytes: int,
        eviction: Eviction = "two_hands",
        shares: Mapping[bytes, int] | None = None,
    ) -> Store:  # fmt: skip
        """Open the store in `directory` (see directory.replica_directory), or make an empty one.

        `shares` are the bytes that services are guaranteed here, by name; nothing where it is None.

        Raises:
            StoreInUseError: another process owns it.
            StoreFormatError: another format, cluster, shard or seat: `directory.wipe` it.
            StoreFullError: the shared memory is too small.
        """
        assert limit_bytes > 0
        os.makedirs(directory, mode=0o700, exist_ok=True)
        lock = directories.OwnerLock(directory)
        try:
            wanted = directories.Identity(cluster=cluster, region=shard.region, shard=shard.number, seat=seat)
            identity = directories.claim_identity(directory, wanted, limit_bytes)
            return cls(directory, lock, identity.store_id, limit_bytes, eviction, shares or {})
        except (OSError, lmdb.Error) as error:
            lock.release()
            if isinstance(error, lmdb.Error) and not is_full(error):
                raise StoreFormatError(f"{directory} cannot be opened ({error}): wipe the store") from error
            raise_full(error, directory)
        except BaseException:
            lock.release()
            raise

    def __repr__(self) -> str:
        used, limit = self.used_bytes / (1 << 20), self.limit_bytes / (1 << 20)
        return f"<Store {self.directory} {self.entries_count} entries, {used:.1f} of {limit:.1f} MiB>"

    def recovered(self) -> Recovered:
        """Return what the store knows: the machine starts from it."""
        state = self._current.state
        with self._current.environment.begin() as transaction:
            records = tuple(self._current.log.inline(transaction, state.base_lsn))
        return Recovered(
            store_id=self.store_id,
            epoch=state.epoch,
            commit_lsn=state.commit_lsn,
            base_lsn=state.base_lsn,
            base_epoch=state.base_epoch,
            horizon_ns=state.horizon_ns,
            records=records,
            applied_lsn=state.applied_lsn,
        )

    def begin(self) -> None:
        """Begin a turn. It costs nothing until an effect is performed."""
        assert self._active.transaction is None, "the last turn is open: commit or abort it"

    def perform(self, effect: StoreEffect) -> None:
        """Perform a store effect inside the turn.

        Raises:
            StoreFullError: the turn is aborted, the store is as it was before it.
        """
        try:
            self._performers[type(effect)](effect)
        except BaseException as error:
            self.abort()
            raise_full(error, self.directory)

    def commit(self) -> None:
        """End the turn: everything performed in it is visible to readers and durable, or nothing.

        Raises:
            StoreFullError: as in `perform`.
        """
        try:
            # The copy first: if the other fails, a copy with more items than it should have is begun anew anyway.
            if self._copy is not None:
                self._copy.end_turn()
            if not self._is_finishing:
                self._current.end_turn()
        except BaseException as error:
            self.abort()
            raise_full(error, self.directory)
        if self._is_finishing:
            assert self._copy is not None
            self._swap(self._copy)
            self._copy, self._is_finishing = None, False
            self._current.remove_unmeant_files()

    def abort(self) -> None:
        """Forget the turn. A copy that is being loaded loses the turn's items: it must begin anew."""
        self._current.abort()
        if self._copy is not None:
            self._copy.abort()
        self._is_finishing = False
        self._active = self._current

    def get(self, key: bytes) -> bytes | None:
        """Return the visible record with header, the open turn's changes included, or None."""
        active = self._active
        transaction = active.transaction
        if transaction is not None:
            return transaction.get(key, db=active.data)
        return active.environment.begin(active.data).get(key)

    def payload(self, key: bytes) -> bytes | None:
        """Return the visible record's payload exactly as its LogRecord's `value` was, or None.

        With Flag.LONG_KEY that is u16 length, full key and value.
        """
        record = self.get(key)
        if record is None:
            return None
        return inline_record(self._active.large.folder, record)[HEADER_BYTES:]

    def open_snapshot(self) -> Snapshot:
        """Return a stable view of everything visible now; commits what an open turn has performed so far."""
        self.commit()
        snapshot = StoreSnapshot(self._current)
        self._snapshots.add(snapshot)
        return snapshot

    @property
    def removals(self) -> RemovalLedger:
        """What went from here, by cause."""
        return self._current.removals

    @property
    def used_bytes(self) -> int:
        """What the visible entries cost, to be held against `limit_bytes`."""
        return self._active.state.used_bytes

    @property
    def entries_count(self) -> int:
        """How many entries are visible."""
        return self._active.state.entries_count

    def is_wasteful(self) -> bool:
        """Return whether `compact` would give back much memory."""
        return self._copy is None and is_wasteful(self._current)

    def compact(self) -> bool:
        """Do a small step of rewriting the store into a new generation; return whether another must follow.

        Call it between turns; readers go on. A copy of another replica ends it, a crash leaves the store as it was.

        Raises:
            StoreFullError: there is no room for both; the store is as it was.
        """
        if self._copy is not None:
            return False
        try:
            # A joining replica that reads a snapshot of this generation would have to begin anew.
            is_read = any(snapshot.is_open for snapshot in self._snapshots)
            successor = self._rewriting.advance(self._current, may_finish=not is_read)
        except BaseException as error:
            raise_full(error, self.directory)
        if successor is None:
            return True
        self._swap(successor)
        return False

    def check_readers(self) -> int:
        """Free the slots of readers that are dead, and return how many; they pin memory and keep others out."""
        return int(self._current.environment.reader_check())

    def statistics(self) -> StoreStatistics:
        """Return counters of this moment."""
        return statistics_of(self._active, self.limit_bytes)

    def close(self) -> None:
        """Revoke the fence, close everything and let the lock go; an open turn is forgotten."""
        self.fence.revoke()
        self._close_snapshots()
        self._rewriting.give_up()
        self._remove_copy()
        self._closer.join()
        self._current.close()
        self.fence.close()
        self.visited.close()
        self._lock.release()

    def _append(self, effect: Append) -> None:
        self._active.append(effect.records)

    def _apply(self, effect: Apply) -> None:
        self._rewriting.note_changes(effect.records)
        self._active.apply(effect.records, effect.undoable)

    def _truncate(self, effect: Truncate) -> None:
        self._rewriting.note_cut(effect.lsn)
        self._active.truncate(effect.lsn)

    def _commit(self, effect: Commit) -> None:
        self._active.commit_through(effect)

    def _reset(self, effect: ResetStore) -> None:
        assert not self._is_finishing, "the copy of this turn is not committed yet"
        self._rewriting.give_up()
        self._remove_copy()
        self._copy = make_generation(self.directory, self._current.number + 1, self.limit_bytes)
        self._copy.entries.know(self._current.state.services)

    def _load(self, effect: LoadItems) -> None:
        assert self._copy is not None, "LoadItems without ResetStore"
        self._copy.load(effect.items)

    def _finish_copy(self, effect: FinishCopy) -> None:
        assert self._copy is not None, "FinishCopy without ResetStore"
        self._copy.finish_copy(effect)
        # What the turn did to the present generation before goes with it.
        self._current.abort()
        self._is_finishing = True
        self._active = self._copy

    def _swap(self, successor: Generation) -> None:
        """The successor is committed: readers first (rule R31), then remove what they came from."""
        former, self._current = self._current, successor
        self._active, successor.removals = successor, former.removals
        self.fence.set_generation(successor.number)
        self._close_snapshots()
        directories.remove_folder(former.path)
        self._closer.close(former)

    def _remove_copy(self) -> None:
        if self._copy is not None:
            copy, self._copy = self._copy, None
            copy.close()
            directories.remove_folder(copy.path)
            self._current.remove_unmeant_files()

    def _close_snapshots(self) -> None:
        for snapshot in list(self._snapshots):
            snapshot.close()
