"""What a dead owner's log still holds, for the replica on the same node that takes over (rule R33).

News of a death proves nothing; the lock does. Whoever holds it knows that the owner is gone, takes its lease off
the fence page, so that no reader trusts that store any more, and only then reads the log.
"""

from __future__ import annotations

import os

import lmdb
import msgspec

from daycache_ray.storage import directory as directories
from daycache_ray.storage.environments import open_shared
from daycache_ray.storage.fence_page import FenceWriter
from daycache_ray.storage.large_values import LargeValues
from daycache_ray.storage.log import Log
from daycache_ray.storage.state import STATE_KEY, State, unpack_state
from daycache_ray.words.errors import CorruptRecordError, StoreFormatError, StoreInUseError
from daycache_ray.words.records import LogRecord


class Salvaged:
    """A fenced store. Its lock is held until `release`, so its owner cannot come back meanwhile."""

    def __init__(self, lock: directories.OwnerLock, incarnation: int, fence_epoch: int) -> None:
        self._lock = lock
        self.incarnation = incarnation
        """Of the owner that is proved dead, as it stood in the fence page; 0 when it had not said."""
        self.fence_epoch = fence_epoch
        """The epoch in the fence page."""
        self.records: tuple[LogRecord, ...] = ()
        """Those above `above_lsn`, oldest first, contiguous, values inline."""
        self.previous_epoch = -1
        """Epoch of the record at `above_lsn` in that log, -1 where it has none. When it is not one's own, the
        logs differ and the records do not follow."""
        self.store_id = 0
        self.epoch = 0
        self.commit_lsn = 0
        self.last_lsn = 0

    def release(self) -> None:
        """Let the lock go: the store may be opened by a new owner. Doing so twice is harmless."""
        self._lock.release()


def salvage(directory: str, above_lsn: int) -> Salvaged | None:
    """Fence the store in `directory` and return its log above `above_lsn`; None when its owner lives.

    A store without a readable generation gives no records, and is fenced all the same. Call `release` on the result.

    Raises:
        FileNotFoundError: there is no store.
        CorruptRecordError: its log cannot be read; the lock is free again, the fence is revoked.
    """
    try:
        lock = directories.OwnerLock(directory)
    except StoreInUseError:
        return None
    try:
        try:
            fence = FenceWriter(os.path.join(directory, directories.FENCE_NAME))
        except StoreFormatError:
            # No reader takes such a page for a lease.
            return Salvaged(lock, 0, 0)
        try:
            fence.revoke()
            said = fence.read()
        finally:
            fence.close()
        salvaged = Salvaged(lock, said.incarnation, said.epoch)
        identity = directories.read_identity(directory)
        if identity is not None and said.generation:
            salvaged.store_id = identity.store_id
            _read_log(directory, above_lsn, salvaged)
        return salvaged
    except (lmdb.Error, msgspec.MsgspecError) as error:
        lock.release()
        raise CorruptRecordError(f"the log in {directory} cannot be read: {error}; wipe the store") from error
    except BaseException:
        lock.release()
        raise


def _read_log(directory: str, above_lsn: int, salvaged: Salvaged) -> None:
    large = LargeValues(os.path.join(directory, directories.LARGE_NAME))
    # The newest complete generation, as the owner would choose; the fence page may still name the one before.
    for number in reversed(directories.generations(directory)):
        opened = open_shared(directories.generation_path(directory, number))
        try:
            environment = opened.environment
            state = State()
            with environment.begin() as transaction:
                stored = transaction.get(STATE_KEY)
            if stored is None:
                continue
            state = unpack_state(stored)
            if not state.is_complete:
                continue
            log = Log(environment, state, large, limit_bytes=1)
            salvaged.epoch, salvaged.commit_lsn, salvaged.last_lsn = state.epoch, state.commit_lsn, state.last_lsn
            with environment.begin() as transaction:
                salvaged.previous_epoch = log.epoch_at(transaction, above_lsn)
                if above_lsn >= state.base_lsn:
                    salvaged.records = tuple(log.inline(transaction, above_lsn))
            return
        finally:
            opened.release()
