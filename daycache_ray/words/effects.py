"""What a machine asks of its shell. A machine returns an ordered tuple; the shell keeps the order.

Store effects (Append, Apply, Truncate, Commit, ResetStore, LoadItems, FinishCopy) of one turn go into
one transaction of the store. Everything after them in the tuple (Send, Tell, PublishFence, Answer, Serve, Refuse) is
performed only when that transaction is committed, so that nobody hears of what a reader cannot see.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from daycache_ray.words.operations import OperationResult
from daycache_ray.words.records import LogRecord
from daycache_ray.words.types import Member


class Append(msgspec.Struct, frozen=True):
    """Put records at the end of the store's log."""

    records: tuple[LogRecord, ...]


class Apply(msgspec.Struct, frozen=True):
    """Make records visible, each only where its LSN is the highest its key has seen.

    `undoable`: they are not committed; keep what they replaced until `Commit` or `Truncate`.
    """

    records: tuple[LogRecord, ...]
    undoable: bool


class Truncate(msgspec.Struct, frozen=True):
    """Drop the log after `lsn`, and undo what of it was applied, newest first."""

    lsn: int


class Commit(msgspec.Struct, frozen=True):
    """Everything up to `lsn` is final: forget what it replaced, trim the log by its own limits.

    `keep_lsn`: records above it must stay, because a member still needs them.
    """

    lsn: int
    epoch: int
    horizon_ns: int
    keep_lsn: int


class ResetStore(msgspec.Struct, frozen=True):
    """Begin an empty generation of the store beside the present one, for a copy that follows."""


class LoadItems(msgspec.Struct, frozen=True):
    """Put copied (store key, record with header and inline payload) pairs into the new generation."""

    items: tuple[tuple[bytes, bytes], ...]


class FinishCopy(msgspec.Struct, frozen=True):
    """The copy is complete: the new generation takes over, with its log based on this record."""

    base_lsn: int
    base_epoch: int
    horizon_ns: int


class PublishFence(msgspec.Struct, frozen=True):
    """Write the fence page; readers in other processes trust it at once. `lease_until_ns` 0: none.

    `fresh_ns`, of a secondary: everything acknowledged up to this moment of its own boot clock is visible
    here, unless a failover lost it; 0: that is not known.
    """

    epoch: int
    role: int
    incarnation: int
    lease_until_ns: int
    commit_lsn: int
    applied_lsn: int
    horizon_ns: int
    fresh_ns: int = 0


class Send(msgspec.Struct, frozen=True):
    """Send a peer message; it may be lost, late or doubled."""

    to: Member
    message: Any


class Tell(msgspec.Struct, frozen=True):
    """Send a message to the coordinator; it may be lost or late."""

    message: Any


class Answer(msgspec.Struct, frozen=True):
    """Answer a Submit or FillStore with one result per operation."""

    token: int
    results: tuple[OperationResult, ...]


class AnswerFill(msgspec.Struct, frozen=True):
    """Answer a fill request: see operations.FillAnswer."""

    token: int
    number: int
    error: str = ""


class Serve(msgspec.Struct, frozen=True):
    """The read with this token may be answered from the store as it is now."""

    token: int


class Refuse(msgspec.Struct, frozen=True):
    """Answer a request with an error of words.errors, by class name."""

    token: int
    error: str
    message: str


Effect: TypeAlias = (
    Append
    | Apply
    | Truncate
    | Commit
    | ResetStore
    | LoadItems
    | FinishCopy
    | PublishFence
    | Send
    | Tell
    | Answer
    | AnswerFill
    | Serve
    | Refuse
)
