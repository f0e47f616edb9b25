"""What a generation knows of itself: one small record, written with every turn beside what it counts."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import structs

STATE_KEY: Final = b"state"
"""In LMDB's main database, whose page every turn dirties anyway."""


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
