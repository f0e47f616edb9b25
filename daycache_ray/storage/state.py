"""What a generation knows of itself: one small record, written with every turn beside what it counts."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import structs

STATE_KEY: Final = b"state"
"""In LMDB's main database, whose page every turn dirties anyway."""

ACCOUNTS_MAX: Final = 127
NOTHING: Final = (0, 0)


class State(msgspec.Struct, array_like=True, gc=False):
    """Counters and positions of one generation. LSNs are 0 in a new store."""

    is_complete: bool = False
    """A copy that was not finished is not: it is removed when the store is opened."""
    epoch: int = 0
    """The highest epoch that a commit or a record of the log named."""
    commit_lsn: int = 0
    horizon_ns: int = 0
    base_lsn: int = 0
    """The log holds base_lsn + 1 .. last_lsn."""
    base_epoch: int = 0
    last_lsn: int = 0
    last_epoch: int = 0
    final_lsn: int = 0
    """The highest LSN that was applied for good."""
    applied_lsn: int = 0
    next_order: int = 1
    entries_count: int = 0
    used_bytes: int = 0
    large_bytes: int = 0
    log_bytes: int = 0
    dirty_count: int = 0
    dirty_bytes: int = 0
    services: list[bytes] = []
    """Those with an account of their own: the first is account 1, and so on. Grows only."""
    queues: dict[int, tuple[int, int]] = {}
    """(bytes, entries) of each eviction queue but queue 0, which has the rest. A queue is 2 · account, one more for
    what has low priority; it is the highest byte of `order`."""

    def used_of(self, account: int) -> int:
        """Return the bytes of an account; of account 0 all that the others have not."""
        if account:
            return self.queues.get(2 * account, NOTHING)[0] + self.queues.get(2 * account + 1, NOTHING)[0]
        return self.used_bytes - sum(size for queue, (size, _) in self.queues.items() if queue > 1)

    def count_of(self, queue: int) -> int:
        """Return the entries of a queue."""
        if queue:
            return self.queues.get(queue, NOTHING)[1]
        return self.entries_count - sum(count for _, count in self.queues.values())


def copy_of(state: State) -> State:
    """Return a copy that keeps what `state` says now."""
    return structs.replace(state, services=list(state.services), queues=dict(state.queues))


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(State).decode


def pack_state(state: State) -> bytes:
    """Return the stored form."""
    return _encode(state)


def unpack_state(stored: bytes) -> State:
    """Return the state of a stored form; msgspec.MsgspecError when it is none."""
    return _decode(stored)


def assign_state(state: State, other: State) -> None:
    """Make `state` equal to `other`, in place: several parts hold it."""
    for name, value in structs.asdict(other).items():
        setattr(state, name, value)
