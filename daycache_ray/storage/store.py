"""The store of one replica, its owner's end: the only process that writes it."""

from __future__ import annotations

from daycache_ray.storage.fence_page import FenceWriter
from daycache_ray.words.effects import Append, Apply, Commit, FinishCopy, LoadItems, ResetStore, Truncate
from daycache_ray.words.ports import Snapshot
from daycache_ray.words.records import Recovered
from daycache_ray.words.types import ShardId

StoreEffect = Append | Apply | Truncate | Commit | ResetStore | LoadItems | FinishCopy


class Store:
    """A replica's store; also the `StateView` of its machine. Use from one thread."""

    store_id: int
    directory: str
    fence: FenceWriter
    limit_bytes: int

    @classmethod
    def open(cls, directory: str, *, cluster: str, shard: ShardId, seat: int, limit_bytes: int) -> Store:
        """Open the store in `directory` (see directory.replica_directory), or make an empty one.

        Raises:
            StoreInUseError: another process owns it.
            StoreFormatError: another format, cluster, shard or seat: `directory.wipe` it.
            StoreFullError: the shared memory is too small.
        """
        raise NotImplementedError

    def recovered(self) -> Recovered:
        """Return what the store knows: the machine starts from it."""
        raise NotImplementedError

    def begin(self) -> None:
        """Begin a turn. It costs nothing until an effect is performed."""
        raise NotImplementedError

    def perform(self, effect: StoreEffect) -> None:
        """Perform a store effect inside the turn.

        Raises:
            StoreFullError: the turn is aborted, the store is as it was before it.
        """
        raise NotImplementedError

    def commit(self) -> None:
        """End the turn: everything performed in it is visible to readers and durable, or nothing.

        Raises:
            StoreFullError: as in `perform`.
        """
        raise NotImplementedError

    def abort(self) -> None:
        """Forget the turn."""
        raise NotImplementedError

    def get(self, key: bytes) -> bytes | None:
        """Return the visible record with header, the open turn's changes included, or None."""
        raise NotImplementedError

    def payload(self, key: bytes) -> bytes | None:
        """Return the visible record's payload exactly as its LogRecord's `value` was, or None."""
        raise NotImplementedError

    def open_snapshot(self) -> Snapshot:
        """Return a stable view of everything visible now."""
        raise NotImplementedError

    @property
    def used_bytes(self) -> int:
        """What the visible entries cost, to be held against `limit_bytes`."""
        raise NotImplementedError

    @property
    def entries_count(self) -> int:
        """How many entries are visible."""
        raise NotImplementedError

    def victims(self, bytes_needed: int, count_max: int) -> list[tuple[bytes, int, int]]:
        """Return (store key, epoch, lsn) of entries to evict until `bytes_needed` are free."""
        raise NotImplementedError

    def expired(self, now_wall_ns: int, count_max: int) -> list[tuple[bytes, int, int]]:
        """Return (store key, epoch, lsn) of entries that expire at or before `now_wall_ns`."""
        raise NotImplementedError

    def next_expiry_ns(self) -> int:
        """Return the earliest `expires_at_ns` in the store, 0 when nothing expires."""
        raise NotImplementedError

    def scan(self, service: bytes, prefix: bytes, cursor: bytes, limit: int, horizon_ns: int = 0) -> tuple[list[bytes], bytes]:
        """Return up to `limit` full user keys of a service after `cursor`, and the cursor to go on from.

        An empty cursor is the start, and the end.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Revoke the fence, close everything and let the lock go."""
        raise NotImplementedError
